"""Steps run in this process: where no broker can be had."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.engine.rows import Doorbell
from gateway.tasks.runner import StepRunner


class InlineExecutor:
    """Rings by handing the step to the runner of this process."""

    def __init__(self, runner: StepRunner) -> None:
        self._runner = runner
        self._closed = False

    def ring(self, doorbells: Sequence[Doorbell]) -> None:
        if not self._closed:
            self._runner.take(doorbells, _nothing)

    def close(self) -> None:
        """Takes no more steps; those that run are abandoned to the sweep of the next start."""
        self._closed = True


def _nothing() -> None:
    """Nobody waits for the end of a step."""
