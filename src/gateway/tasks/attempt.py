"""One attempt at a step, on the loop of the steps: its handler, and who looks after it where it takes long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from gateway.clock import Clock
from gateway.engine.ports import EngineStore
from gateway.errors import StepCancelled, StepTimeout
from gateway.tasks.step_pulse import Pulse
from gateway.tasks.step_work import Done, Ready, StepWork

_log = logging.getLogger(__name__)
#: When an attempt begins to be looked after, in seconds; progress that it told before waits for so long. Most steps are
#: over before anybody could ask for them, and a pulse costs more than they do.
_PULSE_SECONDS = 0.02


class Attempt:
    """``stopped`` says why it was ended from outside."""

    __slots__ = ("long", "pulse", "ready", "started", "stopped", "task")

    def __init__(self, ready: Ready, pulse: Pulse) -> None:
        self.ready = ready
        self.pulse = pulse
        self.stopped: StepCancelled | StepTimeout | None = None
        self.started = 0.0
        #: It took so long that it is looked after.
        self.long = False
        self.task: asyncio.Task[Done]

    def begin(self, loop: asyncio.AbstractEventLoop, work: StepWork, ended: Callable[[Attempt], None]) -> None:
        """``ended`` is called with it once it is over."""
        self.started = loop.time()
        self.task = loop.create_task(work.do(self.ready, self.pulse))
        self.task.add_done_callback(lambda _task: ended(self))

    @property
    def abandoned(self) -> bool:
        """Whether it was cancelled by the end of the process."""
        return self.stopped is None and self.task.cancelled()

    @property
    def hasty(self) -> bool:
        """Whether it may have taken too long before it would be looked after."""
        timeout = self.ready.step.spec.timeout
        return timeout is not None and timeout < _PULSE_SECONDS

    def left(self, now: float) -> float | None:
        """Seconds until it has taken too long."""
        timeout = self.ready.step.spec.timeout
        return None if timeout is None else max(self.started + timeout - now, 0.0)

    def stop(self, why: StepCancelled | StepTimeout) -> None:
        """Ends the handler, if it has not ended by itself."""
        if not self.task.done():
            self.stopped = why
            self.task.cancel()


class Watch:
    """Gives those attempts that take long a pulse, and stops those that nobody wants or that take too long."""

    def __init__(
        self, store: EngineStore, clock: Clock, long: Callable[[Attempt], None], spread: Callable[[str], None]
    ) -> None:
        """``long`` is told of each that takes long; ``spread`` rings for what else of a run is ready, in whatever
        thread."""
        self._store = store
        self._clock = clock
        self._long = long
        self._spread = spread
        self._at_work: set[asyncio.Task[None]] = set()

    def pulse(self, ready: Ready) -> Pulse:
        """Of an attempt at that step."""
        return Pulse(self._store, ready.run, ready.step, self._clock)

    def over(self, loop: asyncio.AbstractEventLoop, attempts: Sequence[Attempt]) -> None:
        """Begins to watch over them, who have just begun."""
        self._look_after(loop, [one for one in attempts if one.hasty])
        patient = {one.task for one in attempts if not one.hasty}
        timer = loop.call_later(_PULSE_SECONDS, self._look_after, loop, [one for one in attempts if not one.hasty])

        def over(task: asyncio.Task[Done]) -> None:
            """With the last of them the loop need not wake up for them any more."""
            patient.discard(task)
            if not patient:
                timer.cancel()

        for one in attempts:
            if not one.hasty:
                one.task.add_done_callback(over)

    def _look_after(self, loop: asyncio.AbstractEventLoop, attempts: Sequence[Attempt]) -> None:
        for one in attempts:
            if not one.task.done():
                one.long = True
                self._long(one)
                task = loop.create_task(self._attend(one))
                self._at_work.add(task)
                task.add_done_callback(self._at_work.discard)

    async def _attend(self, one: Attempt) -> None:
        """Until it is over. Its pulse ends where it is fenced, or nobody wants the result."""
        loop, step = asyncio.get_running_loop(), one.ready.step
        beat = asyncio.create_task(one.pulse.beat())
        spread = asyncio.create_task(self._spread_run(step.run_id)) if one.ready.run.kind == "workflow" else None
        try:
            await asyncio.wait({beat, one.task}, timeout=one.left(loop.time()), return_when=asyncio.FIRST_COMPLETED)
            if beat.done():
                one.stop(StepCancelled("the step was cancelled while it ran"))
            elif not one.task.done():
                told = f"the step ran longer than its timeout of {step.spec.timeout:g} s"
                one.stop(StepTimeout(told, mend="give it a longer timeout"))
        finally:
            beat.cancel()
            if spread is not None:
                await asyncio.wait({spread})

    async def _spread_run(self, run_id: str) -> None:
        try:
            await asyncio.to_thread(self._spread, run_id)
        except Exception:  # noqa: BLE001 - a step is not to end because of others of its run
            _log.exception("the other steps of %s", run_id)
