"""What a run may cost, and what happens when that is reached: it stops, or goes on with a cheaper model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from gateway.errors import ValidationFailed

_FIELDS = ("limit_usd", "at_limit", "degrade_to")
#: Under which name of a run's metadata it is kept.
KEPT_AS = "budget"


class RunBudget(Struct, frozen=True):
    """``stop`` ends the run at the step that is no longer covered, and keeps what is done; ``degrade`` lets calls of
    language models that are not covered go to the model ``degrade_to``, and stops where it is not covered either."""

    limit_usd: str
    at_limit: Literal["stop", "degrade"] = "stop"
    degrade_to: str = ""

    def kept(self) -> dict[str, str]:
        """As the run's metadata have it."""
        return {name: value for name in _FIELDS if (value := getattr(self, name))}


def read_run_budget(raw: Any, metadata: Any) -> RunBudget | None:
    """The ``budget`` of a run's body. ``ValidationFailed`` names the field."""
    if raw is None:
        return None
    if not isinstance(raw, dict):
        raise ValidationFailed('budget: an object is expected, such as {"limit_usd": "0.50"}', param="budget")
    if isinstance(metadata, dict) and KEPT_AS in metadata:
        raise ValidationFailed(
            "metadata.budget: the run's budget is kept under this name",
            mend="name yours otherwise",
            param="metadata.budget",
        )
    for name in raw:
        if name not in _FIELDS:
            place = f"budget.{str(name)[:60]}"
            raise ValidationFailed(f"{place}: no such field; there are {', '.join(_FIELDS)}", param=place)
    limit, at_limit, model = raw.get("limit_usd"), raw.get("at_limit", "stop"), raw.get("degrade_to", "")
    if isinstance(limit, bool) or not isinstance(limit, str | int | float):
        raise ValidationFailed("budget.limit_usd: an amount in USD is expected", param="budget.limit_usd")
    if at_limit not in ("stop", "degrade"):
        raise ValidationFailed("budget.at_limit: stop or degrade", param="budget.at_limit")
    if not isinstance(model, str) or (at_limit == "degrade") != bool(model):
        raise ValidationFailed(
            "budget.degrade_to: the model to go on with, where at_limit is degrade", param="budget.degrade_to"
        )
    return RunBudget(str(limit), at_limit, model)


def degrades_to(metadata: Mapping[str, Any]) -> str:
    """The model that a run goes on with at its limit; empty where it stops."""
    kept = metadata.get(KEPT_AS)
    if not isinstance(kept, Mapping) or kept.get("at_limit") != "degrade":
        return ""
    name = kept.get("degrade_to")
    return name if isinstance(name, str) else ""
