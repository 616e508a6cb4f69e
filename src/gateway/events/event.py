"""What happened, as a value: written in the transaction that made it true, read by id."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

#: Every type of event there is, with what it tells.
EVENT_TYPES: dict[str, str] = {
    "task_started": "a worker began an attempt",
    "task_progress": "a running task told how far it is",
    "task_completed": "a task ended well; carries its result",
    "task_failed": "a task ended badly; carries its error",
    "task_cancelled": "a task was cancelled",
    "task_retrying": "an attempt failed and another will follow",
    "task_skipped": "a step does not run; carries why",
    "task_waiting": "a step waits for somebody's approval or for a signal",
    "task_overdue": "a running task passed its soft timeout",
    "workflow_started": "a run's first step began",
    "workflow_progress": "a run is further than before",
    "workflow_completed": "a run ended well; carries its output",
    "workflow_failed": "a run ended badly; carries its error",
    "workflow_cancelled": "a run was cancelled",
    "budget_alert": "a share of a budget, or the alert threshold, was passed",
    "budget_approval_needed": "a call needs more than a budget has left, and its owner is asked for it",
    "spend_anomaly": "an hour's spending is far above that of the same hour of earlier days",
    "webhook_disabled": "a subscription's receiver is gone; it is told nothing until somebody enables it",
    "model_promoted": "a model's alias points at another version",
    "prompt_label_moved": "a label of a prompt points at other versions",
}


class EventDraft(Struct, frozen=True):
    """An event before it has its number."""

    type: str
    owner: str
    run_id: str | None = None
    task_id: str | None = None
    payload: dict[str, Any] = field(default_factory=dict)


class Event(Struct, frozen=True):
    """An event as read back. ``id`` grows in commit order without gaps; ``at`` in microseconds."""

    id: int
    type: str
    owner: str
    run_id: str | None
    task_id: str | None
    payload: dict[str, Any]
    at: int
