"""The states of runs and steps, and the only moves between them (``docs/state_machines.md``)."""

from __future__ import annotations

from typing import Literal

from gateway.errors import Conflict

RunState = Literal["pending", "running", "completed", "failed", "cancelled"]
StepState = Literal["waiting", "ready", "queued", "running", "completed", "failed", "cancelled", "skipped"]

RUN_ENDED = frozenset({"completed", "failed", "cancelled"})
STEP_ENDED = frozenset({"completed", "failed", "cancelled", "skipped"})

RUN_MOVES: dict[str, frozenset[str]] = {
    "pending": frozenset({"running", "failed", "cancelled"}),
    "running": frozenset({"completed", "failed", "cancelled"}),
}
STEP_MOVES: dict[str, frozenset[str]] = {
    "waiting": frozenset({"ready", "skipped", "cancelled"}),
    # handed out: the token grows, the queue lease starts
    "ready": frozenset({"queued", "cancelled", "skipped", "failed"}),
    # started by the worker that holds the token; or the lease ran out and it is ready again
    "queued": frozenset({"running", "ready", "cancelled", "skipped", "failed"}),
    # ended by the holder of the token; or retried, or lost, and ready again
    "running": frozenset({"completed", "failed", "cancelled", "ready"}),
}
#: What people see of a step's state.
STATUS_OF_STEP: dict[str, str] = {
    "waiting": "pending",
    "ready": "pending",
    "queued": "pending",
    "running": "running",
    "completed": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
    "skipped": "skipped",
}


def check_run_move(current: str, following: str) -> None:
    """Raises ``Conflict`` for a move that is not drawn."""
    if following not in RUN_MOVES.get(current, frozenset()):
        raise Conflict(f"a run that is {current} cannot become {following}")


def check_step_move(current: str, following: str) -> None:
    """Raises ``Conflict`` for a move that is not drawn."""
    if following not in STEP_MOVES.get(current, frozenset()):
        raise Conflict(f"a step that is {current} cannot become {following}")
