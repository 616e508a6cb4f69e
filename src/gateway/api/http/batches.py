"""``/v1/batches``: many requests in one file, done in the background, each like any other call."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.responses import Response

from gateway.api.doors import Call, Doors, json_response
from gateway.api.http.idempotent import once
from gateway.api.http.params import after_of, limit_of, listed
from gateway.api.once import name_of


async def create(call: Call) -> Response:
    body = await call.body()
    return await once(call, body, lambda: _create(call, body))


async def _create(call: Call, body: dict[str, Any]) -> Response:
    named = name_of(call.request.scope, "batch")
    made = await asyncio.to_thread(call.services.batches.create, call.caller, body, call.request_id, batch_id=named)
    return json_response(made)


async def show(call: Call) -> Response:
    return json_response(await asyncio.to_thread(call.services.batches.get, call.caller, call.path("batch_id")))


async def listing(call: Call) -> Response:
    limit = limit_of(call, 20, 100)
    found = await asyncio.to_thread(
        call.services.batches.list, call.caller, after=after_of(call, "batch"), limit=limit + 1
    )
    return json_response(listed(found, limit))


async def cancel(call: Call) -> Response:
    return json_response(await asyncio.to_thread(call.services.batches.cancel, call.caller, call.path("batch_id")))


def add(doors: Doors) -> None:
    """Registers these routes."""
    path = "/v1/batches/{batch_id}"
    doors.add("POST", "/v1/batches", "llm:execute", create, summary="Hand in a batch")
    doors.add("GET", "/v1/batches", "llm:execute", listing, summary="List batches")
    doors.add("GET", path, "llm:execute", show, summary="A batch with its counts and files")
    doors.add("POST", f"{path}/cancel", "llm:execute", cancel, summary="Call a batch off")
