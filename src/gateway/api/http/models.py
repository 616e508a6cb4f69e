"""``/models``: what there is, its versions, metrics and input schema; promotion and rollback."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from starlette.responses import Response

from gateway.api.doors import Call, Doors, json_response
from gateway.api.http.params import whole_of
from gateway.clock import rfc3339
from gateway.errors import ModelNotFound, NotSupported, ValidationFailed
from gateway.events.event import EventDraft
from gateway.governance.validators import refuse_unknown, text_field, whole_field
from gateway.models.call import CallContext
from gateway.models.llm_models import Chat, Message, TextPart
from gateway.models.ml_models import ModelVersion
from gateway.models.selection import FIELDS, read_selection
from gateway.registry.catalogue import API_MODEL_TYPES, Catalogue, ModelSpec
from gateway.registry.model_registry import CHAMPION, Alias

_MOST_TOKENS = 2_000_000


async def listing(call: Call) -> Response:
    catalogue = call.services.catalogue.current
    names = [name for name in catalogue.models if call.caller.may_use_model(name)]

    def views() -> list[dict[str, Any]]:
        return [_view(call, catalogue, catalogue.models[name], whole=False) for name in names]

    return json_response(
        {"models": await asyncio.to_thread(views), "defaults": catalogue.defaults, "config": catalogue.epoch}
    )


async def show(call: Call) -> Response:
    catalogue = call.services.catalogue.current
    spec = _spec(call, catalogue)
    return json_response(await asyncio.to_thread(_view, call, catalogue, spec, whole=True))


async def promote(call: Call) -> Response:
    body = await call.body()
    refuse_unknown(body, ("version", "alias"), "")
    version = whole_field(body, "version", "", 1, 2**31 - 1)
    if version is None:
        raise ValidationFailed("version is missing", mend="GET /models/{name} lists versions", param="version")
    alias = text_field(body, "alias") or CHAMPION
    name = _spec(call, call.services.catalogue.current).name

    def act() -> Alias:
        moved = call.services.registry.promote(name, version, alias=alias, by=call.caller.principal)
        _tell(call, moved)
        return moved

    return json_response(_alias(await asyncio.to_thread(act)))


async def rollback(call: Call) -> Response:
    body = await call.body()
    refuse_unknown(body, ("alias",), "")
    alias = text_field(body, "alias") or CHAMPION
    name = _spec(call, call.services.catalogue.current).name

    def act() -> Alias:
        moved = call.services.registry.rollback(name, alias=alias, by=call.caller.principal)
        _tell(call, moved)
        return moved

    return json_response(_alias(await asyncio.to_thread(act)))


def _tell(call: Call, moved: Alias) -> None:
    payload = {"model": moved.model, "alias": moved.alias, "version": moved.version, "previous": moved.previous}
    call.services.events.add([EventDraft("model_promoted", call.caller.principal, payload=payload)], moved.updated_at)


async def route(call: Call) -> Response:
    """The plan of a call now; nothing is sent. ``draw`` (0 to 1) stands for chance; of a model that is
    chosen, ``input_tokens`` and the fields of ``models.selection`` say what the call would ask."""
    catalogue = call.services.catalogue.current
    spec = _spec(call, catalogue)
    if spec.type != "llm":
        raise NotSupported(f"{spec.name} is a {spec.type} model: it has no route", param="name")
    notes: dict[str, Any] = {}
    plan = call.services.chat.explain(
        call.caller, spec.name, _chat(call, spec.name), draw=_draw(call), call=_limits(call), notes=notes
    )
    health = call.services.health
    failures = health.failures()
    steps = [
        {
            "model": name,
            "provider": catalogue.models[name].provider,
            "configured": catalogue.provider(catalogue.models[name].provider).configured,
            "reason": reason.removeprefix(f"{name}: "),
            "healthy": health.is_healthy(name),
            "failures": failures.get(name, 0),
            "calls_under_way": health.busy(name),
            "latency_seconds": health.latency(name),
        }
        for name, reason in zip(plan.models, plan.reasons, strict=True)
    ]
    strategy = "one deployment" if spec.route is None else spec.route.strategy
    body = {"model": spec.name, "strategy": strategy, "config_epoch": catalogue.epoch, "plan": steps, **notes}
    return json_response(body)


def _limits(call: Call) -> CallContext:
    given = {name: text for name in FIELDS if (text := call.query(name)) is not None}
    selection = read_selection(given, "") if given else None
    return CallContext(call.request_id, "explain", selection=selection)


def _chat(call: Call, model: str) -> Chat:
    """A chat of about ``input_tokens``."""
    tokens = whole_of(call, "input_tokens") or 1
    if tokens > _MOST_TOKENS:
        raise ValidationFailed(f"input_tokens: at most {_MOST_TOKENS}", param="input_tokens")
    return Chat(model, (Message("user", (TextPart("…." * tokens),)),))


def _draw(call: Call) -> float | None:
    given = call.query("draw")
    if given is None:
        return None
    try:
        draw = float(given)
    except ValueError:
        draw = -1.0
    if not 0 <= draw <= 1:
        raise ValidationFailed("draw: a number from 0 to 1 is expected", param="draw")
    return draw


def _spec(call: Call, catalogue: Catalogue) -> ModelSpec:
    name = call.path("name")
    if not call.caller.may_use_model(name):
        raise ModelNotFound("no model of that name is open to this key", mend="GET /models lists those you may use")
    return catalogue.model(name)


def _view(call: Call, catalogue: Catalogue, spec: ModelSpec, *, whole: bool) -> dict[str, Any]:
    provider = catalogue.provider(spec.provider)
    view: dict[str, Any] = {
        "name": spec.name,
        "type": spec.type,
        "provider": spec.provider,
        "upstream_model": spec.upstream_model or spec.name,
        "description": spec.description,
        "configured": provider.configured,
        "parameters": spec.parameters,
    }
    if not provider.configured:
        view["missing"] = list(provider.missing)
    if spec.type in API_MODEL_TYPES:
        view |= {"context_window": spec.context_window, "max_output_tokens": spec.max_output_tokens}
        view |= {"quality": spec.quality, "capabilities": list(spec.capabilities)} if spec.route is None else {}
        return view
    versions = call.services.registry.versions(spec.name)
    serving = next((item for item in versions if (spec.alias or CHAMPION) in item.aliases), None)
    view |= {
        "ready": serving is not None,
        "version": None if serving is None else serving.version,
        "metrics": {} if serving is None else serving.metrics,
        "schema": None if serving is None else msgspec.to_builtins(serving.schema),
        "versions": [version_view(item, whole=whole) for item in versions],
    }
    return view


def version_view(version: ModelVersion, *, whole: bool = True) -> dict[str, Any]:
    """A version as people see it; ``whole`` adds its card, libraries and hashes."""
    view: dict[str, Any] = {
        "version": version.version,
        "aliases": list(version.aliases),
        "family": version.family,
        "metrics": version.metrics,
        "artifact": version.artifact,
        "created_at": rfc3339(version.created_at),
        "created_by": version.created_by,
    }
    if whole:
        view |= {
            "format": version.format,
            "card": version.card,
            "data_hash": version.data_hash,
            "seed": version.seed,
            "libraries": version.libraries,
        }
    return view


def _alias(alias: Alias) -> dict[str, Any]:
    return {**msgspec.to_builtins(alias), "updated_at": rfc3339(alias.updated_at)}


def add(doors: Doors) -> None:
    """Registers these routes."""
    doors.add("GET", "/models", "models:read", listing, summary="Every model you may use")
    doors.add("GET", "/models/{name}", "models:read", show, summary="A model, its versions and input schema")
    doors.add("GET", "/models/{name}/route", "models:read", route, summary="Which deployments answer now, and why")
    doors.add(
        "POST",
        "/models/{name}/promote",
        "models:write",
        promote,
        summary="Point an alias at a version",
    )
    doors.add(
        "POST",
        "/models/{name}/rollback",
        "models:write",
        rollback,
        summary="Point an alias back",
    )
