"""Steps run in this process, in threads: where no broker can be had."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from gateway.engine.rows import Doorbell
from gateway.tasks.runner import StepRunner

_log = logging.getLogger(__name__)


class InlineExecutor:
    """Rings by handing the step to a thread of its own pool."""

    def __init__(self, runner: StepRunner, *, threads: int = 8) -> None:
        self._runner = runner
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="step")

    def ring(self, doorbells: Sequence[Doorbell]) -> None:
        for bell in doorbells:
            self._pool.submit(self._runner.run, bell.task_id, bell.token, bell.run_id).add_done_callback(_tell)

    def close(self) -> None:
        """Takes no more steps; those that run are abandoned to the sweep of the next start."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _tell(done: Future[None]) -> None:
    error = None if done.cancelled() else done.exception()
    if error is not None:
        _log.error("a step could not be run", exc_info=error)
