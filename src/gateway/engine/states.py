"""The states of runs and steps, and the only moves between them (``docs/state_machines.md``)."""

from __future__ import annotations

from typing import Literal

from gateway.errors import Conflict

RunState = Literal["pending", "running", "paused", "completed", "failed", "cancelled"]
StepState = Literal[
    "waiting", "ready", "held", "queued", "running", "parked", "gathering",
    "completed", "failed", "cancelled", "skipped",
]  # fmt: skip

RUN_LIVE = ("pending", "running", "paused")
RUN_ENDED = frozenset({"completed", "failed", "cancelled"})
STEP_ENDED = frozenset({"completed", "failed", "cancelled", "skipped"})
#: Nobody works on it yet: it can be ended at once.
STEP_UNSTARTED = ("waiting", "ready", "held", "queued", "parked")

RUN_MOVES: dict[str, frozenset[str]] = {
    # completed at once: every step of it was skipped
    "pending": frozenset({"running", "paused", "completed", "failed", "cancelled"}),
    "running": frozenset({"paused", "completed", "failed", "cancelled"}),
    # what runs when somebody pauses goes on to its end, and may be the last
    "paused": frozenset({"pending", "running", "completed", "failed", "cancelled"}),
}
STEP_MOVES: dict[str, frozenset[str]] = {
    "waiting": frozenset({"ready", "parked", "gathering", "failed", "skipped", "cancelled"}),
    # handed out: the token grows, the queue lease starts
    "ready": frozenset({"queued", "held", "cancelled", "skipped", "failed"}),
    "held": frozenset({"ready", "cancelled", "skipped"}),
    # started by the worker that holds the token; or the lease ran out and it is ready again
    "queued": frozenset({"running", "ready", "held", "cancelled", "skipped", "failed"}),
    # ended by the holder of the token; or retried, or lost, or it waits, and is ready again; or a person is asked
    # whether a call may be made again
    "running": frozenset({"completed", "failed", "cancelled", "ready", "parked"}),
    # a person or a signal is waited for
    "parked": frozenset({"ready", "gathering", "completed", "failed", "skipped", "cancelled"}),
    # its items, or the run it began, are being done
    "gathering": frozenset({"completed", "failed", "cancelled"}),
}
#: What people see of a step's state.
STATUS_OF_STEP: dict[str, str] = {
    "waiting": "pending",
    "ready": "pending",
    "held": "pending",
    "queued": "pending",
    "running": "running",
    "parked": "waiting",
    "gathering": "running",
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


def states_before(following: str) -> tuple[str, ...]:
    """The states from which a step may become ``following``."""
    return tuple(state for state, after in STEP_MOVES.items() if following in after)
