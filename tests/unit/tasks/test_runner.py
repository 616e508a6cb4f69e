"""One attempt at a step: done, failed, refused, timed out or fenced, over a real database."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import select

import gateway.tasks.runner
from fixtures.engine_kit import TASK_TYPES, Bench
from fixtures.house import House
from fixtures.money_kit import open_database
from gateway.clock import SECOND
from gateway.engine import control
from gateway.engine.claim import RUN_LEASE
from gateway.engine.recovery import sweep
from gateway.errors import UpstreamOverloaded, ValidationFailed
from gateway.store.tables import dead_letter
from gateway.tasks import step_work
from gateway.tasks.inline import InlineExecutor
from gateway.tasks.runner import StepRunner
from gateway.tasks.step_context import ContextFactory
from gateway.workflows.context import Handler, StepContext

ONE = [{"step_id": "top", "task_type": "work", "retry": {"max_attempts": 2, "backoff": 0}}]


class Works:
    """The handler of every step: what the test puts in ``does``."""

    def __init__(self) -> None:
        self.does: Handler = self.nothing
        self.seen: list[tuple[StepContext, dict[str, Any]]] = []

    async def __call__(self, context: StepContext, data: dict[str, Any]) -> dict[str, Any]:
        self.seen.append((context, data))
        return await self.does(context, data)

    async def nothing(self, _context: StepContext, _data: dict[str, Any]) -> dict[str, Any]:
        return {"n": 1}


@pytest.fixture
def works(monkeypatch: pytest.MonkeyPatch) -> Works:
    made = Works()
    monkeypatch.setattr(step_work, "load_handler", lambda _name: made)
    return made


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    database = open_database(f"sqlite:///{tmp_path / 'gateway.db'}")
    yield Bench(database)
    database.close()


class NoCalls:
    """These steps call no model."""

    def look(self) -> None: ...

    def flush(self) -> None: ...


@pytest.fixture
def runner(bench: Bench) -> Iterator[StepRunner]:
    nobody = cast(Any, None)
    contexts = ContextFactory(nobody, nobody, nobody, nobody, nobody, nobody)
    made = StepRunner(bench.store, contexts, TASK_TYPES, bench.clock, NoCalls(), worker="w1")
    made.ring_with(bench)
    yield made
    made.close()


def attempt(bench: Bench, runner: StepRunner, name: str = "top") -> None:
    bell = bench.bell(name)
    runner.run(bell.task_id, bell.token)


NEXT = {"step_id": "next", "task_type": "work", "input_mapping": {"a": "step.top.n", "b": "input.x"}}


def test_a_worker_goes_on_with_the_next_step_of_its_run(bench: Bench, runner: StepRunner, works: Works) -> None:
    run_id = bench.begin([*ONE, NEXT, {**NEXT, "step_id": "other"}], data={"x": 7})
    attempt(bench, runner)
    assert [bench.step(name, run_id).state for name in ("top", "next", "other")] == ["completed", "completed", "queued"]
    context, data = works.seen[1]
    assert data == {"a": 1, "b": 7}
    assert context.upstream == {"top": {"n": 1}}
    assert context.cause == f"{context.task_id}:1"
    assert bench.step("next", run_id).input == {"a": 1, "b": 7}
    attempt(bench, runner, "other")
    assert bench.run(run_id).status == "completed"


def test_after_a_while_steps_wait_for_their_turn(
    bench: Bench, runner: StepRunner, works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway.tasks.runner, "_GO_ON_SECONDS", 0.0)
    run_id = bench.begin([*ONE, NEXT], data={"x": 7})
    attempt(bench, runner)
    assert (bench.step("next", run_id).state, len(works.seen)) == ("queued", 1)
    attempt(bench, runner, "next")
    assert bench.run(run_id).status == "completed"


def test_a_step_that_cannot_be_read_fails_by_itself(bench: Bench, runner: StepRunner, works: Works) -> None:
    run_id = bench.begin([*ONE, {**NEXT, "input_mapping": {"a": "step.top.n.deep"}}])
    attempt(bench, runner)
    failed = bench.step("next", run_id)
    assert (bench.step("top", run_id).state, failed.state, failed.attempts) == ("completed", "failed", 1)
    assert (failed.error or {})["code"] == "validation_failed"
    assert len(works.seen) == 1


def test_nothing_goes_on_in_a_run_that_is_to_stop(bench: Bench, runner: StepRunner, works: Works) -> None:
    async def pause(context: StepContext, _data: dict[str, Any]) -> dict[str, Any]:
        with bench.store.begin() as tx:
            control.pause(tx, run_id, bench.clock.now())
        return {"n": 1}

    works.does = pause
    run_id = bench.begin([*ONE, NEXT], data={"x": 7})
    attempt(bench, runner)
    assert (bench.step("top", run_id).state, len(works.seen)) == ("completed", 1)
    assert bench.step("next", run_id).state == "held"


def test_a_stale_doorbell_is_dropped(bench: Bench, runner: StepRunner, works: Works) -> None:
    bench.begin(ONE)
    attempt(bench, runner)
    attempt(bench, runner)
    runner.run("task_unknown", 1)
    assert len(works.seen) == 1


@pytest.mark.parametrize(
    ("error", "code", "attempts"),
    [
        (ValidationFailed("no", param="a"), "validation_failed", 1),
        (UpstreamOverloaded("busy"), "upstream_overloaded", 2),
        (KeyError("secret thing"), "step_failed", 2),
        (asyncio.CancelledError(), "step_failed", 2),  # nobody called it off
        (SystemExit(2), "step_failed", 2),
        (KeyboardInterrupt(), "step_failed", 2),
    ],
)
def test_a_failure_is_kept_with_its_reason(
    bench: Bench, runner: StepRunner, works: Works, error: BaseException, code: str, attempts: int
) -> None:
    async def fail(_context: StepContext, _data: dict[str, Any]) -> dict[str, Any]:
        raise error

    works.does = fail
    run_id = bench.begin(ONE)
    attempt(bench, runner)
    for _ in range(attempts - 1):
        bench.clock.pass_seconds(5)
        sweep(bench.store, bench, bench.clock.now())
        attempt(bench, runner)
    step = bench.step("top", run_id)
    assert (step.state, step.attempts, (step.error or {})["code"]) == ("failed", attempts, code)
    assert "secret thing" not in str(step.error)
    if code == "step_failed":
        told = str((step.error or {})["message"])
        assert told.startswith(f"the step raised {type(error).__name__} (test_runner.py, line ")


def test_what_a_step_left_behind_does_not_end_the_steps_of_others(
    bench: Bench, runner: StepRunner, works: Works
) -> None:
    async def leave() -> None:
        raise SystemExit(3)

    async def begin(_context: StepContext, _data: dict[str, Any]) -> dict[str, Any]:
        left.append(asyncio.create_task(leave()))
        await asyncio.wait(left)
        return {"n": 1}

    left: list[asyncio.Task[None]] = []
    works.does = begin
    run_id = bench.begin(ONE)
    attempt(bench, runner)
    assert bench.run(run_id).status == "completed"
    works.does = works.nothing
    run_id = bench.begin(ONE)
    attempt(bench, runner)
    assert bench.run(run_id).status == "completed"


@pytest.mark.parametrize(
    ("output", "place"), [({"n": float("nan")}, "n"), ({"n": {"var": [1.0, float("-inf")]}}, "n.var[1]")]
)
def test_a_figure_that_json_cannot_write_is_a_failure_and_not_null(
    bench: Bench, runner: StepRunner, works: Works, output: dict[str, Any], place: str
) -> None:
    async def give(_context: StepContext, _data: dict[str, Any]) -> dict[str, Any]:
        return output

    works.does = give
    run_id = bench.begin(ONE)
    attempt(bench, runner)
    step = bench.step("top", run_id)
    assert step.state == "failed"
    assert f"{place} is NaN or infinite" in str(step.error)


@pytest.mark.parametrize("output", [[1], None, {"n": object()}, {"n": "x" * 5_000_000}])
def test_an_output_that_cannot_be_kept_is_a_failure(
    bench: Bench, runner: StepRunner, works: Works, output: Any
) -> None:
    async def give(_context: StepContext, _data: dict[str, Any]) -> dict[str, Any]:
        return cast(dict[str, Any], output)

    works.does = give
    run_id = bench.begin(ONE)
    attempt(bench, runner)
    assert (bench.step("top", run_id).error or {})["code"] == "step_failed"


def test_a_step_that_takes_too_long_is_stopped(bench: Bench, runner: StepRunner, works: Works) -> None:
    stopped = threading.Event()

    async def linger(_context: StepContext, _data: dict[str, Any]) -> dict[str, Any]:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            stopped.set()
            raise
        return {}

    works.does = linger
    run_id = bench.begin([{"step_id": "top", "task_type": "work", "timeout": 0.2, "retry": {"max_attempts": 1}}])
    attempt(bench, runner)
    assert stopped.wait(2)
    step = bench.step("top", run_id)
    assert (step.state, (step.error or {})["code"]) == ("failed", "step_timeout")


def test_a_result_that_comes_too_late_does_not_count(bench: Bench, runner: StepRunner, works: Works) -> None:
    """The lease ran out while the worker slept; another did the step."""

    async def sleep(_context: StepContext, _data: dict[str, Any]) -> dict[str, Any]:
        bench.clock.pass_seconds(RUN_LEASE / SECOND + 1)
        sweep(bench.store, bench, bench.clock.now())
        bench.work("top", {"n": 2})
        return {"n": 1}

    works.does = sleep
    run_id = bench.begin(ONE)
    attempt(bench, runner)
    assert bench.step("top", run_id).output == {"n": 2}
    told = [event.type for event in bench.events.after(0, run_id=run_id)]
    assert told.count("task_completed") == told.count("workflow_completed") == 1


def test_progress_is_told_while_it_works(bench: Bench, runner: StepRunner, works: Works) -> None:
    async def tell(context: StepContext, _data: dict[str, Any]) -> dict[str, Any]:
        context.progress(0.4, "fitting")
        await asyncio.to_thread(House.until, lambda: bench.events.after(0, types=["workflow_progress"]), bool)
        return {"n": 1}

    works.does = tell
    run_id = bench.begin([*ONE, {"step_id": "next", "task_type": "work", "dependencies": ["top"]}])
    attempt(bench, runner)
    first = bench.events.after(0, run_id=run_id, types=["workflow_progress"])[0].payload
    assert (first["step_progress"], first["note"], first["progress"]) == (0.4, "fitting", 0.2)


def test_a_missing_input_is_named(bench: Bench, runner: StepRunner, works: Works) -> None:
    run_id = bench.begin([{"step_id": "top", "task_type": "work", "input_mapping": {"a": "input.x.y"}}], data={"x": {}})
    attempt(bench, runner)
    assert (bench.step("top", run_id).error or {})["code"] == "validation_failed"
    assert works.seen == []


def test_where_there_is_no_broker_threads_do_the_work(bench: Bench, runner: StepRunner, works: Works) -> None:
    executor = InlineExecutor(runner)
    runner.ring_with(executor)
    steps = [{"step_id": f"s{at}", "task_type": "work"} for at in range(5)]
    run_id = bench.begin(steps, ring=False)
    sweep(bench.store, executor, bench.clock.now())
    House.until(lambda: bench.run(run_id).status, lambda status: status == "completed")
    executor.close()
    assert len(works.seen) == 5


def test_a_step_that_used_up_the_attempts_of_a_code_of_its_own_is_a_dead_letter(
    bench: Bench, runner: StepRunner, works: Works
) -> None:
    async def fail(_context: StepContext, _data: dict[str, Any]) -> dict[str, Any]:
        raise ValidationFailed("no")

    works.does = fail
    for retry, letters in (({"max_attempts": 1}, 0), ({"max_attempts": 1, "on": ["validation_failed"]}, 1)):
        bench.begin([{"step_id": "top", "task_type": "work", "retry": retry}])
        attempt(bench, runner)
        with bench.database.begin() as connection:
            assert len(connection.execute(select(dead_letter)).all()) == letters


@pytest.mark.parametrize(
    ("fraction", "note", "kept"),
    [
        (float("nan"), "x", (0.0, "x")),
        (0.5, None, (0.5, "")),
        (0.5, 7, (0.5, "7")),
        (0.5, "a\0b\ud800", (0.5, "a?b?")),
        (0.5, "x" * 10**6, (0.5, "x" * 500)),
    ],
)
def test_a_step_goes_on_whatever_it_tells(
    bench: Bench, runner: StepRunner, works: Works, fraction: float, note: Any, kept: tuple[float, str]
) -> None:
    async def tell(context: StepContext, _data: dict[str, Any]) -> dict[str, Any]:
        context.progress(fraction, note)
        await asyncio.to_thread(House.until, lambda: bench.events.after(0, types=["workflow_progress"]), bool)
        return {"n": 1}

    works.does = tell
    run_id = bench.begin(ONE)
    attempt(bench, runner)
    assert bench.run(run_id).status == "completed"
    told = bench.events.after(0, run_id=run_id, types=["workflow_progress"])[0].payload
    assert (told["step_progress"], told["note"]) == kept


def test_an_error_is_kept_whatever_it_says(bench: Bench, runner: StepRunner, works: Works) -> None:
    async def fail(_context: StepContext, _data: dict[str, Any]) -> dict[str, Any]:
        raise ValidationFailed("a\0b\ud800" + "x" * 20_000)

    works.does = fail
    run_id = bench.begin(ONE)
    attempt(bench, runner)
    error = bench.step("top", run_id).error or {}
    assert error["message"].startswith("a?b?xx")
    assert len(error["message"]) == 10_000
