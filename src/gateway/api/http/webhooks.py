"""``/webhooks``: subscribe, change a secret, see deliveries, send a dead one again."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from starlette.responses import Response

from gateway.api.doors import Call, Doors, json_response
from gateway.api.http.params import cursor_of, limit_of
from gateway.clock import SECOND, rfc3339
from gateway.errors import Conflict, NotFound, ValidationFailed
from gateway.events.outbox import Delivery, Subscription, new_secret, secret_of
from gateway.governance.validators import refuse_unknown, text_field, whole_field
from gateway.ids import new_id

_WORDS = ("completion", "failure", "cancellation")
#: What may be subscribed to; the last belongs to no run and is told to those alone that name it.
EVENTS = (*(f"{kind}_{word}" for kind in ("task", "workflow") for word in _WORDS), "budget_alert")
_STATES = ("pending", "delivered", "dead")
#: How long the old secret signs beside the new one, in seconds, unless said otherwise; and at most.
OVERLAP, LONGEST_OVERLAP = 86_400, 30 * 86_400


async def subscribe(call: Call) -> Response:
    """201 with the signing secret, this once."""
    body = await call.body()
    refuse_unknown(body, ("url", "events"), "")
    url, events = text_field(body, "url", required=True, longest=2048), body.get("events", [])
    if not isinstance(events, list) or any(item not in EVENTS for item in events):
        raise ValidationFailed(f"events: a list of {', '.join(EVENTS)}; empty for all", param="events")
    await asyncio.to_thread(call.services.check_webhook, url)
    made = Subscription(
        subscription_id=new_id("whk"),
        owner=call.caller.principal,
        url=url,
        events=tuple(events),
        secret=new_secret(),
        active=True,
        created_at=call.services.clock.now(),
    )
    if not await asyncio.to_thread(call.services.webhooks.subscribe, made):
        raise Conflict(
            "you are subscribed to that address already",
            mend="enable that subscription, rotate its secret, or end it first",
        )
    view = {**_subscription(made), "secret": made.secret}
    return json_response(view, 201, {"location": f"/webhooks/{made.subscription_id}", "cache-control": "no-store"})


async def listing(call: Call) -> Response:
    found = await asyncio.to_thread(call.services.webhooks.subscriptions, _owner(call))
    return json_response({"webhooks": [_subscription(item) for item in found]})


async def unsubscribe(call: Call) -> Response:
    name, now = call.path("subscription_id"), call.services.clock.now()
    if not await asyncio.to_thread(call.services.webhooks.unsubscribe, name, _owner(call), now):
        raise _no_subscription()
    return json_response({"id": name, "active": False})


async def enable(call: Call) -> Response:
    """What happens from now on is told again; what was missed meanwhile is not."""
    changed = await asyncio.to_thread(call.services.webhooks.enable, call.path("subscription_id"), _owner(call))
    if changed is None:
        raise _no_subscription()
    return json_response(_subscription(changed))


async def rotate(call: Call) -> Response:
    """The new secret, this once; the old one signs beside it for ``overlap`` seconds (a day)."""
    body = await call.body()
    refuse_unknown(body, ("overlap",), "")
    overlap = whole_field(body, "overlap", "", 0, LONGEST_OVERLAP)
    until = call.services.clock.now() + (OVERLAP if overlap is None else overlap) * SECOND
    secret, name = new_secret(), call.path("subscription_id")
    changed = await asyncio.to_thread(call.services.webhooks.rotate, name, _owner(call), secret, until)
    if changed is None:
        raise _no_subscription()
    return json_response({**_subscription(changed), "secret": secret}, 200, {"cache-control": "no-store"})


async def own_secret(call: Call) -> Response:
    """What signs the messages to addresses that the caller names in tasks and runs."""
    secret = secret_of(call.caller.principal, call.services.webhook_secret)
    return json_response({"secret": secret}, 200, {"cache-control": "no-store"})


async def deliveries(call: Call) -> Response:
    state, limit = call.query("state"), limit_of(call)
    if state is not None and state not in _STATES:
        raise ValidationFailed(f"state: one of {', '.join(_STATES)}", param="state")
    found = await asyncio.to_thread(
        call.services.webhooks.deliveries,
        _owner(call),
        state=state,
        limit=limit + 1,
        subscription_id=call.query("subscription_id"),
        before=cursor_of(call, "msg"),
    )
    page = found[:limit]
    following = page[-1].delivery_id if len(found) > limit else None
    return json_response({"deliveries": [_delivery(item) for item in page], "next_cursor": following})


async def delivery(call: Call) -> Response:
    """One delivery with the body that is sent."""
    found = await _found(call)
    return json_response({**_delivery(found), "body": msgspec.json.decode(found.body)})


async def replay(call: Call) -> Response:
    found = await _found(call)
    if not await asyncio.to_thread(call.services.webhooks.replay, found.delivery_id, call.services.clock.now()):
        raise Conflict("the delivery is pending already", mend="wait for its next try")
    return json_response({"id": found.delivery_id, "state": "pending"}, 202)


async def _found(call: Call) -> Delivery:
    found = await asyncio.to_thread(call.services.webhooks.delivery, call.path("delivery_id"))
    if found is None or not call.caller.may_see(found.owner):
        raise NotFound("no delivery of that id is yours", mend="GET /webhooks/deliveries lists yours")
    return found


def _no_subscription() -> NotFound:
    return NotFound("no subscription of that id is yours", mend="GET /webhooks lists yours")


def _owner(call: Call) -> str | None:
    return None if call.caller.may("runs:read_all") else call.caller.principal


def _subscription(item: Subscription) -> dict[str, Any]:
    return {
        "id": item.subscription_id,
        "url": item.url,
        "events": list(item.events),
        "owner": item.owner,
        "created_at": rfc3339(item.created_at),
        "old_secret_until": None if item.old_secret_until is None else rfc3339(item.old_secret_until),
        "disabled_at": None if item.disabled_at is None else rfc3339(item.disabled_at),
        "disabled_reason": item.disabled_reason,
    }


def _delivery(item: Delivery) -> dict[str, Any]:
    return {
        "id": item.delivery_id,
        "url": item.url,
        "subscription_id": item.subscription_id,
        "owner": item.owner,
        "event": item.event,
        "task_id": item.task_id,
        "run_id": item.run_id,
        "state": item.state,
        "attempts": item.attempts,
        "last_error": item.last_error,
        "next_try": rfc3339(item.not_before) if item.state == "pending" else None,
        "created_at": rfc3339(item.created_at),
        "completed_at": None if item.completed_at is None else rfc3339(item.completed_at),
    }


def add(doors: Doors) -> None:
    """Registers these routes."""
    write, one, sent = "webhooks:write", "/webhooks/{subscription_id}", "/webhooks/deliveries"
    doors.add("POST", "/webhooks", write, subscribe, summary="Subscribe an address", status=201)
    doors.add("GET", "/webhooks", write, listing, summary="Your subscriptions")
    doors.add("GET", "/webhooks/secret", write, own_secret, summary="The secret for addresses in your tasks and runs")
    doors.add("GET", sent, write, deliveries, summary="Deliveries, newest first")
    doors.add("GET", sent + "/{delivery_id}", write, delivery, summary="A delivery with its body")
    doors.add("POST", sent + "/{delivery_id}/replay", write, replay, summary="Deliver again", status=202)
    doors.add("POST", one + "/rotate", write, rotate, summary="A new secret; the old one signs too for a while")
    doors.add("POST", one + "/enable", write, enable, summary="Tell a disabled subscription again")
    doors.add("DELETE", one, write, unsubscribe, summary="End a subscription")
