"""The end of an attempt: completed, failed for good, or tried again; and what follows from it.

Each function is one transaction's worth of work and returns ``False`` where the token is void, in
which case nothing was changed: a late or second finish cannot count.
"""

from __future__ import annotations

import random
from typing import Any

from gateway.clock import SECOND, rfc3339
from gateway.engine.claim import run_progress
from gateway.engine.ports import EngineTx
from gateway.engine.rows import RunRow, StepRow
from gateway.engine.states import STEP_ENDED
from gateway.events.event import EventDraft

MAX_LOST = 5


def complete(tx: EngineTx, held: StepRow, output: dict[str, Any], now: int) -> bool:
    """The step did its work."""
    run = tx.lock_run(held.run_id)
    if run is None:
        return False
    published = {
        name: output if produced == "result" else output.get(produced)
        for name, produced in held.spec.output_mapping.items()
    }
    if not tx.end_step(held.task_id, held.token, "completed", now, output=output, published=published):
        return False
    tx.release_dependents(held.run_id, held.step_id)
    drafts = [EventDraft("task_completed", run.owner, run.run_id, held.task_id, _about(held) | {"result": output})]
    _advance_run(tx, run, held, drafts, now)
    tx.add_events(drafts, now)
    return True


def fail(tx: EngineTx, held: StepRow, error: dict[str, Any], *, retryable: bool, now: int) -> bool:
    """The attempt failed: another follows where the policy allows it, else the step and its run fail."""
    run = tx.lock_run(held.run_id)
    if run is None:
        return False
    policy = held.spec.retry
    may_retry = (retryable or error.get("code") in policy.on) and held.attempts < policy.max_attempts
    if may_retry and not run.cancel_requested:
        pause = retry_pause(policy.backoff, held.attempts, error.get("retry_after"))
        if not tx.give_back(held.task_id, held.token, now + int(pause * SECOND), lost=False, error=error):
            return False
        payload = _about(held) | {"error": error, "attempt": held.attempts, "retry_in": round(pause, 3)}
        tx.add_events([EventDraft("task_retrying", run.owner, run.run_id, held.task_id, payload)], now)
        return True
    if not tx.end_step(held.task_id, held.token, "failed", now, error=error):
        return False
    _after_failure(tx, run, held, error, now)
    return True


def wait(tx: EngineTx, held: StepRow, seconds: float, told: tuple[float, str] | None, now: int) -> bool:
    """The step goes on after ``seconds``, as the same attempt; its worker is free until then. ``told`` is its
    progress meanwhile."""
    run = tx.lock_run(held.run_id)
    if run is None:
        return False
    if run.cancel_requested or run.status not in ("pending", "running"):
        return cancelled(tx, held, now)
    until = now + int(seconds * SECOND)
    if told is not None:
        tx.save_progress(held.task_id, held.token, *told)
    return tx.give_back(held.task_id, held.token, until, lost=False, error=None, waits=True)


def cancelled(tx: EngineTx, held: StepRow, now: int) -> bool:
    """A running step stopped because its run is unwanted."""
    run = tx.lock_run(held.run_id)
    if run is None or not tx.end_step(held.task_id, held.token, "cancelled", now):
        return False
    drafts = [EventDraft("task_cancelled", run.owner, run.run_id, held.task_id, _about(held))]
    _advance_run(tx, run, held, drafts, now)
    tx.add_events(drafts, now)
    return True


def lost(tx: EngineTx, held: StepRow, now: int) -> bool:
    """A lease ran out. The step is ready again at once; after ``MAX_LOST`` times it fails: something
    in it kills its workers."""
    run = tx.lock_run(held.run_id)
    if run is None:
        return False
    if held.state == "running" and (run.cancel_requested or run.status not in ("pending", "running")):
        if not tx.fail_lost(held.task_id, held.token, now, {"code": "cancelled", "message": "cancelled"}):
            return False
        drafts = [EventDraft("task_cancelled", run.owner, run.run_id, held.task_id, _about(held))]
        _advance_run(tx, run, held, drafts, now)
        tx.add_events(drafts, now)
        return True
    if held.state == "running" and held.lost + 1 >= MAX_LOST:
        error = {
            "code": "worker_lost",
            "message": f"the worker was lost {MAX_LOST} times while it ran this step",
            "mend": "see the worker's log; the step may need more memory than it has",
        }
        if not tx.fail_lost(held.task_id, held.token, now, error):
            return False
        _after_failure(tx, run, held, error, now)
        return True
    if not tx.give_back(held.task_id, held.token, now, lost=held.state == "running", error=None):
        return False
    if held.state == "running":
        payload = _about(held) | {"error": {"code": "worker_lost", "message": "its worker went silent"}}
        tx.add_events([EventDraft("task_retrying", run.owner, run.run_id, held.task_id, payload)], now)
    return True


def cancel_run(tx: EngineTx, run_id: str, reason: dict[str, Any] | None, now: int) -> bool:
    """Ends a run that is unwanted, or (with a ``reason``) that failed from outside: unstarted steps
    at once, running ones when their worker's heartbeat tells them. False: it had ended already."""
    run = tx.lock_run(run_id)
    if run is None or run.status not in ("pending", "running"):
        return False
    tx.request_cancel(run_id)
    ended = tx.end_unstarted(run_id, "cancelled", now)
    drafts = [EventDraft("task_cancelled", run.owner, run_id, task_id, {}) for task_id in ended]
    if all(step.state in STEP_ENDED for step in tx.steps(run_id)) or reason is not None:
        _end_run(tx, run, "failed" if reason else "cancelled", drafts, now, error=reason)
    tx.add_events(drafts, now)
    return True


def retry_pause(backoff: float, attempts: int, retry_after: object = None) -> float:
    """Seconds until the next attempt: doubled each time, half of it jitter, never sooner than told."""
    pause = min(backoff * 2.0 ** (attempts - 1), 3600.0)
    jittered = pause / 2 + random.random() * pause / 2
    return max(jittered, float(retry_after)) if isinstance(retry_after, (int, float)) else jittered


def _after_failure(tx: EngineTx, run: RunRow, held: StepRow, error: dict[str, Any], now: int) -> None:
    drafts = [EventDraft("task_failed", run.owner, run.run_id, held.task_id, _about(held) | {"error": error})]
    tx.request_cancel(run.run_id)
    tx.end_unstarted(run.run_id, "skipped", now)
    _advance_run(tx, run, held, drafts, now)
    tx.add_events(drafts, now)


def _advance_run(tx: EngineTx, run: RunRow, held: StepRow, drafts: list[EventDraft], now: int) -> None:
    """Ends the run when its last step has ended, else tells its progress."""
    if run.status not in ("pending", "running"):
        return
    steps = tx.steps(run.run_id)
    failed = next((step for step in steps if step.state == "failed"), None)
    if all(step.state in STEP_ENDED for step in steps):
        if failed is not None and (failed.error or {}).get("code") != "cancelled":
            _end_run(tx, run, "failed", drafts, now, error={**(failed.error or {}), "step_id": failed.step_id})
        elif any(step.state in ("cancelled", "failed") for step in steps):
            _end_run(tx, run, "cancelled", drafts, now)
        else:
            _end_run(tx, run, "completed", drafts, now)
        return
    done = run_progress(steps)
    tx.set_run(run.run_id, "running", now, progress=done)
    if run.kind == "workflow":
        payload = {"workflow_id": run.workflow_id, "progress": done, "step_id": held.step_id, "step_progress": 1.0}
        drafts.append(EventDraft("workflow_progress", run.owner, run.run_id, held.task_id, payload | {"note": ""}))


def _end_run(
    tx: EngineTx, run: RunRow, status: str, drafts: list[EventDraft], now: int, *, error: dict[str, Any] | None = None
) -> None:
    steps = tx.steps(run.run_id)
    output = {step.step_id: step.output for step in steps if step.output is not None}
    task = steps[0] if run.kind == "task" else None
    result = (task.output if task else output) or None
    tx.set_run(run.run_id, status, now, progress=1.0 if status == "completed" else None, output=result, error=error)
    word = {"completed": "completion", "failed": "failure", "cancelled": "cancellation"}[status]
    body: dict[str, Any] = {"event": f"{run_word(run)}_{word}", "timestamp": rfc3339(now)}
    if task is None:
        told = {"output": output} if status == "completed" else {"error": error} if error else {}
        payload = {"workflow_id": run.workflow_id, "progress": 1.0 if status == "completed" else run.progress}
        drafts.append(EventDraft(f"workflow_{status}", run.owner, run.run_id, None, payload | told))
        body |= {"run_id": run.run_id, "workflow_id": run.workflow_id, "result": output, "error": error}
    else:
        body |= {"task_id": task.task_id, "result": task.output, "error": task.error}
    tx.add_webhooks(run, body["event"], task.task_id if task else None, body, now)


def run_word(run: RunRow) -> str:
    """What people call it."""
    return "task" if run.kind == "task" else "workflow"


def _about(step: StepRow) -> dict[str, Any]:
    return {"step_id": step.step_id, "task_type": step.task_type}
