"""Handing out work: ready steps get a token and a lease, and the lease must be kept alive."""

from __future__ import annotations

from msgspec import Struct

from gateway.clock import SECOND
from gateway.engine.limits import admit
from gateway.engine.ports import EngineTx
from gateway.engine.rows import Doorbell, RunRow, StepRow
from gateway.engine.states import check_run_move
from gateway.events.event import EventDraft

#: A doorbell not answered in this time is rung again.
QUEUE_LEASE = 30 * SECOND
#: A running step whose worker was silent this long is taken from it.
RUN_LEASE = 15 * SECOND
HEARTBEAT_SECONDS = 4.0
#: So many steps of a run are rung for at once. Those who do them go on with the others, which costs less than to ring;
#: where they take long (``spread``), and at the next sweep, the others are rung for as well.
_AT_ONCE = 32
_MANY = 100


class Started(Struct, frozen=True):
    """A step this worker now holds, and its run."""

    run: RunRow
    step: StepRow


def dispatch(tx: EngineTx, now: int, *, limit: int = _AT_ONCE, run_id: str | None = None) -> list[Doorbell]:
    """Takes ready steps for ringing; ring after the commit."""
    doorbells, limited = tx.claim_ready(now, now + QUEUE_LEASE, limit, run_id)
    if limited:
        admitted = admit(tx, tx.limited_ready(now, limit, run_id), now)
        doorbells += tx.hand_out(admitted, now + QUEUE_LEASE)
    return doorbells


def start(tx: EngineTx, task_id: str, token: int, worker: str, now: int) -> Started | None:
    """The worker begins. ``None`` where the token is no longer good or the run has ended: drop it."""
    found = tx.step(task_id)
    if found is None or found.token != token or found.state != "queued":
        return None
    run = tx.lock_run(found.run_id)
    return None if run is None else _take_up(tx, run, task_id, token, worker, now)


def follow(tx: EngineTx, ended: StepRow, now: int) -> list[Doorbell]:
    """What is to be rung for after the end of a step. One item takes the place of another: as many as began are
    worked on."""
    return dispatch(tx, now, limit=1 if ended.role == "item" else _AT_ONCE, run_id=ended.run_id)


def spread(tx: EngineTx, run_id: str, now: int) -> list[Doorbell]:
    """What else of a run is to be rung for, since its steps take long."""
    return dispatch(tx, now, limit=_MANY, run_id=run_id)


def go_on(tx: EngineTx, ended: StepRow, worker: str, now: int) -> tuple[Started | None, list[Doorbell]]:
    """After the end of a step: the next one of its run for the same worker, within the same transaction, and the
    others to be rung after the commit."""
    doorbells = follow(tx, ended, now)
    run = tx.lock_run(ended.run_id) if doorbells else None
    if run is None:
        return None, doorbells
    first, *others = doorbells
    started = _take_up(tx, run, first.task_id, first.token, worker, now)
    return (started, others) if started is not None else (None, doorbells)


def _take_up(tx: EngineTx, run: RunRow, task_id: str, token: int, worker: str, now: int) -> Started | None:
    """queued → running, of a run that is locked; ``None`` where it is not the run's, or must not begin."""
    if run.status not in ("pending", "running"):
        return None
    wanted = not run.cancel_requested
    step = tx.start_step(run.run_id, task_id, token, worker, now, now + RUN_LEASE, undo_only=not wanted)
    if step is None:
        return None
    drafts = []
    if run.status == "pending":
        check_run_move(run.status, "running")
        tx.set_run(run.run_id, "running", now)
        if run.kind == "workflow":
            drafts.append(EventDraft("workflow_started", run.owner, run.run_id, None, {"workflow_id": run.workflow_id}))
    if step.attempts > 1 or step.started_at == now:  # else it goes on with its first attempt after a wait
        about = {"task_type": step.task_type, "step_id": step.step_id, "attempt": step.attempts}
        drafts.append(EventDraft("task_started", run.owner, run.run_id, task_id, about))
    if drafts:
        tx.add_events(drafts, now)
    return Started(run, step)


def heartbeat(tx: EngineTx, step: StepRow, now: int) -> str:
    """Extends the lease. ``fenced``: stop, the step is not yours; ``cancel``: stop, it is unwanted; ``go``."""
    if not tx.extend_lease(step.task_id, step.token, now + RUN_LEASE):
        return "fenced"
    return "cancel" if tx.unwanted(step) else "go"


def progress(tx: EngineTx, run: RunRow, step: StepRow, fraction: float, note: str, now: int) -> bool:
    """Tells how far a running step is (0 to 1). False: fenced."""
    if not tx.save_progress(step.task_id, step.token, fraction, note):
        return False
    if run.kind == "task":
        draft = EventDraft("task_progress", run.owner, run.run_id, step.task_id, {"progress": fraction, "note": note})
    else:
        done = tx.tally(run.run_id).progress
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


def overdue(tx: EngineTx, run: RunRow, step: StepRow, now: int) -> None:
    """Tells followers that a running step has passed its soft timeout."""
    payload = {"step_id": step.step_id, "task_type": step.task_type, "soft_timeout": step.spec.soft_timeout}
    tx.add_events([EventDraft("task_overdue", run.owner, run.run_id, step.task_id, payload)], now)
