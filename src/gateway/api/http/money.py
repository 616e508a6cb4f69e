"""``/budgets``: what may be spent, and what was."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from gateway.api.doors import Call, Doors, json_response
from gateway.api.http.params import flag_of, limit_of, only_queries
from gateway.clock import rfc3339
from gateway.errors import ValidationFailed
from gateway.governance.validators import refuse_unknown
from gateway.ledger.budgets import Budget
from gateway.money import usd


async def budgets(call: Call) -> Response:
    """Those in force; or those that have ended, which are ever more: the newest ``limit`` of them."""
    only_queries(call, "scope", "subject", "parent", "active", "limit")
    active = flag_of(call, "active", default=True)
    found = await asyncio.to_thread(
        call.services.budgets.list,
        call.caller,
        scope=call.query("scope"),
        subject=call.query("subject"),
        parent=call.query("parent"),
        active=active,
        limit=None if active and call.query("limit") is None else limit_of(call),
    )
    enforced = call.services.settings.cost_tracking_enabled
    return json_response({"enforced": enforced, "budgets": [budget_view(item) for item in found]})


async def create_budget(call: Call) -> Response:
    body = await call.body()
    check_names(call, body)
    made = await asyncio.to_thread(call.services.budgets.create, call.caller, body)
    return json_response(budget_view(made), 201, {"location": f"/budgets/{made.budget_id}"})


def check_names(call: Call, body: Mapping[str, Any]) -> None:
    """``ValidationFailed`` for a model or provider that nobody configured: such a budget would bind nothing, or
    degrade to nothing, and look as if it did."""
    call.caller.require("budgets:write")
    catalogue, subject, instead = call.services.catalogue.current, body.get("subject"), body.get("degrade_to")
    names = {"model": set(catalogue.models), "provider": set(catalogue.providers)}
    known = names.get(str(body.get("scope")))
    if known is not None and isinstance(subject, str) and subject not in known:
        raise ValidationFailed(f"subject: no {body['scope']} of that name is configured", param="subject")
    if isinstance(instead, list) and instead and not any(name in catalogue.models for name in map(str, instead)):
        raise ValidationFailed("degrade_to: no model of these names is configured", param="degrade_to")


async def show_budget(call: Call) -> Response:
    return json_response(
        budget_view(await asyncio.to_thread(call.services.budgets.get, call.caller, call.path("budget_id")))
    )


async def end_budget(call: Call) -> Response:
    ended = await asyncio.to_thread(call.services.budgets.deactivate, call.caller, call.path("budget_id"))
    return json_response(budget_view(ended))


async def approve(call: Call) -> Response:
    """Lets this window spend more."""
    body = await call.body()
    refuse_unknown(body, ("amount_usd",), "")
    service, budget_id = call.services.budgets, call.path("budget_id")
    return json_response(
        budget_view(await asyncio.to_thread(service.approve, call.caller, budget_id, body.get("amount_usd")))
    )


async def deny(call: Call) -> Response:
    """Says no to what was asked for beyond the budget."""
    return json_response(
        budget_view(await asyncio.to_thread(call.services.budgets.deny, call.caller, call.path("budget_id")))
    )


def budget_view(budget: Budget) -> dict[str, Any]:
    """A budget as people see it; amounts in USD."""
    return {
        "id": budget.budget_id,
        "scope": budget.scope,
        "subject": budget.subject,
        "window": budget.window,
        "limit_usd": usd(budget.limit),
        "spent_usd": usd(budget.spent),
        "reserved_usd": usd(budget.reserved),
        "resets_at": None if budget.resets_at is None else rfc3339(budget.resets_at),
        "time_zone": budget.time_zone or "UTC",
        "alert_shares": list(budget.alert_shares),
        "at_cap": budget.at_cap,
        "degrade_to": list(budget.degrade_to),
        "extra_usd": usd(budget.extra),
        "asked_usd": usd(budget.asked) if budget.asked > 0 else None,
        "parent": budget.parent,
        "active": budget.active,
        "created_by": budget.created_by,
        "created_at": rfc3339(budget.created_at),
    }


def add(doors: Doors) -> None:
    """Registers these routes."""
    doors.add("GET", "/budgets", "budgets:read", budgets, summary="Budgets as they stand")
    doors.add("POST", "/budgets", "budgets:write", create_budget, summary="Set a budget", status=201)
    doors.add("GET", "/budgets/{budget_id}", "budgets:read", show_budget, summary="A budget")
    place = "/budgets/{budget_id}"
    doors.add("POST", f"{place}/approve", "budgets:write", approve, summary="Let a window spend more")
    doors.add("POST", f"{place}/deny", "budgets:write", deny, summary="Deny what was asked for beyond a budget")
    doors.add("DELETE", "/budgets/{budget_id}", "budgets:write", end_budget, summary="End a budget")
