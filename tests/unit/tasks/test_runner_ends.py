"""What becomes of an attempt's end where the database is away, the process ends, or others wait for its place."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from fixtures.engine_kit import TASK_TYPES, Bench
from fixtures.house import House
from fixtures.money_kit import open_database
from gateway.engine.recovery import sweep
from gateway.errors import Unavailable
from gateway.tasks import step_work
from gateway.tasks.inline import InlineExecutor
from gateway.tasks.runner import StepRunner, _Ending, _Hand
from gateway.tasks.step_context import ContextFactory
from gateway.workflows.context import Handler

ONE = [{"step_id": "top", "task_type": "work"}]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    database = open_database(f"sqlite:///{tmp_path / 'gateway.db'}")
    yield Bench(database)
    database.close()


class Calls:
    """The ledger of these steps, which call no model; it may be behind."""

    behind = 0

    def look(self) -> None: ...

    def flush(self) -> None:
        if self.behind:
            self.behind -= 1
            raise Unavailable("the ledger is behind")


class Away:
    """A store whose database does not answer for so many transactions."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.writers = store.writers
        self.fails = 0

    @contextmanager
    def begin(self) -> Iterator[Any]:
        if self.fails:
            self.fails -= 1
            raise Unavailable("the database does not answer")
        with self._store.begin() as tx:
            yield tx

    def writer(self) -> Away:
        return self

    def close(self) -> None:
        """A thread writes no more."""

    def read(self) -> Any:
        return self._store.read()


def made(bench: Bench, store: Any = None, calls: Calls | None = None, at_once: int = 32) -> StepRunner:
    nobody = cast(Any, None)
    contexts = ContextFactory(nobody, nobody, nobody, nobody, nobody, nobody)
    runner = StepRunner(
        store or bench.store, contexts, TASK_TYPES, bench.clock, calls or Calls(), worker="w1", at_once=at_once
    )
    runner.ring_with(bench)
    return runner


def does(monkeypatch: pytest.MonkeyPatch, handler: Handler) -> None:
    monkeypatch.setattr(step_work, "load_handler", lambda _name: handler)


async def one(_context: Any, _data: dict[str, Any]) -> dict[str, Any]:
    return {"n": 1}


@pytest.mark.parametrize("what", ["database", "ledger"])
def test_an_end_is_tried_again_until_it_is_written(bench: Bench, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    store, calls, begun = Away(bench.store), Calls(), list[None]()

    async def go_away(_context: Any, _data: dict[str, Any]) -> dict[str, Any]:
        begun.append(None)
        if what == "database":
            store.fails = 2
        else:
            calls.behind = 2
        return {"n": 1}

    does(monkeypatch, go_away)
    runner = made(bench, store, calls)
    run_id = bench.begin(ONE)
    bell = bench.bell("top")
    runner.run(bell.task_id, bell.token)
    runner.close()
    assert (bench.run(run_id).status, len(begun), store.fails, calls.behind) == ("completed", 1, 0, 0)


def test_a_step_that_cannot_be_begun_is_left_to_the_sweep(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    does(monkeypatch, one)
    store = Away(bench.store)
    runner = made(bench, store)
    run_id = bench.begin(ONE)
    bell = bench.bell("top")
    store.fails = 1
    runner.run(bell.task_id, bell.token)
    assert bench.step("top", run_id).state == "queued"
    runner.run(bell.task_id, bell.token)
    runner.close()
    assert bench.run(run_id).status == "completed"


def test_a_process_that_ends_leaves_what_runs_to_others(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    at_work, stopped = threading.Event(), threading.Event()

    async def linger(_context: Any, _data: dict[str, Any]) -> dict[str, Any]:
        at_work.set()
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()
        return {}

    does(monkeypatch, linger)
    runner = made(bench)
    run_id = bench.begin(ONE)
    bell = bench.bell("top")
    waiting = threading.Thread(target=runner.run, args=(bell.task_id, bell.token))
    waiting.start()
    assert at_work.wait(10)
    runner.close()
    waiting.join(10)
    assert stopped.is_set()
    assert not waiting.is_alive()
    assert (bench.step("top", run_id).state, bench.run(run_id).status) == ("running", "running")


@pytest.mark.parametrize(
    ("at_once", "seconds", "count", "wanted"),
    [(3, 0.01, 12, 3), (32, 0.05, 20, 8)],
    ids=["as many as may be in hand", "a few of those that compute for long"],
)
def test_only_so_many_are_done_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, at_once: int, seconds: float, count: int, wanted: int
) -> None:
    now, most = 0, 0

    async def work(_context: Any, _data: dict[str, Any]) -> dict[str, Any]:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(seconds)
        now -= 1
        return {"n": 1}

    does(monkeypatch, work)
    runner = made(bench, at_once=at_once)
    executor = InlineExecutor(runner)
    runner.ring_with(executor)
    run_id = bench.begin([{"step_id": f"s{at}", "task_type": "work"} for at in range(count)], ring=False)
    sweep(bench.store, executor, bench.clock.now())
    House.until(lambda: bench.run(run_id).status, lambda status: status == "completed")
    executor.close()
    runner.close()
    assert most == wanted


def test_after_its_end_an_executor_takes_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[None] = []

    async def note(_context: Any, _data: dict[str, Any]) -> dict[str, Any]:
        done.append(None)
        return {"n": 1}

    does(monkeypatch, note)
    runner = made(bench)
    executor = InlineExecutor(runner)
    executor.close()
    bench.begin(ONE)
    executor.ring([bench.bell("top")])
    runner.close()
    assert done == []


def test_nothing_begins_in_a_process_that_ends(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[None] = []

    async def note(_context: Any, _data: dict[str, Any]) -> dict[str, Any]:
        begun.append(None)
        return {"n": 1}

    class Ends(Away):
        @contextmanager
        def begin(self) -> Iterator[Any]:
            with super().begin() as tx:
                yield tx
            runner.closing.set()

    does(monkeypatch, note)
    runner = made(bench, Ends(bench.store))
    run_id = bench.begin(ONE)
    bell = bench.bell("top")
    runner.run(bell.task_id, bell.token)
    runner.close()
    assert (begun, bench.step("top", run_id).state) == ([], "running")


class Mute:
    """Who is told of ready steps, and cannot be."""

    def ring(self, _doorbells: Any) -> None:
        raise OSError("nobody hears")


def test_a_place_is_free_again_where_others_cannot_be_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    does(monkeypatch, one)
    runner = made(bench, at_once=1)
    runner.ring_with(Mute())
    over = threading.Semaphore(0)
    monkeypatch.setattr("gateway.tasks.runner._GO_ON_SECONDS", -1.0)  # what follows is rung for
    run_id = bench.begin([*ONE, {"step_id": "next", "task_type": "work", "dependencies": ["top"]}])
    bell = bench.bell("top")
    runner.take([bell], over.release)
    assert over.acquire(timeout=5)
    assert bench.step("top", run_id).state == "completed"
    runner.close()


def test_a_place_is_free_again_where_nobody_can_say_how_a_step_ended(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(_attempt: Any) -> Any:
        raise ValueError("an error that cannot be told")

    does(monkeypatch, one)
    monkeypatch.setattr("gateway.tasks.runner.end_of", unknown)
    runner, over = made(bench), threading.Event()
    bench.begin(ONE)
    runner.take([bench.bell("top")], over.set)
    assert over.wait(5)
    runner.close()


def test_a_step_begins_while_the_ledger_is_behind(bench: Bench) -> None:
    calls = Calls()
    runner = made(bench, calls=calls)
    bench.begin(ONE)
    begins = runner._beginning(_Hand(lambda: None, computes=False), bench.bell("top"))
    ends = _Ending(begins.hand, cast(Any, _Of()), lambda _tx: (True, None, []))
    calls.behind = 1
    runner._before([begins, ends])
    runner.close()
    assert (begins.error, type(ends.error)) == (None, Unavailable)


class _Of:
    """What is ready, as far as an end is made of it."""

    class step:  # noqa: N801
        run_id = "run"

    class run:  # noqa: N801
        parent_run = None
