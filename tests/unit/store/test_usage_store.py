"""Usage on SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.money_kit import open_database
from fixtures.usage_suite import UsageSuite
from gateway.store.engine import Database


class TestUsageOnSqlite(UsageSuite):
    @pytest.fixture
    def database(self, tmp_path: Path) -> Iterator[Database]:
        database = open_database(f"sqlite:///{tmp_path / 'gateway.db'}")
        yield database
        database.close()
