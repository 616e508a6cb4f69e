"""The orchestrator: sweeps while there is work, and hardly at all at rest."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from fixtures.engine_kit import Bench
from fixtures.money_kit import open_database
from gateway.engine.rows import Doorbell
from gateway.errors import Unavailable
from gateway.events.outbox import Receipt
from gateway.store.live_work import live_work
from gateway.tasks.orchestrator import Orchestrator
from gateway.tasks.webhooks import WebhookDeliverer

ONE = [{"step_id": "top", "task_type": "work"}]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    database = open_database(f"sqlite:///{tmp_path / 'gateway.db'}")
    yield Bench(database)
    database.close()


class Counting:
    """Counts sweeps by the doorbells each rings, and stops the orchestrator after some looks."""

    def __init__(self, bench: Bench, looks: int) -> None:
        self.sweeps = 0
        self.left = looks
        self.bench = bench
        self.stop = threading.Event()

    def ring(self, doorbells: Sequence[Doorbell]) -> None:
        self.sweeps += 1
        self.bench.ring(doorbells)

    def live(self) -> bool:
        self.left -= 1
        if self.left <= 0:
            self.stop.set()
        return live_work(self.bench.database)


def run(bench: Bench, looks: int) -> int:
    async def send(*_args: object) -> Receipt:
        return Receipt(200)

    counting = Counting(bench, looks)
    deliverer = WebhookDeliverer(bench.webhooks, send, bench.clock, secret="", interval=0.01)
    Orchestrator(bench.store, counting, (), deliverer, bench.clock, interval=0.001, live=counting.live).run(
        counting.stop
    )
    return counting.sweeps


def test_a_run_that_nobody_rang_for_is_found_at_once(bench: Bench) -> None:
    run_id = bench.begin(ONE, ring=False)
    assert live_work(bench.database)
    assert run(bench, 5) == 5
    assert bench.states(run_id) == {"top": "queued"}


def test_at_rest_there_is_one_pass_and_then_a_long_pause(bench: Bench) -> None:
    run_id = bench.begin(ONE)
    bench.work("top", {"n": 1})
    assert bench.run(run_id).status == "completed"
    assert not live_work(bench.database)
    assert run(bench, 20) == 1


@pytest.mark.parametrize(
    ("approval", "fields", "live"),
    [({}, {}, False), ({"expires": 3600}, {}, True), ({}, {"deadline": 2**60}, True)],
)
def test_a_run_that_only_waits_for_a_person_is_no_work(
    bench: Bench, approval: dict[str, Any], fields: dict[str, Any], live: bool
) -> None:
    steps: list[dict[str, Any]] = [{"step_id": "word", "approval": approval}, {**ONE[0], "dependencies": ["word"]}]
    run_id = bench.begin(steps, **fields)
    assert bench.states(run_id) == {"word": "parked", "top": "waiting"}
    assert live_work(bench.database) is live
    if not live:
        assert run(bench, 20) == 1
    bench.decide(run_id, "word")
    assert bench.states(run_id)["top"] == "queued"
    assert live_work(bench.database)


def test_a_step_in_a_workers_hands_is_work_though_its_run_has_ended(bench: Bench) -> None:
    bench.begin(ONE, deadline=bench.clock.now())
    bench.start("top")
    bench.clock.pass_seconds(1)
    run(bench, 2)
    assert live_work(bench.database)


def test_a_database_that_does_not_answer_ends_nothing(bench: Bench) -> None:
    stop = threading.Event()
    asked = []

    def live() -> bool:
        asked.append(1)
        if len(asked) == 3:
            stop.set()
        raise Unavailable("the database does not answer")

    async def send(*_args: object) -> Receipt:
        return Receipt(200)

    deliverer = WebhookDeliverer(bench.webhooks, send, bench.clock, secret="", interval=0.01)
    Orchestrator(bench.store, bench, (), deliverer, bench.clock, interval=0.001, live=live).run(stop)
    assert len(asked) == 3
