"""Steps run in this process: where no broker can be had."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from gateway.engine.rows import Doorbell
from gateway.tasks.runner import StepRunner


class InlineExecutor:
    """Rings by handing the step to the runner of this process, so many at once."""

    def __init__(self, runner: StepRunner, *, at_once: int = 32) -> None:
        self._runner = runner
        self._lock = threading.Lock()
        self._waiting: deque[Doorbell] = deque()
        self._free = at_once
        self._closed = False

    def ring(self, doorbells: Sequence[Doorbell]) -> None:
        with self._lock:
            self._waiting.extend(doorbells)
        self._go_on(0)

    def close(self) -> None:
        """Takes no more steps; those that run are abandoned to the sweep of the next start."""
        with self._lock:
            self._closed = True
            self._waiting.clear()

    def _over(self) -> None:
        self._go_on(1)

    def _go_on(self, freed: int) -> None:
        with self._lock:
            self._free += freed
            count = 0 if self._closed else min(self._free, len(self._waiting))
            bells = [self._waiting.popleft() for _ in range(count)]
            self._free -= count
        if bells:
            self._runner.take(bells, self._over)
