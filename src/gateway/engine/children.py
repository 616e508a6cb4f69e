"""Runs that are done as a step of another, or as an item of one: what their end means to it, and its end to them.

Each is told the other's end in a transaction of its own, so that no two runs are locked at once; whatever a
crash left untold the sweep finds.
"""

from __future__ import annotations

from typing import Any

from gateway.engine.advance import cancel_run
from gateway.engine.claim import dispatch
from gateway.engine.flow import Flow
from gateway.engine.ports import EngineStore, EngineTx, Executor
from gateway.engine.rows import RunRow, StepRow


def tell_ends(store: EngineStore, executor: Executor, now: int, *, limit: int = 200) -> int:
    """Tells steps that their run has ended, and runs that nobody waits for them; how many were told."""
    with store.read() as tx:
        ended = tx.children_ended(limit)
        unwanted = tx.children_unwanted(limit)
    told = 0
    for task_id, child in ended:
        with store.begin() as tx:
            told += child_over(tx, task_id, child, now)
            doorbells = dispatch(tx, now, run_id=child.parent_run)
        executor.ring(doorbells)
    for run_id in unwanted:
        with store.begin() as tx:
            told += cancel_run(tx, run_id, None, now)
    return told


def call_off(store: EngineStore, run_id: str, now: int) -> None:
    """Cancels the runs within a run that was cancelled, however deep: at once, not at the next sweep."""
    with store.read() as tx:
        within = tx.children_live(run_id)
    for child_id in within:
        with store.begin() as tx:
            cancel_run(tx, child_id, None, now)
        call_off(store, child_id, now)


def child_over(tx: EngineTx, task_id: str, child: RunRow, now: int) -> bool:
    """The step ends as its run did. False: it has ended already."""
    run = tx.lock_run(child.parent_run or "")
    step = tx.step(task_id)
    if run is None or step is None or step.state != "gathering":
        return False
    flow = Flow(tx, run, now)
    if child.status == "completed":
        output: dict[str, Any] = {**(child.output or {}), "run_id": child.run_id}
        flow.end_waiting(step, "completed", {"output": output})
    elif child.status == "cancelled" and (run.cancel_requested or _list_is_over(tx, step)):
        flow.end_waiting(step, "cancelled", {"output": None})
    else:
        failed = {"code": "run_cancelled", "message": "the run of this step was cancelled", "mend": "start it again"}
        flow.end_waiting(step, "failed", {"error": {**(child.error or failed), "run_id": child.run_id}})
    flow.close(step)
    return True


def _list_is_over(tx: EngineTx, item: StepRow) -> bool:
    """Whether the list has ended, by another item that failed, of which the step is an item."""
    whole = None if item.parent is None else tx.step(item.parent)
    return whole is not None and whole.state != "gathering"
