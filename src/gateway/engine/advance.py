"""The end of an attempt: completed, failed for good, or tried again; and the end of a run from outside.

Each function is one transaction's worth of work and returns ``False`` where the token is void, in
which case nothing was changed: a late or second finish cannot count. What follows is ``flow``'s.
"""

from __future__ import annotations

import random
from typing import Any

from gateway.clock import SECOND
from gateway.engine.flow import Flow
from gateway.engine.gates import published_of
from gateway.engine.ports import EngineTx
from gateway.engine.rows import RunRow, StepRow
from gateway.engine.states import RUN_LIVE

MAX_LOST = 5


def complete(
    tx: EngineTx,
    held: StepRow,
    output: dict[str, Any],
    now: int,
    *,
    record: dict[str, Any] | None = None,
    keep: tuple[str, int] | None = None,
) -> bool:
    """The step did its work; ``record`` tells how its result came to be. ``keep``: equal steps may take it by
    this key until then."""
    run = tx.lock_run(held.run_id)
    if run is None:
        return False
    published = published_of(held.spec, output)
    ended = tx.end_step(held, "completed", now, output=output, published=published, record=record)
    if not ended:
        return False
    if keep is not None:
        tx.keep_result(keep[0], output, held.task_id, keep[1], now)
    flow = Flow(tx, run, now)
    flow.completed(held, output)
    flow.close(held)
    return True


def fail(tx: EngineTx, held: StepRow, error: dict[str, Any], *, retryable: bool, now: int) -> bool:
    """The attempt failed: another follows where the policy allows it, else the step fails."""
    run = tx.lock_run(held.run_id)
    if run is None:
        return False
    policy, code = held.spec.retry, error.get("code")
    retryable = retryable or code in policy.on
    failures = held.attempts - held.lost  # an attempt whose worker was lost did not fail: it is counted by itself
    may_retry = retryable and code not in policy.not_on and failures < policy.max_attempts
    flow = Flow(tx, run, now)
    if may_retry and not _unwanted(run, held):
        pause = retry_pause(policy.backoff, failures, error.get("retry_after"), most=policy.max_backoff)
        if not tx.give_back(held.task_id, held.token, now + int(pause * SECOND), lost=False, error=error):
            return False
        flow.tell("task_retrying", held, error=error, attempt=held.attempts, retry_in=round(pause, 3))
        flow.close()
        return True
    if not tx.end_step(held, "failed", now, error=error):
        return False
    if retryable and held.spec.on_failure is None and not _unwanted(run, held):
        tx.bury(held.task_id, run.run_id, run.owner, str(code), now)
    flow.failed(held, error)
    flow.close(held)
    return True


def wait(tx: EngineTx, held: StepRow, seconds: float, told: tuple[float, str] | None, now: int) -> bool:
    """The step goes on after ``seconds``, as the same attempt; its worker is free until then. ``told`` is its
    progress meanwhile."""
    run = tx.lock_run(held.run_id)
    if run is None:
        return False
    if _unwanted(run, held):
        return cancelled(tx, held, now)
    until = now + int(seconds * SECOND)
    if told is not None:
        tx.save_progress(held.task_id, held.token, *told)
    if not tx.give_back(held.task_id, held.token, until, lost=False, error=None, waits=True):
        return False
    Flow(tx, run, now).close()
    return True


def ask(tx: EngineTx, held: StepRow, error: dict[str, Any], now: int) -> bool:
    """The step waits, without its worker, for a person to say whether it may go on, as the same attempt. ``error``
    says what is asked, and is kept with the step."""
    run = tx.lock_run(held.run_id)
    if run is None:
        return False
    if _unwanted(run, held):
        return cancelled(tx, held, now)
    free = {"lease_until": None, "worker": None, "wake_at": None, "attempts": held.attempts - 1}
    if not tx.move(held, "parked", now, error=error, **free):
        return False
    flow = Flow(tx, run, now)
    flow.tell("task_waiting", held, waits_for="approval", message=error["message"])
    flow.close()
    return True


def cancelled(tx: EngineTx, held: StepRow, now: int) -> bool:
    """A running step stopped because its run is unwanted."""
    run = tx.lock_run(held.run_id)
    if run is None or not tx.end_step(held, "cancelled", now):
        return False
    flow = Flow(tx, run, now)
    flow.cancelled(held)
    flow.close(held)
    return True


def lost(tx: EngineTx, held: StepRow, now: int) -> bool:
    """A lease ran out. The step is ready again at once; after ``MAX_LOST`` times it fails: something
    in it kills its workers."""
    run = tx.lock_run(held.run_id)
    if run is None:
        return False
    flow = Flow(tx, run, now)
    void = {"completed_at": now, "lease_until": None}
    if held.state == "running" and _unwanted(run, held):
        error = {"code": "cancelled", "message": "cancelled"}
        if not tx.move(held, "cancelled", now, error=error, **void):
            return False
        flow.cancelled(held)
    elif held.state == "running" and held.lost + 1 >= MAX_LOST:
        error = {
            "code": "worker_lost",
            "message": f"the worker was lost {MAX_LOST} times while it ran this step",
            "mend": "see the worker's log; the step may need more memory than it has",
        }
        if not tx.move(held, "failed", now, error=error, **void):
            return False
        tx.bury(held.task_id, run.run_id, run.owner, "worker_lost", now)
        flow.failed(held, error)
    elif not tx.give_back(held.task_id, held.token, now, lost=held.state == "running", error=None):
        return False
    elif held.state == "running":
        flow.tell("task_retrying", held, error={"code": "worker_lost", "message": "its worker went silent"})
    flow.close(held if held.state == "running" else None)
    return True


def cancel_run(tx: EngineTx, run_id: str, reason: dict[str, Any] | None, now: int) -> bool:
    """Ends a run that is unwanted, or (with a ``reason``) that failed from outside: unstarted steps
    at once, running ones when their worker's heartbeat tells them. False: it had ended already."""
    run = tx.lock_run(run_id)
    if run is None or run.status not in RUN_LIVE:
        return False
    flow = Flow(tx, run, now)
    if reason is None:
        flow.stop("cancelled")
    else:
        flow.give_up(reason, "cancelled")
    flow.close(at_once=reason is not None)
    return True


def retry_pause(backoff: float, attempts: int, retry_after: object = None, most: float = 3600.0) -> float:
    """Seconds until the next attempt: doubled each time, half of it jitter, never sooner than told."""
    pause = min(backoff * 2.0 ** (attempts - 1), most)
    jittered = pause / 2 + random.random() * pause / 2
    return max(jittered, float(retry_after)) if isinstance(retry_after, (int, float)) else jittered


def _unwanted(run: RunRow, step: StepRow) -> bool:
    """Whether nobody wants the step's result any more. What undoes is wanted above all in a run that is not."""
    return run.status not in RUN_LIVE or (run.cancel_requested and step.role != "undo")
