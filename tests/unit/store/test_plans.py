"""Plans on SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.money_kit import open_database
from fixtures.plan_suite import PlanSuite
from gateway.store.engine import Database


class TestPlansOnSqlite(PlanSuite):
    @pytest.fixture
    def database(self, tmp_path: Path) -> Iterator[Database]:
        made = open_database(f"sqlite:///{tmp_path / 'gateway.db'}")
        yield made
        made.close()
