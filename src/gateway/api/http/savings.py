"""``/savings``: what was saved and how, against which baseline, and what could be saved."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from starlette.responses import Response

from gateway.api.doors import Call, Doors, json_response
from gateway.api.http.params import only_queries
from gateway.api.http.usage import FILTERS, TIMES, ask_of
from gateway.clock import SECOND, rfc3339
from gateway.ledger.advice import Advice
from gateway.ledger.savings import METHODS
from gateway.ledger.usage_ask import UsageAsk
from gateway.money import usd

_DAYS = 30


async def savings(call: Call) -> Response:
    """The report of a time; the last thirty days where none is named."""
    only_queries(call, *FILTERS, *TIMES, "time_zone", "run_id", "task_id")
    ask = _ask(call)
    found = await asyncio.to_thread(call.services.savings.report, ask)
    saved = sum(item.amount for item in found.savings)
    return json_response(
        {
            "since": None if ask.since is None else rfc3339(ask.since),
            "until": None if ask.until is None else rfc3339(ask.until),
            "calls": found.calls,
            "spent_usd": usd(found.spent),
            "saved_usd": usd(saved),
            "methods": [
                {
                    "method": item.method,
                    "calls": item.calls,
                    "tokens": item.tokens,
                    "saved_usd": usd(item.amount),
                    "baseline": METHODS.get(item.method, ""),
                }
                for item in found.savings
            ],
            "note": "each call is measured against the baseline of its way of saving alone; what one call saved in "
            "several ways is the sum of those differences",
            "recommendations": [_advice(item, ask) for item in found.advice],
        }
    )


async def ratings(call: Call) -> Response:
    """The scores that recommendations stand on."""
    only_queries(call, *FILTERS, *TIMES, "time_zone", "run_id", "task_id")
    found = await asyncio.to_thread(call.services.savings.ratings, _ask(call))
    rows = [
        {
            "model": item.model,
            "team": item.team,
            "workflow": item.workflow_id,
            "ratings": item.ratings,
            "mean": item.total / item.ratings,
            "sum": item.total,
            "sum_of_squares": item.squares,
        }
        for item in found
    ]
    return json_response({"rows": rows})


def _ask(call: Call) -> UsageAsk:
    ask = ask_of(call, ())
    if ask.since is not None or ask.until is not None:
        return ask
    midnight = call.services.clock.now() // (86_400 * SECOND) - (_DAYS - 1)
    return msgspec.structs.replace(ask, since=midnight * 86_400 * SECOND)


def _advice(item: Advice, ask: UsageAsk) -> dict[str, Any]:
    evidence = {
        f"{name}_usd" if name.startswith("cost_") else name: usd(value) if name.startswith("cost_") else value
        for name, value in item.evidence.items()
    }
    bounds = (("since", ask.since), ("until", ask.until))
    times = "".join(f"&{name}={rfc3339(moment)}" for name, moment in bounds if moment is not None)
    return {
        "kind": item.kind,
        "text": item.text,
        "where": item.where,
        "calls": item.calls,
        "share_of_calls": round(item.share_of_calls, 4),
        "cost_usd": usd(item.cost),
        "saves_usd": usd(item.saves),
        "at_most": item.at_most,
        "evidence": evidence,
        "reproduce": [f"/usage?by=model,team,workflow&kind=llm{times}", f"/savings/ratings?kind=llm{times}"],
    }


def add(doors: Doors) -> None:
    """Registers these routes."""
    doors.add("GET", "/savings", "usage:read", savings, summary="What was saved, how, and what could be")
    doors.add("GET", "/savings/ratings", "usage:read", ratings, summary="The scores that recommendations stand on")
