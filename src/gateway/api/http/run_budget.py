"""``budget`` of a run that is begun: set before the run is, so that none of its calls is made without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.api.doors import Call
from gateway.errors import GatewayError
from gateway.governance.validators import refuse_unknown
from gateway.ids import new_id
from gateway.models.run_budget import KEPT_AS, RunBudget, read_run_budget
from gateway.tasks.submission import RUN_FIELDS


def budget_of(body: dict[str, Any]) -> tuple[RunBudget | None, dict[str, Any]]:
    """The budget of the body, and the body with it among the run's metadata."""
    refuse_unknown(body, (*RUN_FIELDS, "budget"), "")
    rest = {name: value for name, value in body.items() if name != "budget"}
    budget = read_run_budget(body.get("budget"), rest.get("metadata"))
    if budget is None:
        return None, rest
    metadata = rest.get("metadata", {})
    if isinstance(metadata, dict):
        rest["metadata"] = {**metadata, KEPT_AS: budget.kept()}
    return budget, rest


def within_budget(
    call: Call, budget: RunBudget | None, run_id: str | None, start: Callable[..., dict[str, Any]]
) -> dict[str, Any]:
    """Begins the run with its budget. Blocks on the database."""
    if budget is None:
        return start(run_id=run_id)
    if budget.degrade_to:
        call.caller.require_model(budget.degrade_to)
        call.services.catalogue.current.model(budget.degrade_to)
    run_id = run_id or new_id("run")
    made = call.services.budgets.create_for_run(call.caller, run_id, budget.limit_usd)
    try:
        return start(run_id=run_id)
    except GatewayError:
        call.services.budgets.end_for_run(made)
        raise
