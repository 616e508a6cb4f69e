"""Migrations on SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.migration_suite import MigrationSuite
from gateway.errors import ConfigurationInvalid
from gateway.store.engine import Database


class TestMigrationsOnSqlite(MigrationSuite):
    @pytest.fixture
    def empty(self, tmp_path: Path) -> Iterator[Database]:
        database = Database(f"sqlite:///{tmp_path / 'gateway.db'}")
        yield database
        database.close()


@pytest.mark.parametrize("url", ["mysql://x/y", "nonsense", ""])
def test_a_database_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationInvalid):
        Database(url)
