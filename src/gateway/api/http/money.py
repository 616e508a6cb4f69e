"""``/usage`` and ``/budgets``: what was spent, on what, and what may be."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.responses import Response

from gateway.api.doors import Call, Doors, json_response
from gateway.api.http.params import limit_of, texts_of, time_of
from gateway.clock import rfc3339
from gateway.errors import ValidationFailed
from gateway.governance.validators import refuse_unknown
from gateway.ledger.budgets import Budget
from gateway.ledger.cost_tracker import GROUPINGS
from gateway.ledger.entry import Entry, UsageFilter
from gateway.money import usd


async def usage(call: Call) -> Response:
    """Sums by the groups asked for (``by=model,day``), beside the total."""
    where = _where(call)
    by = texts_of(call, "by") or ("model", "provider", "kind")
    for name in by:
        if name not in GROUPINGS:
            raise ValidationFailed(f"by: one or more of {', '.join(GROUPINGS)}", param="by")
    ledger = call.services.ledger
    rows, totals = await asyncio.gather(
        asyncio.to_thread(ledger.summary, where, by=by), asyncio.to_thread(ledger.summary, where)
    )
    return json_response(
        {
            "total_cost": usd(sum(row.cost for row in totals)),
            "calls": sum(row.calls for row in totals),
            "rows": [
                {
                    **row.group,
                    "calls": row.calls,
                    "input_tokens": row.input_tokens,
                    "output_tokens": row.output_tokens,
                    "cached_tokens": row.cached_tokens,
                    "reasoning_tokens": row.reasoning_tokens,
                    "inference_seconds": row.inference_micros / 1e6,
                    "cost": usd(row.cost),
                }
                for row in rows
            ],
        }
    )


async def entries(call: Call) -> Response:
    page, cursor = await asyncio.to_thread(
        call.services.ledger.entries, _where(call), cursor=call.query("cursor"), limit=limit_of(call)
    )
    return json_response({"entries": [_entry(item) for item in page], "next_cursor": cursor})


async def budgets(call: Call) -> Response:
    found = await asyncio.to_thread(
        call.services.budgets.list,
        call.caller,
        scope=call.query("scope"),
        subject=call.query("subject"),
        parent=call.query("parent"),
    )
    return json_response({"budgets": [budget_view(item) for item in found]})


async def create_budget(call: Call) -> Response:
    made = await asyncio.to_thread(call.services.budgets.create, call.caller, await call.body())
    return json_response(budget_view(made), 201, {"location": f"/budgets/{made.budget_id}"})


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


def _entry(entry: Entry) -> dict[str, Any]:
    view = {name: getattr(entry, name) for name in entry.__struct_fields__}
    return {**view, "cost": usd(entry.cost), "at": rfc3339(entry.at)}


def _where(call: Call) -> UsageFilter:
    principal = call.query("principal")
    if not call.caller.may("usage:read_all"):
        principal = call.caller.principal
    return UsageFilter(
        principal=principal,
        key_id=call.query("key_id"),
        team=call.query("team"),
        model=call.query("model"),
        provider=call.query("provider"),
        kind=call.query("kind"),
        run_id=call.query("run_id"),
        task_id=call.query("task_id"),
        since=time_of(call, "since"),
        until=time_of(call, "until"),
    )


def add(doors: Doors) -> None:
    """Registers these routes."""
    doors.add("GET", "/usage", "usage:read", usage, summary="What was used and what it cost")
    doors.add("GET", "/usage/entries", "usage:read", entries, summary="Ledger entries, newest first")
    doors.add("GET", "/budgets", "budgets:read", budgets, summary="Budgets as they stand")
    doors.add(
        "POST", "/budgets", "budgets:write", create_budget, summary="Set a budget", body={"type": "object"}, status=201
    )
    doors.add("GET", "/budgets/{budget_id}", "budgets:read", show_budget, summary="A budget")
    more = {"type": "object", "required": ["amount_usd"], "properties": {"amount_usd": {"type": "string"}}}
    place = "/budgets/{budget_id}"
    doors.add("POST", f"{place}/approve", "budgets:write", approve, summary="Let a window spend more", body=more)
    doors.add("POST", f"{place}/deny", "budgets:write", deny, summary="Deny what was asked for beyond a budget")
    doors.add("DELETE", "/budgets/{budget_id}", "budgets:write", end_budget, summary="End a budget")
