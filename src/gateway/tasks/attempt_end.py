"""What an attempt's outcome means to its step: completed, waiting, cancelled, or failed for whatever was raised."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from gateway.engine import advance
from gateway.engine.gates import kept_error
from gateway.engine.ports import EngineTx
from gateway.engine.rows import StepRow
from gateway.engine.waiting import StepAsks, StepWaits
from gateway.errors import GatewayError, StepCancelled
from gateway.tasks.attempt import Attempt
from gateway.tasks.budget_pause import pause_of
from gateway.tasks.step_work import Done
from gateway.workflows.context import HandlerLeft

_log = logging.getLogger(__name__)

#: Stores the end of a step at a time; false where the step is another's.
End = Callable[[EngineTx, int], bool]


def end_of(attempt: Attempt) -> End | None:
    """How the step of an attempt that is over is ended. ``None``: it is not ours to end."""
    step, task = attempt.ready.step, attempt.task
    error = attempt.stopped or (StepCancelled("the worker ended") if task.cancelled() else task.exception())
    if error is None:
        return partial(_complete, step, task.result())
    if isinstance(error, StepCancelled):
        return None if attempt.pulse.fenced else lambda tx, now: advance.cancelled(tx, step, now)
    if isinstance(error, StepWaits):
        seconds, told = error.seconds, attempt.pulse.untold
        return lambda tx, now: advance.wait(tx, step, seconds, told, now)
    if isinstance(error, StepAsks):
        asked = error.error
        return lambda tx, now: advance.ask(tx, step, asked, now)
    assert isinstance(error, Exception)  # noqa: S101 - see ``workflows.context.handled``
    return _after(error, step)


def _complete(step: StepRow, done: Done, tx: EngineTx, now: int) -> bool:
    return advance.complete(tx, step, done.output, now, record=done.record, keep=done.keep)


def _after(error: Exception, step: StepRow) -> End:
    """What becomes of a step whose handler raised: it waits for a budget, or this attempt failed."""
    pause = pause_of(error)
    if pause is not None:
        return lambda tx, now: advance.wait(tx, step, pause, None, now)
    problem, retryable = _problem(error)
    if not isinstance(error, GatewayError):
        _log.error("step %s of run %s failed", step.step_id, step.run_id, exc_info=error)
    return lambda tx, now: advance.fail(tx, step, problem, retryable=retryable, now=now)


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
