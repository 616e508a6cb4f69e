"""The engine on SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.artifact_collection_suite import ArtifactCollectionSuite
from fixtures.ends_together_suite import EndsTogetherSuite
from fixtures.engine_suite import EngineSuite
from fixtures.flow_suite import FlowSuite
from fixtures.listed_runs_suite import ListedRunsSuite
from fixtures.money_kit import open_database
from fixtures.named_budgets_suite import NamedBudgetsSuite
from fixtures.nested_suite import NestedSuite
from fixtures.retention_suite import RetentionSuite
from fixtures.run_memory_suite import RunMemorySuite
from gateway.store.engine import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = open_database(f"sqlite:///{tmp_path / 'gateway.db'}")
    yield database
    database.close()


class TestEngineOnSqlite(EngineSuite):
    """Claims, leases, fences, events."""


class TestRunMemoryOnSqlite(RunMemorySuite):
    """What a writer remembers."""


class TestFlowOnSqlite(FlowSuite):
    """What follows from the end of a step."""


class TestNestedOnSqlite(NestedSuite):
    """Runs within runs, and limits."""


class TestListedRunsOnSqlite(ListedRunsSuite):
    """A run for each item of a list."""


class TestNamedBudgetsOnSqlite(NamedBudgetsSuite):
    """Budgets of runs and steps."""


class TestRetentionOnSqlite(RetentionSuite):
    """Runs that ended long ago."""


class TestArtifactCollectionOnSqlite(ArtifactCollectionSuite):
    """Artifacts that nothing names."""


class TestEndsTogetherOnSqlite(EndsTogetherSuite):
    """Several ends in one transaction."""
