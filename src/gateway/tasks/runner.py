"""Runs one step that a doorbell named: claim it, do it, end it; or drop it where the bell is stale.

Handlers are coroutines on one loop in a thread of its own, so connections to models are kept warm
between steps, and one thread of the worker's pool only waits for its step's end.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from gateway.clock import Clock
from gateway.engine import advance, children, claim
from gateway.engine.gates import kept_error
from gateway.engine.ports import EngineStore, EngineTx, Executor
from gateway.engine.rows import Doorbell, RunRow, StepRow
from gateway.engine.task_types import TaskTypeSpec
from gateway.engine.waiting import StepAsks, StepWaits
from gateway.errors import GatewayError, StepCancelled, StepTimeout, Unavailable
from gateway.tasks.budget_pause import pause_of
from gateway.tasks.step_context import ContextFactory
from gateway.tasks.step_pulse import Pulse
from gateway.tasks.step_work import Done, Ready, StepWork
from gateway.tasks.together import Together
from gateway.workflows.context import HandlerLeft

_log = logging.getLogger(__name__)
#: How long the end of a step is tried while the database does not answer, in seconds.
_FINISH_SECONDS = 12.0
#: For how long a worker goes on with a run, in seconds; then its steps wait their turn like everybody's, as their
#: priorities want it.
_GO_ON_SECONDS = 0.5
#: When a step's pulse begins, in seconds; progress that it told before waits for so long.
_PULSE_SECONDS = 0.02


class Calls(Protocol):
    """The money of this process's model calls; see ``ledger.calls``."""

    def look(self) -> None:
        """Takes note of budgets that are new."""
        ...

    def flush(self) -> None:
        """Returns when every call that ended is in the ledger."""
        ...


class StepRunner:
    """One a process. ``run`` may be called from any thread."""

    def __init__(
        self,
        store: EngineStore,
        contexts: ContextFactory,
        task_types: Mapping[str, TaskTypeSpec],
        clock: Clock,
        calls: Calls,
        *,
        worker: str,
        at_end: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """``at_end`` closes what was opened on the loop of the steps, and is run there."""
        self._calls = calls
        self._store = store
        self._together = Together(store)
        self._work = StepWork(store, contexts, task_types, clock)
        self._clock = clock
        self._worker = worker
        self._at_end = at_end
        self._executor: Executor | None = None
        #: Set when no step is run here any more.
        self.closing = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="steps", daemon=True)
        self._thread.start()

    def ring_with(self, executor: Executor) -> None:
        """Who is told of steps that became ready."""
        self._executor = executor

    def run(self, task_id: str, token: int) -> None:
        """The whole of one attempt, and while steps are short those that follow it in its run. Never raises for what
        a step does; logs what it cannot store."""
        self._calls.look()
        with self._store.begin() as tx:  # alone: its run is not known before, so neither is its place in the order
            started = claim.start(tx, task_id, token, self._worker, self._clock.now())
            ready = None if started is None else self._work.ready(tx, started)
        if ready is None:
            _log.debug("doorbell for %s is stale", task_id)
        until = time.monotonic() + _GO_ON_SECONDS
        while ready is not None:
            ready = self._one(ready, until)

    def _one(self, ready: Ready, until: float) -> Ready | None:
        """One attempt to its end; what the same worker goes on with, before ``until``."""
        run, step = ready.run, ready.step
        pulse = Pulse(self._store, run, step, self._clock)
        work = asyncio.run_coroutine_threadsafe(self._attempt(ready, pulse), self._loop)
        end: Callable[[Any, int], bool] | None
        try:
            done = work.result()
            end = lambda tx, now: advance.complete(  # noqa: E731
                tx, step, done.output, now, record=done.record, keep=done.keep
            )
        except (asyncio.CancelledError, concurrent.futures.CancelledError, StepCancelled):
            end = None if pulse.fenced else lambda tx, now: advance.cancelled(tx, step, now)
        except StepWaits as pause:
            seconds, told = pause.seconds, pulse.untold
            end = lambda tx, now: advance.wait(tx, step, seconds, told, now)  # noqa: E731
        except StepAsks as asked:
            error = asked.error
            end = lambda tx, now: advance.ask(tx, step, error, now)  # noqa: E731
        except Exception as error:  # noqa: BLE001 - whatever a handler raises becomes the step's error
            end = self._after(error, run, step)
        if end is None:
            _log.warning("step %s was taken from this worker; its work is dropped", step.task_id)
            return None
        self._calls.flush()
        return self._finish(run, step, end, goes_on=time.monotonic() < until)

    @staticmethod
    def _after(error: Exception, run: RunRow, step: StepRow) -> Callable[[Any, int], bool]:
        """What becomes of a step whose handler raised: it waits for a budget, or this attempt failed."""
        pause = pause_of(error)
        if pause is not None:
            return lambda tx, now: advance.wait(tx, step, pause, None, now)
        problem, retryable = _problem(error)
        if not isinstance(error, GatewayError):
            _log.error("step %s of run %s failed", step.step_id, run.run_id, exc_info=error)
        return lambda tx, now: advance.fail(tx, step, problem, retryable=retryable, now=now)

    def close(self) -> None:
        """Stops the loop; running handlers are cancelled, and left to the sweep."""
        self.closing.set()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(2)

    def _serve(self) -> None:
        while not self.closing.is_set():
            try:
                self._loop.run_forever()
            except (SystemExit, KeyboardInterrupt):  # a task that a handler left behind; the steps of others go on
                _log.exception("something that a step began wanted to end this worker")
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        if left:
            self._loop.run_until_complete(asyncio.wait(left))
        self._loop.run_until_complete(self._end())
        self._loop.close()

    async def _end(self) -> None:
        if self._at_end is not None:
            await self._at_end()
        await asyncio.sleep(0)  # what is closed is told so in the loop's next turn

    async def _attempt(self, ready: Ready, pulse: Pulse) -> Done:
        step, beat = ready.step, None
        work = asyncio.create_task(self._work.do(ready, pulse))
        try:
            async with asyncio.timeout(step.spec.timeout):
                # Most steps are over before anybody could ask for them, and a pulse costs more than they do.
                await asyncio.wait({work}, timeout=_PULSE_SECONDS)
                if not work.done():
                    beat = asyncio.create_task(pulse.beat())
                    if ready.run.kind == "workflow":
                        await asyncio.to_thread(self._spread, step.run_id)
                    await asyncio.wait({beat, work}, return_when=asyncio.FIRST_COMPLETED)
                if not work.done():  # the pulse ended: fenced, or nobody wants the result
                    raise StepCancelled("the step was cancelled while it ran")
                return work.result()
        except TimeoutError:
            if work.done() and not work.cancelled():
                return work.result()
            raise StepTimeout(
                f"the step ran longer than its timeout of {step.spec.timeout:g} s", mend="give it a longer timeout"
            ) from None
        finally:
            left = [task for task in (beat, work) if task is not None and not task.done()]
            for task in left:
                task.cancel()
            if left:
                await asyncio.gather(*left, return_exceptions=True)  # their outcome is known, or not wanted

    def _spread(self, run_id: str) -> None:
        """Where a step takes long, the others that are ready do not wait for it."""
        now = self._clock.now()
        with contextlib.suppress(Unavailable):  # the next sweep does it
            with self._store.read() as tx:
                if not tx.any_ready(run_id, now):
                    return
            with self._store.begin() as tx:
                doorbells = claim.spread(tx, run_id, now)
            if self._executor is not None and doorbells:
                self._executor.ring(doorbells)

    def _finish(self, run: RunRow, step: StepRow, end: Callable[[Any, int], bool], *, goes_on: bool) -> Ready | None:
        """Stores the end of a step; what this worker goes on with, begun in the same transaction."""

        def finish(tx: EngineTx) -> tuple[bool, Ready | None, list[Doorbell]]:
            now = self._clock.now()
            if not end(tx, now):
                return False, None, []
            if not goes_on or self.closing.is_set():
                return True, None, claim.follow(tx, step, now)
            started, doorbells = claim.go_on(tx, step, self._worker, now)
            return True, None if started is None else self._work.ready(tx, started), doorbells

        deadline = time.monotonic() + _FINISH_SECONDS
        pause = 0.1
        while True:
            try:
                ended, ready, doorbells = self._together.do(run.run_id, finish)
                break
            except Unavailable:
                if time.monotonic() > deadline:
                    _log.error("the end of step %s could not be stored; the sweep will run it again", step.task_id)
                    return None
                time.sleep(pause)
                pause = min(pause * 2, 2.0)
        if not ended:
            _log.warning("step %s ended here, but was another's by then; its result is dropped", step.task_id)
        if self._executor is not None and doorbells:
            self._executor.ring(doorbells)
        if self._executor is not None and ended and run.parent_run is not None:
            children.tell_ends(self._store, self._executor, self._clock.now())
        return ready


def _problem(error: Exception) -> tuple[dict[str, Any], bool]:
    """The error as the step keeps it, and whether another attempt may mend it."""
    if isinstance(error, GatewayError):
        return kept_error(error), error.retryable
    raised = error.__cause__ if isinstance(error, HandlerLeft) and error.__cause__ is not None else error
    return {
        "code": "step_failed",
        "message": f"the step raised {type(raised).__name__}{_place_of(raised)}",
        "mend": "the worker's log has the traceback",
    }, True


def _place_of(error: BaseException) -> str:
    """Where it was raised, as far as it is told to whoever may read the step; what it says stays in the log."""
    found = traceback.extract_tb(error.__traceback__)
    return f" ({Path(found[-1].filename).name}, line {found[-1].lineno})" if found else ""
