"""``/webhooks``: subscribe, see deliveries, send a dead one again."""

from __future__ import annotations

import asyncio
import base64
import secrets
from typing import Any

from starlette.responses import Response

from gateway.api.doors import Call, Doors, json_response
from gateway.api.http.params import limit_of
from gateway.clock import rfc3339
from gateway.errors import Conflict, NotFound, ValidationFailed
from gateway.events.outbox import SECRET_PREFIX, Delivery, Subscription
from gateway.governance.validators import refuse_unknown, text_field
from gateway.ids import new_id

_WORDS = ("completion", "failure", "cancellation")
EVENTS = tuple(f"{kind}_{word}" for kind in ("task", "workflow") for word in _WORDS)
_STATES = ("pending", "delivered", "dead")


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
        secret=SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode(),
        active=True,
        created_at=call.services.clock.now(),
    )
    await asyncio.to_thread(call.services.webhooks.subscribe, made)
    view = {**_subscription(made), "secret": made.secret}
    return json_response(view, 201, {"location": f"/webhooks/{made.subscription_id}", "cache-control": "no-store"})


async def listing(call: Call) -> Response:
    found = await asyncio.to_thread(call.services.webhooks.subscriptions, _owner(call))
    return json_response({"webhooks": [_subscription(item) for item in found]})


async def unsubscribe(call: Call) -> Response:
    name = call.path("subscription_id")
    if not await asyncio.to_thread(call.services.webhooks.unsubscribe, name, _owner(call)):
        raise NotFound("no subscription of that id is yours", mend="GET /webhooks lists yours")
    return json_response({"id": name, "active": False})


async def deliveries(call: Call) -> Response:
    state = call.query("state")
    if state is not None and state not in _STATES:
        raise ValidationFailed(f"state: one of {', '.join(_STATES)}", param="state")
    found = await asyncio.to_thread(call.services.webhooks.deliveries, _owner(call), state=state, limit=limit_of(call))
    return json_response({"deliveries": [_delivery(item) for item in found]})


async def replay(call: Call) -> Response:
    name = call.path("delivery_id")
    found = await asyncio.to_thread(call.services.webhooks.delivery, name)
    if found is None or not call.caller.may_see(found.owner):
        raise NotFound("no delivery of that id is yours", mend="GET /webhooks/deliveries lists yours")
    if not await asyncio.to_thread(call.services.webhooks.replay, name, call.services.clock.now()):
        raise Conflict("the delivery is pending already", mend="wait for its next try")
    return json_response({"id": name, "state": "pending"}, 202)


def _owner(call: Call) -> str | None:
    return None if call.caller.may("runs:read_all") else call.caller.principal


def _subscription(item: Subscription) -> dict[str, Any]:
    return {
        "id": item.subscription_id,
        "url": item.url,
        "events": list(item.events),
        "owner": item.owner,
        "created_at": rfc3339(item.created_at),
    }


def _delivery(item: Delivery) -> dict[str, Any]:
    return {
        "id": item.delivery_id,
        "url": item.url,
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
    write = "webhooks:write"
    doors.add(
        "POST", "/webhooks", write, subscribe, summary="Subscribe an address", body={"type": "object"}, status=201
    )
    doors.add("GET", "/webhooks", write, listing, summary="Your subscriptions")
    doors.add("DELETE", "/webhooks/{subscription_id}", write, unsubscribe, summary="End a subscription")
    doors.add("GET", "/webhooks/deliveries", write, deliveries, summary="Deliveries, newest first")
    doors.add("POST", "/webhooks/deliveries/{delivery_id}/replay", write, replay, summary="Deliver again", status=202)
