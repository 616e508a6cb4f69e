"""The circumstances of one call, handed along its whole path."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from gateway.models.selection import Selection


class CallContext(Struct, frozen=True):
    """Where a call came in and what it belongs to.

    ``cause`` is unique to one intended charge: the same cause twice is the same charge (an engine
    step uses ``task_id:token:n``, a door its request id).
    """

    request_id: str
    cause: str
    door: str = "rest"
    run_id: str | None = None
    task_id: str | None = None
    workflow_id: str | None = None
    traceparent: str = ""
    timeout: float | None = None
    #: Refuse what the provider cannot carry, instead of naming it in the answer.
    strict: bool = False
    #: Calls of one session may stick to one deployment; see ``models.route``.
    session: str = ""
    #: How long the answer may be kept and given again; ``None``: as the model's row says, 0: not at all.
    cache_seconds: int | None = None
    #: Whether the answer of a question that is only put otherwise will do; see ``models.semantic``.
    semantic: bool = False
    #: What the call asks to save tokens beside its model's row; see ``models.optimise.parse_optimise``.
    optimise: str = ""
    #: The caller's limits on the choice of a model; ``None``: none are named.
    selection: Selection | None = None
    #: What the caller calls it by, for the sums of usage; see ``models.tags``.
    tags: str = ""
    #: Runs and steps with budgets that it is made within; see ``models.run_budget.Bound``.
    within: tuple[str, ...] = ()
    #: What the door found out already: the first notes in the record of the call; see ``Order.notes``.
    notes: dict[str, Any] = field(default_factory=dict)
