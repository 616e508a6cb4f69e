"""``POST /runs/prune``: remove runs that ended long ago."""

from __future__ import annotations

import asyncio

from starlette.responses import Response

from gateway.api.doors import Call, Doors, json_response
from gateway.errors import ValidationFailed
from gateway.governance.validators import refuse_unknown, whole_field

_MOST_DAYS = 36_500


async def prune(call: Call) -> Response:
    """200 with what went, or would go; ``more``: the time of one request was not enough, ask again."""
    body = await call.body()
    refuse_unknown(body, ("older_than_days", "dry_run"), "")
    days, dry_run = whole_field(body, "older_than_days", "", 1, _MOST_DAYS), body.get("dry_run", False)
    if days is None:
        raise ValidationFailed(f"older_than_days: a whole number from 1 to {_MOST_DAYS}", param="older_than_days")
    if not isinstance(dry_run, bool):
        raise ValidationFailed("dry_run: true or false", param="dry_run")
    told = await asyncio.to_thread(call.services.retention.prune, call.caller, days, call.request_id, dry_run=dry_run)
    return json_response(told)


def add(doors: Doors) -> None:
    """Registers this route."""
    doors.add("POST", "/runs/prune", "runs:prune", prune, summary="Remove runs that ended long ago")
