"""Handing out work: ready steps get a token and a lease, and the lease must be kept alive."""

from __future__ import annotations

from msgspec import Struct

from gateway.clock import SECOND
from gateway.engine.ports import EngineTx
from gateway.engine.rows import Doorbell, RunRow, StepRow
from gateway.events.event import EventDraft

#: A doorbell not answered in this time is rung again.
QUEUE_LEASE = 30 * SECOND
#: A running step whose worker was silent this long is taken from it.
RUN_LEASE = 15 * SECOND
HEARTBEAT_SECONDS = 4.0


class Started(Struct, frozen=True):
    """A step this worker now holds, and its run."""

    run: RunRow
    step: StepRow


def dispatch(tx: EngineTx, now: int, *, limit: int = 100, run_id: str | None = None) -> list[Doorbell]:
    """Takes ready steps for ringing; ring after the commit."""
    return tx.claim_ready(now, now + QUEUE_LEASE, limit, run_id)


def start(tx: EngineTx, task_id: str, token: int, worker: str, now: int) -> Started | None:
    """The worker begins. ``None`` where the token is no longer good or the run has ended: drop it."""
    found = tx.step(task_id)
    if found is None or found.token != token or found.state != "queued":
        return None
    run = tx.lock_run(found.run_id)
    if run is None or run.status not in ("pending", "running") or run.cancel_requested:
        return None
    if not tx.start_step(task_id, token, worker, now, now + RUN_LEASE):
        return None
    drafts = []
    if run.status == "pending":
        tx.set_run(run.run_id, "running", now)
        if run.kind == "workflow":
            drafts.append(EventDraft("workflow_started", run.owner, run.run_id, None, {"workflow_id": run.workflow_id}))
    if found.attempts or found.started_at is None:  # else it goes on with its first attempt after a wait
        drafts.append(
            EventDraft(
                "task_started",
                run.owner,
                run.run_id,
                task_id,
                {"task_type": found.task_type, "step_id": found.step_id, "attempt": found.attempts + 1},
            )
        )
    if drafts:
        tx.add_events(drafts, now)
    step = tx.step(task_id)
    return None if step is None else Started(run, step)


def heartbeat(tx: EngineTx, step: StepRow, now: int) -> str:
    """Extends the lease. ``fenced``: stop, the step is not yours; ``cancel``: stop, it is unwanted; ``go``."""
    if not tx.extend_lease(step.task_id, step.token, now + RUN_LEASE):
        return "fenced"
    return "cancel" if tx.cancel_requested(step.run_id) else "go"


def progress(tx: EngineTx, run: RunRow, step: StepRow, fraction: float, note: str, now: int) -> bool:
    """Tells how far a running step is (0 to 1). False: fenced."""
    if not tx.save_progress(step.task_id, step.token, fraction, note):
        return False
    if run.kind == "task":
        draft = EventDraft("task_progress", run.owner, run.run_id, step.task_id, {"progress": fraction, "note": note})
    else:
        done = run_progress(tx.steps(run.run_id))
        payload = {
            "workflow_id": run.workflow_id,
            "progress": done,
            "step_id": step.step_id,
            "step_progress": fraction,
            "note": note,
        }
        draft = EventDraft("workflow_progress", run.owner, run.run_id, step.task_id, payload)
    tx.add_events([draft], now)
    return True


def run_progress(steps: list[StepRow]) -> float:
    """The share of a run that is done: ended steps whole, running ones by what they told."""
    if not steps:
        return 1.0
    ended = ("completed", "failed", "cancelled", "skipped")
    done = sum(1.0 if step.state in ended else step.progress if step.state == "running" else 0.0 for step in steps)
    return round(done / len(steps), 4)
