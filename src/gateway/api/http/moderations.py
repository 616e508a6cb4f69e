"""``/v1/moderations``: judged by a model of type ``moderation``, on the path of every call."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from gateway.api.doors import Call, Doors, json_response
from gateway.api.http.execute import context_of
from gateway.api.http.idempotent import once
from gateway.api.wire import moderations
from gateway.api.wire.headers import answer_headers
from gateway.ids import new_id


async def moderate(call: Call) -> Response:
    body = await call.body()
    return await once(call, body, lambda: _moderate(call, body))


async def _moderate(call: Call, body: dict[str, Any]) -> Response:
    request = moderations.decode(body, call.services.catalogue.current.default_model("moderation"))
    answer = await call.services.moderate.moderate(call.caller, request, context_of(call, "openai"))
    told = moderations.encode(answer.moderation, request.model, new_id("modr"))
    return json_response(told, headers=answer_headers(answer.meta))


def add(doors: Doors) -> None:
    """Registers these routes."""
    doors.add("POST", "/v1/moderations", "llm:execute", moderate, summary="Judge texts and images")
