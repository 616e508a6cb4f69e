"""``/v1/responses/{id}``: responses that are kept, shown and deleted."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.responses import Response

from gateway.api.doors import Call, Doors, json_response
from gateway.api.http.params import limit_of, listed, no_page, refuse_queries
from gateway.errors import ValidationFailed


async def show(call: Call) -> Response:
    """The response as it was answered."""
    refuse_queries(call, "stream", "starting_after", "include_obfuscation", "include")
    kept = await asyncio.to_thread(call.services.responses.get, call.caller.tenant, call.path("response_id"))
    return json_response(kept.body)


async def remove(call: Call) -> Response:
    """The response is forgotten; those that go on from it can no longer be gone on from."""
    name = call.path("response_id")
    await asyncio.to_thread(call.services.responses.delete, call.caller.tenant, name)
    return json_response({"id": name, "object": "response", "deleted": True})


async def input_items(call: Call) -> Response:
    """What the response was made from: its own input, and all that it goes on from. Newest first
    unless ``order=asc``."""
    refuse_queries(call, "include")
    order = call.query("order") or "desc"
    if order not in ("asc", "desc"):
        raise ValidationFailed("order: asc or desc", param="order")
    chain = await asyncio.to_thread(call.services.responses.chain, call.caller.tenant, call.path("response_id"))
    items: list[dict[str, Any]] = []
    for kept in chain[:-1]:
        items += [*kept.input, *kept.body["output"]]
    items += chain[-1].input
    if order == "desc":
        items.reverse()
    limit, after = limit_of(call, 20, 100), call.query("after")
    if after is not None:
        places = [at for at, item in enumerate(items) if item["id"] == after]
        if not places:
            raise no_page("after", "last_id")
        items = items[places[0] + 1 :]
    return json_response(listed(items, limit))


def add(doors: Doors) -> None:
    """Registers these routes."""
    path = "/v1/responses/{response_id}"
    doors.add("GET", path, "llm:execute", show, summary="A kept response")
    doors.add("DELETE", path, "llm:execute", remove, summary="Forget a kept response")
    doors.add("GET", f"{path}/input_items", "llm:execute", input_items, summary="What a kept response was made from")
