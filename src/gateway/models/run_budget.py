"""What a run, or a step, may cost, and what happens when that is reached: it stops, or goes on with a cheaper model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from gateway.errors import ValidationFailed

_FIELDS = ("limit_usd", "at_limit", "degrade_to")
#: Under which name of a run's metadata it is kept.
KEPT_AS = "budget"


class RunBudget(Struct, frozen=True, omit_defaults=True):
    """``stop`` ends the run at the step that is no longer covered, and keeps what is done; ``degrade`` lets calls of
    language models that are not covered go to the model ``degrade_to``, and stops where it is not covered either.
    A step's budget is the same for all its attempts, items and runs: ``stop`` fails the call."""

    limit_usd: str
    at_limit: Literal["stop", "degrade"] = "stop"
    degrade_to: str = ""

    def kept(self) -> dict[str, str]:
        """As the run's metadata have it."""
        return {name: value for name in _FIELDS if (value := getattr(self, name))}


class Bound(Struct, frozen=True, omit_defaults=True):
    """A budget that binds calls by its name: that of a run (``subject`` is its id) or of a step (``RUN_ID/STEP_ID``)
    that they are made within, however deep. ``degrade_to`` as in the budget."""

    scope: Literal["run", "step"]
    subject: str
    degrade_to: str = ""

    @property
    def name(self) -> str:
        """As charges have it."""
        return f"{self.scope}:{self.subject}"


def bounds_of_run(run_id: str, metadata: Mapping[str, Any]) -> tuple[Bound, ...]:
    """The run's own budget, if it was begun with one."""
    kept = metadata.get(KEPT_AS)
    has = isinstance(kept, Mapping) and "limit_usd" in kept
    return (Bound("run", run_id, degrades_to(metadata)),) if has else ()


def bounds_of_step(run_id: str, step_id: str, budget: RunBudget | None) -> tuple[Bound, ...]:
    """The step's own budget, if it has one."""
    return () if budget is None else (Bound("step", f"{run_id}/{step_id}", budget.degrade_to),)


def read_run_budget(raw: Any, metadata: Any) -> RunBudget | None:
    """The ``budget`` of a run's body. ``ValidationFailed`` names the field."""
    if raw is None:
        return None
    if isinstance(metadata, dict) and KEPT_AS in metadata:
        raise ValidationFailed(
            "metadata.budget: the run's budget is kept under this name",
            mend="name yours otherwise",
            param="metadata.budget",
        )
    return read_budget(raw, "budget")


def read_budget(raw: Any, path: str) -> RunBudget:
    """The budget at ``path``. ``ValidationFailed`` names the field; whether the limit is an amount is not looked at."""
    if not isinstance(raw, dict):
        raise ValidationFailed(f'{path}: an object is expected, such as {{"limit_usd": "0.50"}}', param=path)
    for name in raw:
        if name not in _FIELDS:
            place = f"{path}.{str(name)[:60]}"
            raise ValidationFailed(f"{place}: no such field; there are {', '.join(_FIELDS)}", param=place)
    limit, at_limit, model = raw.get("limit_usd"), raw.get("at_limit", "stop"), raw.get("degrade_to", "")
    if isinstance(limit, bool) or not isinstance(limit, str | int | float):
        raise ValidationFailed(f"{path}.limit_usd: an amount in USD is expected", param=f"{path}.limit_usd")
    if at_limit not in ("stop", "degrade"):
        raise ValidationFailed(f"{path}.at_limit: stop or degrade", param=f"{path}.at_limit")
    if not isinstance(model, str) or (at_limit == "degrade") != bool(model):
        raise ValidationFailed(
            f"{path}.degrade_to: the model to go on with, where at_limit is degrade", param=f"{path}.degrade_to"
        )
    return RunBudget(str(limit), at_limit, model)


def degrades_to(metadata: Mapping[str, Any]) -> str:
    """The model that a run goes on with at its limit; empty where it stops."""
    kept = metadata.get(KEPT_AS)
    if not isinstance(kept, Mapping) or kept.get("at_limit") != "degrade":
        return ""
    name = kept.get("degrade_to")
    return name if isinstance(name, str) else ""
