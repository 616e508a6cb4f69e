"""The engine's state machine on SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.machine_suite import MachineSuite
from fixtures.money_kit import open_database
from gateway.store.engine import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = open_database(f"sqlite:///{tmp_path / 'gateway.db'}")
    yield database
    database.close()


class TestMachineOnSqlite(MachineSuite):
    """Interleavings of workers, doorbells and sweeps."""
