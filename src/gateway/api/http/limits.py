"""``/limits``: what users, teams and models may do in a minute, and at once."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.responses import Response

from gateway.api.doors import Call, Doors, json_response
from gateway.clock import rfc3339
from gateway.models.bound import Bound
from gateway.security.limit_desk import SetLimit


async def listing(call: Call) -> Response:
    """Those that are set, then those of models in the configuration."""
    found = await asyncio.to_thread(call.services.limits.list, call.caller)
    models = call.services.catalogue.current.models.values()
    declared = [_view(spec.limits) for spec in models if spec.limits is not None]
    return json_response({"limits": [limit_view(item) for item in found] + declared})


async def put(call: Call) -> Response:
    """Sets the limits of a user or a team, in the place of what was set there."""
    return json_response(limit_view(await asyncio.to_thread(call.services.limits.set, call.caller, await call.body())))


async def end(call: Call) -> Response:
    gone = await asyncio.to_thread(call.services.limits.end, call.caller, call.query("scope"), call.query("subject"))
    return json_response(limit_view(gone))


def limit_view(limit: SetLimit) -> dict[str, Any]:
    """Limits as people see them."""
    return {**_view(limit.bound), "set_by": limit.set_by, "set_at": rfc3339(limit.set_at)}


def _view(bound: Bound) -> dict[str, Any]:
    scope, _, subject = bound.name.partition(":")
    return {
        "scope": scope,
        "subject": subject,
        "requests_per_minute": bound.requests,
        "tokens_per_minute": bound.tokens,
        "max_concurrent": bound.concurrent,
        "set_by": "config/models.yaml",
        "set_at": None,
    }


def add(doors: Doors) -> None:
    """Registers these routes."""
    doors.add("GET", "/limits", "keys:read", listing, summary="Rate limits of users, teams and models")
    doors.add("PUT", "/limits", "keys:write", put, summary="Set the limits of a user or a team")
    doors.add("DELETE", "/limits", "keys:write", end, summary="End the limits of a user or a team")
