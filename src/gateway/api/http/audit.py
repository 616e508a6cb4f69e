"""``/audit``: the trail, and its proof."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from starlette.responses import Response

from gateway.api.doors import Call, Doors, json_response
from gateway.api.http.params import limit_of, number_cursor_of
from gateway.clock import rfc3339
from gateway.security.audit import AuditFilter, AuditRecord


async def listing(call: Call) -> Response:
    where = AuditFilter(
        actor=call.query("actor"),
        action=call.query("action"),
        resource=call.query("resource"),
        request_id=call.query("request_id"),
    )
    page, cursor = await asyncio.to_thread(
        call.services.audit.find, where, cursor=number_cursor_of(call), limit=limit_of(call)
    )
    return json_response({"records": [_view(item) for item in page], "next_cursor": cursor})


async def verify(call: Call) -> Response:
    return json_response(msgspec.to_builtins(await asyncio.to_thread(call.services.audit.verify)))


def _view(record: AuditRecord) -> dict[str, Any]:
    view = msgspec.structs.asdict(record)
    return {**view, "at": rfc3339(record.at), "detail": msgspec.json.decode(record.detail)}


def add(doors: Doors) -> None:
    """Registers these routes."""
    doors.add("GET", "/audit", "audit:read", listing, summary="Audit records, newest first")
    doors.add("GET", "/audit/verify", "audit:read", verify, summary="Walk the whole chain")
