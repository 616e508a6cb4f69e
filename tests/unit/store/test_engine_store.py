"""The engine on SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.engine_suite import EngineSuite
from fixtures.money_kit import open_database
from gateway.store.engine import Database


class TestEngineOnSqlite(EngineSuite):
    @pytest.fixture
    def database(self, tmp_path: Path) -> Iterator[Database]:
        database = open_database(f"sqlite:///{tmp_path / 'gateway.db'}")
        yield database
        database.close()
