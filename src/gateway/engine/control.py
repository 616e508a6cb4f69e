"""What people and the clock do to a run beside working on it: begin, pause, go on, decide, signal, oversleep.

Each function is one transaction's worth of work.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from gateway.clock import rfc3339
from gateway.engine.flow import Flow, hold_all
from gateway.engine.gates import source_of
from gateway.engine.ports import EngineTx
from gateway.engine.rows import NewRun, RunRow, StepRow
from gateway.engine.states import check_run_move
from gateway.engine.step_definition import APPROVAL
from gateway.errors import Conflict, NotFound, PermissionDenied
from gateway.security.access import Caller


class Decision(Struct, frozen=True):
    """What a person said to a step that waited for it, and why."""

    approved: bool
    by: str
    reason: str
    at: int


def begin(tx: EngineTx, new: NewRun, now: int) -> None:
    """A new run: its first steps are ready, wait for whom they wait for, or are skipped."""
    tx.insert_run(new, now)
    run = tx.run(new.run_id)
    if run is not None and any(item.spec.gated or item.reused for item in new.steps):
        flow = Flow(tx, run, now)
        flow.open_due()
        flow.close()


def pause(tx: EngineTx, run_id: str, now: int) -> None:
    """Nothing new of the run, or of the runs within it, begins until it goes on; what runs is not disturbed.
    ``Conflict`` for one that ended."""
    run = _locked(tx, run_id)
    check_run_move(run.status, "paused")
    hold_all(tx, run_id, now)


def resume(tx: EngineTx, run_id: str, now: int) -> None:
    """A paused run goes on, and every run within it. ``Conflict`` where a run that it is within is paused."""
    run = _locked(tx, run_id)
    if run.status != "paused":
        raise Conflict(f"the run is {run.status}, not paused", mend="only a paused run is resumed")
    within = None if run.parent_run is None else tx.run(run.parent_run)
    if within is not None and within.status == "paused":
        raise Conflict(
            f"the run is within run {within.run_id}, which is paused",
            mend=f"resume {within.run_id}",
        )
    _unhold_all(tx, run, now)


def decide(tx: EngineTx, caller: Caller, run_id: str, step_id: str, decision: Decision) -> StepRow:
    """A person's word on a step that waits for it. The step as it was; ``Conflict`` where nobody is asked."""
    run = _locked(tx, run_id)
    step = _parked(tx, run, step_id)
    if step.spec.signal is not None:
        raise Conflict(f"step {step_id!r} waits for a signal, not for approval", mend=f"send it to run {run_id}")
    may_decide(step, run, caller)
    kept = {"approved": decision.approved, "by": decision.by, "reason": decision.reason, "at": rfc3339(decision.at)}
    flow = Flow(tx, run, decision.at)
    if not decision.approved:
        error = {
            "code": "approval_refused",
            "message": f"{decision.by} did not approve: {decision.reason or 'no reason was given'}",
            "mend": "start the run again once what was refused is mended",
        }
        flow.end_waiting(step, "failed", {"error": error, "decision": kept})
    elif step.task_type == APPROVAL:
        flow.end_waiting(step, "completed", {"output": kept, "decision": kept})
    else:
        tx.note_decision(step, kept)
        flow.begin_work(step, source_of(run, tx.steps_named(run_id, step.spec.dependencies)), decided=True)
    flow.close(step)
    return step


def may_decide(step: StepRow, run: RunRow, caller: Caller) -> None:
    """``PermissionDenied`` for whoever is not asked."""
    approval = step.spec.approval
    if approval is None:
        return
    if approval.not_owner and caller.principal == run.owner:
        raise PermissionDenied(
            "whoever began the run may not approve its steps", mend="ask somebody else", permission="runs:approve"
        )
    named = caller.principal in approval.principals or caller.role in approval.roles
    if (approval.roles or approval.principals) and not named:
        asked = ", ".join([*approval.roles, *approval.principals])
        raise PermissionDenied(f"this step asks for the word of: {asked}", mend="ask one of them")


def signal(tx: EngineTx, run_id: str, name: str, payload: Any, by: str, now: int) -> bool:
    """A word from outside; kept until a step takes it. Whether one waited for it. ``Conflict``: the run has ended."""
    run = _locked(tx, run_id)
    if run.completed_at is not None:
        raise Conflict(f"the run is {run.status} already", mend="only a run that has not ended takes signals")
    tx.add_signal(run_id, name, payload, by, now)
    step = tx.parked_on_signal(run_id, name)
    if step is None:
        return False
    found = tx.take_signal(run_id, name, step.task_id)
    flow = Flow(tx, run, now)
    flow.end_waiting(step, "completed", {"output": {"received": True, **(found or {})}})
    flow.close(step)
    return True


def oversleep(tx: EngineTx, found: StepRow, now: int) -> bool:
    """A parked step has waited long enough: it fails or is skipped, as its definition says."""
    run = _locked(tx, found.run_id)
    step = tx.step(found.task_id)
    if step is None or step.state != "parked" or step.token != found.token:
        return False
    flow = Flow(tx, run, now)
    approval, wanted = step.spec.approval, step.spec.signal
    what = "the approval" if approval is not None else f"the signal {wanted.name!r}" if wanted is not None else "it"
    then = approval.on_expiry if approval is not None else wanted.on_timeout if wanted is not None else "fail"
    if then == "skip":
        flow.skip(step, f"{what} did not come in time")
    else:
        code = "approval_expired" if approval is not None else "signal_timeout"
        error = {"code": code, "message": f"{what} did not come in time", "mend": "give it more time, or start again"}
        flow.end_waiting(step, "failed", {"error": error})
    flow.close(step)
    return True


def _unhold_all(tx: EngineTx, run: RunRow, now: int) -> None:
    tx.set_run(run.run_id, "pending" if run.started_at is None else "running", now)
    tx.unhold(run.run_id)
    for child_id in tx.children_live(run.run_id):
        child = tx.lock_run(child_id)
        if child is not None and child.status == "paused":
            _unhold_all(tx, child, now)


def _locked(tx: EngineTx, run_id: str) -> RunRow:
    run = tx.lock_run(run_id)
    if run is None:
        raise NotFound("there is no such run", param="run_id")
    return run


def _parked(tx: EngineTx, run: RunRow, step_id: str) -> StepRow:
    found = tx.steps_named(run.run_id, [step_id])
    if not found:
        raise NotFound(f"the run has no step {step_id!r}", param="step_id")
    if found[0].state != "parked":
        raise Conflict(f"step {step_id!r} is {found[0].state}: nobody is asked", mend="GET /approvals lists who is")
    return found[0]
