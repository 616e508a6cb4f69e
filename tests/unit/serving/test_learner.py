"""What one process saw, the others know a moment later."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.money_kit import ManualClock, open_database
from gateway.errors import Unavailable
from gateway.routing.health import Health
from gateway.routing.learning import OUTCOMES_HALVE, Outcomes, Standing
from gateway.serving.learner import Learner
from gateway.store.learning_store import SqlLearningStore


def test_outcomes_are_shared_over_processes(tmp_path: Path) -> None:
    clock = ManualClock()
    database = open_database(f"sqlite:///{tmp_path / 'a.db'}")
    here, there = Health(clock), Health(clock)
    first, second = (Learner(SqlLearningStore(database), health, clock) for health in (here, there))
    for health in (here, there):
        health.entered("m")
        health.left("m", 0.5)
        health.succeeded("m")
        health.failed("m")
    first.exchange()
    second.exchange()
    first.exchange()
    known = first.standings()["m"]
    assert (known.answered, known.failed, known.seconds, known.measured) == pytest.approx((2, 2, 1.0, 2))
    assert second.standings() == first.standings()
    clock.pass_seconds(OUTCOMES_HALVE / 1e6)
    first.exchange()
    assert first.standings()["m"].answered == pytest.approx(1)
    database.close()


class Away(SqlLearningStore):
    """A database that does not answer until it does."""

    away = True

    def add_outcomes(self, hour: int, outcomes: dict[str, Outcomes]) -> None:
        if self.away:
            raise Unavailable
        super().add_outcomes(hour, outcomes)


def test_nothing_is_lost_while_the_database_is_away(tmp_path: Path) -> None:
    clock = ManualClock()
    database = open_database(f"sqlite:///{tmp_path / 'a.db'}")
    health, store = Health(clock), Away(database)
    learner = Learner(store, health, clock)
    for _ in range(2):
        health.failed("m")
        learner.exchange()
    assert learner.standings() == {}
    store.away = False
    learner.exchange()
    assert learner.standings()["m"] == Standing(failed=2)
    database.close()
