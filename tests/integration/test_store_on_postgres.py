"""The stores on PostgreSQL: the same suites as on SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text

from fixtures.artifact_collection_suite import ArtifactCollectionSuite
from fixtures.batch_money_suite import BatchMoneySuite
from fixtures.caps_suite import CapsSuite
from fixtures.ends_together_suite import CHAIN, EndsTogetherSuite, begun, end_all
from fixtures.engine_kit import Bench
from fixtures.engine_suite import EngineSuite
from fixtures.flow_suite import FlowSuite
from fixtures.ledger_suite import LedgerSuite
from fixtures.listed_runs_suite import ListedRunsSuite
from fixtures.machine_suite import MachineSuite
from fixtures.migration_suite import MigrationSuite
from fixtures.money_kit import open_database
from fixtures.named_budgets_suite import NamedBudgetsSuite
from fixtures.nested_suite import NestedSuite
from fixtures.plan_suite import PlanSuite
from fixtures.prompt_suite import PromptSuite
from fixtures.recovery_suite import RecoverySuite
from fixtures.retention_suite import RetentionSuite
from fixtures.run_memory_suite import RunMemorySuite
from fixtures.shares_suite import SharesSuite
from fixtures.usage_suite import UsageSuite
from gateway.engine import advance
from gateway.errors import Unavailable
from gateway.store.engine import Database


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    """An empty database with the schema and its guards."""
    database = open_database(postgres_url)
    yield database
    database.close()


class TestLedgerOnPostgres(LedgerSuite):
    """Money."""


class TestSharesOnPostgres(SharesSuite):
    """Budgets between processes."""


class TestCapsOnPostgres(CapsSuite):
    """Windows of budgets, and what happens at their caps."""


class TestBatchMoneyOnPostgres(BatchMoneySuite):
    """Budgets while batches are out."""


class TestRecoveryOnPostgres(RecoverySuite):
    """Journals of the dead, and a database that is away."""


class TestUsageOnPostgres(UsageSuite):
    """Sums of usage."""


class TestEngineOnPostgres(EngineSuite):
    """Runs, steps, events, webhooks."""


class TestMachineOnPostgres(MachineSuite):
    """Interleavings of workers, doorbells and sweeps."""


class TestEndsTogetherOnPostgres(EndsTogetherSuite):
    """Several ends in one transaction."""


@pytest.mark.parametrize("when", ["before it is read", "before it is written"])
def test_a_connection_that_breaks_off_is_told_and_nothing_is_half_done(database: Database, when: str) -> None:
    bench = Bench(database)
    run_id, first = begun(bench, CHAIN)

    def break_off(tx: Any) -> None:
        pid = tx.raw.connection.driver_connection.info.backend_pid
        with database.begin() as other:
            other.execute(text("SELECT pg_terminate_backend(:pid, 10000)"), {"pid": pid})

    def end() -> None:
        with bench.store.begin() as tx:
            if when == "before it is read":
                break_off(tx)
            tx.expect([first])
            assert advance.complete(tx, first, {"n": 1}, bench.clock.now())
            break_off(tx)

    with pytest.raises(Unavailable):
        end()
    assert bench.states(run_id) == {"first": "running", "second": "waiting", "third": "waiting"}
    assert end_all(bench, [first])[0][0]


class TestRunMemoryOnPostgres(RunMemorySuite):
    """What a writer remembers."""


class TestFlowOnPostgres(FlowSuite):
    """What follows from the end of a step."""


class TestNestedOnPostgres(NestedSuite):
    """Runs within runs, and limits."""


class TestListedRunsOnPostgres(ListedRunsSuite):
    """A run for each item of a list."""


class TestNamedBudgetsOnPostgres(NamedBudgetsSuite):
    """Budgets of runs and steps."""


class TestRetentionOnPostgres(RetentionSuite):
    """Runs that ended long ago."""


class TestArtifactCollectionOnPostgres(ArtifactCollectionSuite):
    """Artifacts that nothing names."""


class TestPromptsOnPostgres(PromptSuite):
    """Versions, labels, results."""


class TestPlansOnPostgres(PlanSuite):
    """What finds rows by which index."""


class TestMigrationsOnPostgres(MigrationSuite):
    """The schema itself."""

    @pytest.fixture
    def empty(self, postgres_url: str) -> Iterator[Database]:
        database = Database(postgres_url)
        yield database
        database.close()
