"""The pulse of a running step: keeps its lease, tells its progress, and learns that it is unwanted."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

from gateway.clock import Clock
from gateway.engine import claim
from gateway.engine.ports import EngineStore
from gateway.engine.rows import RunRow, StepRow
from gateway.errors import Unavailable

_log = logging.getLogger(__name__)
_TICK = 0.1
#: How often it is looked whether anybody still wants the step.
_LOOK_SECONDS = 0.5
#: Progress is told at most this often, in seconds.
_PROGRESS_SECONDS = 0.1


class Pulse:
    """``beat`` runs beside the handler; ``report`` may be called from any thread."""

    def __init__(self, store: EngineStore, run: RunRow, step: StepRow, clock: Clock) -> None:
        self._store = store
        self._run = run
        self._step = step
        self._clock = clock
        self._news: tuple[float, str] | None = None
        #: Made when it begins to beat, which few live to see.
        self._told: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.fenced = False
        self.unwanted = False
        #: The step has passed its soft timeout.
        self.overdue = False

    def report(self, fraction: float, note: str) -> None:
        """The newest progress; told at once, or as soon as the last telling is a moment ago."""
        self._news = (fraction, note)
        if self._loop is not None and self._told is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is told any more
                self._loop.call_soon_threadsafe(self._told.set)

    @property
    def untold(self) -> tuple[float, str] | None:
        """Progress of which it is not sure that the database has it."""
        return self._news

    def is_cancelled(self) -> bool:
        """Whether the step should stop."""
        return self.fenced or self.unwanted

    async def beat(self) -> None:
        """Returns when the step must stop."""
        told = self._told = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        next_beat = time.monotonic() + claim.HEARTBEAT_SECONDS
        next_look = time.monotonic() + _LOOK_SECONDS
        next_progress = 0.0
        soft = self._step.spec.soft_timeout
        late = None if soft is None else time.monotonic() + soft
        while not self.is_cancelled():
            await self._news_or_tick(told, next_progress)
            now = time.monotonic()
            try:
                if self._news is not None and now >= next_progress:
                    news = self._news
                    await asyncio.to_thread(self._tell, *news)
                    if self._news is news:  # told, and nothing newer has come: until here it was ``untold``
                        self._news = None
                    next_progress = now + _PROGRESS_SECONDS
                if late is not None and now >= late:
                    self.overdue, late = True, None
                    await asyncio.to_thread(self._tell_overdue)
                if now >= next_look:
                    await asyncio.to_thread(self._look)
                    next_look = time.monotonic() + _LOOK_SECONDS
                if now >= next_beat:
                    await asyncio.to_thread(self._keep)
                    next_beat = time.monotonic() + claim.HEARTBEAT_SECONDS
            except Unavailable:
                _log.warning("the database did not take the heartbeat of %s", self._step.task_id)
                next_beat = next_progress = next_look = time.monotonic() + 1.0
            except Exception:  # noqa: BLE001 - a step is not to end because something of it could not be told
                _log.exception("the pulse of %s", self._step.task_id)
                self._news = None
                next_beat = next_progress = next_look = time.monotonic() + 1.0

    async def _news_or_tick(self, told: asyncio.Event, not_before: float) -> None:
        """Returns when there is news that may be told, at the next tick at the latest."""
        if self._news is None:
            with contextlib.suppress(TimeoutError):  # no news
                async with asyncio.timeout(_TICK):
                    await told.wait()
            told.clear()
        pause = not_before - time.monotonic()
        if self._news is not None and pause > 0:
            await asyncio.sleep(min(pause, _TICK))

    def _look(self) -> None:
        with self._store.read() as tx:
            self.unwanted = self.unwanted or tx.unwanted(self._step)

    def _tell(self, fraction: float, note: str) -> None:
        with self._store.begin() as tx:
            if not claim.progress(tx, self._run, self._step, fraction, note, self._clock.now()):
                self.fenced = True

    def _tell_overdue(self) -> None:
        with self._store.begin() as tx:
            claim.overdue(tx, self._run, self._step, self._clock.now())

    def is_overdue(self) -> bool:
        """Whether the step has passed its soft timeout and had better come to an end."""
        return self.overdue

    def _keep(self) -> None:
        with self._store.begin() as tx:
            word = claim.heartbeat(tx, self._step, self._clock.now())
        self.fenced = word == "fenced"
        self.unwanted = word == "cancel"
