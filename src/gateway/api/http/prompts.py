"""``/prompts``: versioned templates."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from starlette.responses import Response

from gateway.api.doors import Call, Doors, json_response
from gateway.api.http.params import whole_of
from gateway.clock import rfc3339
from gateway.errors import ValidationFailed
from gateway.governance.validators import refuse_unknown, text_field
from gateway.registry.prompts import PromptVersion


async def create(call: Call) -> Response:
    body = await call.body()
    refuse_unknown(body, ("name", "template"), "")
    name, template = text_field(body, "name", required=True, longest=100), text_field(body, "template", required=True)
    made = await asyncio.to_thread(call.services.prompts.add, name, template, call.caller.principal)
    return json_response(_view(made), 201, {"location": f"/prompts/{made.name}"})


async def listing(call: Call) -> Response:
    return json_response({"prompts": [_view(item) for item in await asyncio.to_thread(call.services.prompts.newest)]})


async def show(call: Call) -> Response:
    name, version = call.path("name"), whole_of(call, "version")
    found = await asyncio.to_thread(call.services.prompts.get, name, version)
    versions = await asyncio.to_thread(call.services.prompts.versions, name)
    return json_response({**_view(found), "versions": [item.version for item in versions]})


async def render(call: Call) -> Response:
    body = await call.body()
    refuse_unknown(body, ("version", "variables"), "")
    variables = body.get("variables", {})
    if not isinstance(variables, dict):
        raise ValidationFailed("variables: an object is expected", param="variables")
    wanted = {"name": call.path("name"), "version": body.get("version")}
    text = await asyncio.to_thread(call.services.prompts.render, wanted, variables)
    return json_response({"text": text})


def _view(prompt: PromptVersion) -> dict[str, Any]:
    return {**msgspec.structs.asdict(prompt), "created_at": rfc3339(prompt.created_at)}


def add(doors: Doors) -> None:
    """Registers these routes."""
    doors.add(
        "POST",
        "/prompts",
        "prompts:write",
        create,
        summary="Add a version of a template",
        body={"type": "object"},
        status=201,
    )
    doors.add("GET", "/prompts", "prompts:read", listing, summary="The newest version of every template")
    doors.add("GET", "/prompts/{name}", "prompts:read", show, summary="A template")
    doors.add(
        "POST", "/prompts/{name}/render", "prompts:read", render, summary="Render a template", body={"type": "object"}
    )
