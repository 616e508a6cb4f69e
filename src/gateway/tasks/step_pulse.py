"""The pulse of a running step: keeps its lease, tells its progress, and learns that it is unwanted."""

from __future__ import annotations

import asyncio
import logging
import time

from gateway.clock import Clock
from gateway.engine import claim
from gateway.engine.ports import EngineStore
from gateway.engine.rows import RunRow, StepRow
from gateway.errors import Unavailable

_log = logging.getLogger(__name__)
_TICK = 0.1
#: Progress is told at most this often, in seconds.
_PROGRESS_SECONDS = 0.4


class Pulse:
    """``beat`` runs beside the handler; ``report`` may be called from any thread."""

    def __init__(self, store: EngineStore, run: RunRow, step: StepRow, clock: Clock) -> None:
        self._store = store
        self._run = run
        self._step = step
        self._clock = clock
        self._news: tuple[float, str] | None = None
        self.fenced = False
        self.unwanted = False
        #: The step has passed its soft timeout.
        self.overdue = False

    def report(self, fraction: float, note: str) -> None:
        """The newest progress; told at the next tick."""
        self._news = (fraction, note)

    @property
    def untold(self) -> tuple[float, str] | None:
        """Progress that no tick has told yet."""
        return self._news

    def is_cancelled(self) -> bool:
        """Whether the step should stop."""
        return self.fenced or self.unwanted

    async def beat(self) -> None:
        """Returns when the step must stop."""
        next_beat = time.monotonic() + claim.HEARTBEAT_SECONDS
        next_progress = 0.0
        soft = self._step.spec.soft_timeout
        late = None if soft is None else time.monotonic() + soft
        while not self.is_cancelled():
            await asyncio.sleep(_TICK)
            now = time.monotonic()
            try:
                if self._news is not None and now >= next_progress:
                    news, self._news = self._news, None
                    await asyncio.to_thread(self._tell, *news)
                    next_progress = time.monotonic() + _PROGRESS_SECONDS
                if late is not None and now >= late:
                    self.overdue, late = True, None
                    await asyncio.to_thread(self._tell_overdue)
                if now >= next_beat:
                    await asyncio.to_thread(self._keep)
                    next_beat = time.monotonic() + claim.HEARTBEAT_SECONDS
            except Unavailable:
                _log.warning("the database did not take the heartbeat of %s", self._step.task_id)
                next_beat = time.monotonic() + 1.0

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
