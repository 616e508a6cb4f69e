"""What a call goes on with where a budget does not cover the model that was asked for, and says so (``degrade``)."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.errors import BudgetExceeded
from gateway.registry.catalogue import Catalogue, ModelSpec
from gateway.security.access import Caller


def within_budget(
    catalogue: Catalogue, asked: ModelSpec, caller: Caller, refused: BudgetExceeded, tried: Sequence[str]
) -> list[str]:
    """The models that the budget names instead, in its order; none where it names none. A model that the caller
    may not use, or whose guards are not among those that the chat went through, is no substitute."""
    names = refused.details.get("degrade_to", ())
    found = [catalogue.models[name] for name in names if name in catalogue.models and name not in tried]
    return [
        spec.name
        for spec in found
        if spec.type == asked.type
        and spec.route is None
        and caller.may_use_model(spec.name)
        and all(guard in asked.guards for guard in spec.guards)
    ]


def told_budget(refused: BudgetExceeded) -> str:
    """The budget as a reason names it."""
    return f"the budget of {refused.details['scope']} {refused.details['subject']}"
