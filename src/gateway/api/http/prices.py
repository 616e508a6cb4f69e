"""``/prices``: what models ask, now or at another time, and what of it needs somebody's eye."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.responses import Response

from gateway.api.doors import Call, Doors, json_response
from gateway.api.http.params import only_queries, read_time, time_of
from gateway.clock import rfc3339
from gateway.errors import ValidationFailed
from gateway.governance.validators import refuse_unknown, text_field
from gateway.ledger.price_card import PriceCard, Rates
from gateway.money import usd
from gateway.serving.price_desk import ModelPrice
from gateway.serving.rerating import Difference

_RATES = Rates.__struct_fields__
_WHOLE = ("per_call", "per_second", "per_row", "per_web_search")
_RERATE = ("since", "until", "team", "model", "book")


async def prices(call: Call) -> Response:
    """The models' cards at a time (``at``), as known at another (``known_at``)."""
    only_queries(call, "model", "at", "known_at")
    found = await asyncio.to_thread(
        call.services.prices.prices,
        call.caller,
        model=call.query("model"),
        at=time_of(call, "at"),
        known=time_of(call, "known_at"),
    )
    return json_response({"prices": [_view(item) for item in found]})


async def check(call: Call) -> Response:
    """Models without a price, prices that changed since the last call, and prices to come."""
    only_queries(call)
    found = await asyncio.to_thread(call.services.prices.check, call.caller)
    return json_response(
        {
            "checked": len(found),
            "without_price": [item.model for item in found if item.state == "unknown"],
            "not_charged": [item.model for item in found if item.state == "none"],
            "changed": [
                {"model": item.model, "charged_by": item.charged_by, "now": item.card.name if item.card else None}
                for item in found
                if item.changed
            ],
            "coming": [
                {"model": item.model, "from": rfc3339(item.next_from)} for item in found if item.next_from is not None
            ],
        }
    )


async def rerate(call: Call) -> Response:
    """What the calls of a time would cost by the prices known now; ``book`` enters the difference."""
    body = await call.body()
    refuse_unknown(body, _RERATE, "")
    book = body.get("book", False)
    if not isinstance(book, bool):
        raise ValidationFailed("book: true or false is expected", param="book")
    found = await asyncio.to_thread(
        call.services.rerating.rerate,
        call.caller,
        since=read_time(body.get("since"), "since"),
        until=read_time(body.get("until"), "until"),
        team=text_field(body, "team", longest=200) or None,
        model=text_field(body, "model", longest=200) or None,
        book=book,
        request_id=call.request_id,
    )
    return json_response(
        {
            "since": rfc3339(found.since),
            "until": rfc3339(found.until),
            "entries": found.entries,
            "changed": found.changed,
            "difference_usd": usd(found.difference),
            "by_team": [_difference(item) for item in found.by_team.values()],
            "by_card": [_difference(item) for item in found.by_card.values()],
            "left_out": [{"reason": reason, "entries": count} for reason, count in found.left_out.items()],
            "booked": found.booked,
        }
    )


def _difference(group: Difference) -> dict[str, Any]:
    return {
        **group.group,
        "entries": group.entries,
        "before_usd": usd(group.before),
        "after_usd": usd(group.after),
        "difference_usd": usd(group.after - group.before),
    }


def _view(price: ModelPrice) -> dict[str, Any]:
    return {
        "model": price.model,
        "type": price.type,
        "provider": price.provider,
        "state": price.state,
        "card": None if price.card is None else card_view(price.card),
        "next_from": None if price.next_from is None else rfc3339(price.next_from),
    }


def card_view(card: PriceCard) -> dict[str, Any]:
    """A card as people see it: USD, without the classes that have no price of their own."""
    told: dict[str, Any] = {"name": card.name, "source": card.source, "currency": "USD"}
    told |= {name: getattr(card, name) for name in (*_RATES, *_WHOLE) if getattr(card, name) is not None}
    if card.tiers:
        told["tiers"] = [
            {"above_input_tokens": tier.above_input_tokens}
            | {name: getattr(tier.rates, name) for name in _RATES if getattr(tier.rates, name) is not None}
            for tier in card.tiers
        ]
    return told


def add(doors: Doors) -> None:
    """Registers these routes."""
    doors.add("GET", "/prices", "models:read", prices, summary="What models ask, at a time, as known at another")
    doors.add("GET", "/prices/check", "usage:read_all", check, summary="Models without a price, prices that changed")
    summary = "What past calls would cost by the prices known now; book the difference"
    doors.add("POST", "/prices/rerate", "usage:read_all", rerate, summary=summary)
