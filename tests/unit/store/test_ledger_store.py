"""The ledger on SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.batch_money_suite import BatchMoneySuite
from fixtures.caps_suite import CapsSuite
from fixtures.ledger_suite import LedgerSuite
from fixtures.money_kit import open_database
from fixtures.recovery_suite import RecoverySuite
from fixtures.shares_suite import SharesSuite
from gateway.store.engine import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = open_database(f"sqlite:///{tmp_path / 'gateway.db'}")
    yield database
    database.close()


class TestLedgerOnSqlite(LedgerSuite):
    """Money."""


class TestSharesOnSqlite(SharesSuite):
    """Budgets between processes."""


class TestCapsOnSqlite(CapsSuite):
    """Windows of budgets, and what happens at their caps."""


class TestBatchMoneyOnSqlite(BatchMoneySuite):
    """Budgets while batches are out."""


class TestRecoveryOnSqlite(RecoverySuite):
    """Journals of the dead, and a database that is away."""
