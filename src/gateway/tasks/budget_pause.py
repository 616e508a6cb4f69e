"""How long a step waits, without its worker, for a budget that does not cover its call yet."""

from __future__ import annotations

from gateway.errors import BudgetExceeded

#: A step looks again at least so often: the budget may have been raised or ended.
_MOST_SECONDS = 300.0
_APPROVAL_SECONDS = 15.0


def pause_of(error: Exception) -> float | None:
    """Seconds until the step is tried again; ``None`` where waiting is no use, or not what the budget says."""
    if not isinstance(error, BudgetExceeded):
        return None
    if error.retry_after is not None:  # it queues
        return min(max(error.retry_after, 0.0) + 1.0, _MOST_SECONDS)
    return _APPROVAL_SECONDS if error.details.get("approval") == "pending" else None
