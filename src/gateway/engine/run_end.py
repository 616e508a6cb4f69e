"""What is told when a run has ended: an event for followers, a message for webhooks."""

from __future__ import annotations

from typing import Any

from gateway.clock import rfc3339
from gateway.engine.ports import EngineTx
from gateway.engine.rows import RunRow, StepRow
from gateway.events.event import EventDraft

_WORD = {"completed": "completion", "failed": "failure", "cancelled": "cancellation"}


def tell_run_end(
    tx: EngineTx,
    run: RunRow,
    status: str,
    steps: list[StepRow],
    output: dict[str, Any] | None,
    error: dict[str, Any] | None,
    now: int,
) -> list[EventDraft]:
    """Puts the message into the outbox; the events to be written."""
    task = steps[0] if run.kind == "task" else None
    body: dict[str, Any] = {"event": f"{run_word(run)}_{_WORD[status]}", "timestamp": rfc3339(now)}
    drafts = []
    if task is None:
        told = {"output": output} if status == "completed" else {"error": error} if error else {}
        payload = {"workflow_id": run.workflow_id, "progress": 1.0 if status == "completed" else run.progress}
        drafts.append(EventDraft(f"workflow_{status}", run.owner, run.run_id, None, payload | told))
        body |= {"run_id": run.run_id, "workflow_id": run.workflow_id, "result": output or {}, "error": error}
    else:
        body |= {"task_id": task.task_id, "result": task.output, "error": task.error}
    tx.add_webhooks(run, body["event"], task.task_id if task else None, body, now)
    return drafts


def run_word(run: RunRow) -> str:
    """What people call it."""
    return "task" if run.kind == "task" else "workflow"
