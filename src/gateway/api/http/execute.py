"""``/execute/llm`` and ``/execute/ml``: one model call, answered at once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response

from gateway.api.doors import Call, Doors, json_response
from gateway.api.http.idempotent import once
from gateway.api.once import CAUSE
from gateway.api.wire.headers import answer_headers, cache_seconds
from gateway.errors import ValidationFailed
from gateway.governance.validators import refuse_unknown, text_field
from gateway.ids import new_id
from gateway.models.call import CallContext
from gateway.models.selection import read_selection, selection_of_headers
from gateway.models.tags import read_tags
from gateway.money import usd
from gateway.registry.prompt_labels import SplitKey
from gateway.serving.predict import PredictRequest
from gateway.telemetry.traces import child_of
from gateway.workflows.chat_input import chat_of, rendered_of, result_of

_CONFIG = ("name", "provider", "parameters", "version", "alias", "selection")
_TEMPLATE = ("template", "variables", "version", "label")
_LLM_DATA = ("prompt", "messages", *_TEMPLATE)
_ML_DATA = ("features", "rows", "series", "horizon")


async def llm(call: Call) -> Response:
    body = await call.body()
    return await once(call, body, lambda: _llm(call, body))


async def _llm(call: Call, body: dict[str, Any]) -> Response:
    config, data = _parts(body)
    refuse_unknown(data, _LLM_DATA, "input_data")
    session = call.request.headers.get("x-gateway-session", "")[:200]
    key = SplitKey("session", session) if session else SplitKey("request", call.request_id)
    rendered = None
    if not data.keys().isdisjoint(_TEMPLATE):
        rendered = await asyncio.to_thread(rendered_of, data, call.caller, call.services.prompts, key)
    model = _model(call, config, "llm", "" if rendered is None else rendered.defaults.model)
    chat = chat_of(model, config.get("parameters") or {}, data, rendered)
    provider = text_field(config, "provider", "model_config") or None
    context = context_of(call, "execute", {} if rendered is None else rendered.notes)
    if config.get("selection") is not None:
        selection = read_selection(config["selection"], "model_config.selection")
        context = msgspec.structs.replace(context, selection=selection)
    answer = await call.services.chat.complete(call.caller, chat, context, provider=provider)
    headers = answer_headers(answer.meta)
    if rendered is not None and rendered.note is not None:
        headers["x-gateway-prompt"] = rendered.header
    return json_response(result_of(answer.reply, answer.meta, rendered), headers=headers)


async def ml(call: Call) -> Response:
    body = await call.body()
    return await once(call, body, lambda: _ml(call, body))


async def _ml(call: Call, body: dict[str, Any]) -> Response:
    config, data = _parts(body)
    refuse_unknown(data, _ML_DATA, "input_data")
    if "selection" in config:
        raise ValidationFailed(
            "model_config.selection: only language models are chosen", param="model_config.selection"
        )
    parameters = config.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise ValidationFailed("model_config.parameters: an object is expected", param="model_config.parameters")
    refuse_unknown(parameters, ("explain",), "model_config.parameters")
    explain = parameters.get("explain", True)
    if not isinstance(explain, bool):
        raise ValidationFailed(
            "model_config.parameters.explain: true or false", param="model_config.parameters.explain"
        )
    version = config.get("version")
    if version is not None and (isinstance(version, bool) or not isinstance(version, int) or not 1 <= version < 2**31):
        raise ValidationFailed("model_config.version: a whole number from 1", param="model_config.version")
    request = PredictRequest(
        model=_model(call, config, "risk_classification"),
        inputs=data,
        version=version,
        alias=text_field(config, "alias", "model_config") or None,
        explain=explain,
    )
    provider = text_field(config, "provider", "model_config") or None
    answer = await call.services.predict.predict(call.caller, request, context_of(call, "execute"), provider=provider)
    result = {
        "model": answer.model,
        "version": answer.version,
        "type": answer.family,
        "provider": answer.meta.provider,
        **msgspec.to_builtins(answer.prediction),
        "cost": usd(answer.meta.cost),
        "inference_time": answer.meta.latency_micros / 1e6,
        "request_id": call.request_id,
        "config_epoch": answer.meta.config_epoch,
    }
    return json_response(result, headers=answer_headers(answer.meta))


def context_of(call: Call, door: str, notes: Mapping[str, Any] | None = None) -> CallContext:
    """The circumstances of a call that a door makes for this request."""
    return CallContext(
        request_id=call.request_id,
        cause=call.request.scope.get(CAUSE) or new_id("call"),
        door=door,
        traceparent=child_of(call.request.headers.get("traceparent", "")),
        notes=dict(notes or {}),
        cache_seconds=cache_seconds(call.request.headers.get("x-gateway-cache", "")),
        semantic=call.request.headers.get("x-gateway-cache") == "semantic",
        optimise=call.request.headers.get("x-gateway-optimise", ""),
        selection=selection_of_headers(call.request.headers),
        tags=read_tags(call.request.headers.get("x-gateway-tags", "")),
    )


def _parts(body: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    refuse_unknown(body, ("model_config", "input_data"), "")
    config, data = body.get("model_config", {}), body.get("input_data")
    if not isinstance(config, dict):
        raise ValidationFailed("model_config: an object is expected", param="model_config")
    if not isinstance(data, dict):
        raise ValidationFailed("input_data: an object is expected", param="input_data")
    refuse_unknown(config, _CONFIG, "model_config")
    return config, data


def _model(call: Call, config: Mapping[str, Any], task_type: str, wished: str = "") -> str:
    name = (
        text_field(config, "name", "model_config") or wished or call.services.catalogue.current.default_model(task_type)
    )
    if not name:
        raise ValidationFailed(
            "model_config.name is missing", mend="GET /models lists models", param="model_config.name"
        )
    return name


def add(doors: Doors) -> None:
    """Registers these routes."""
    doors.add("POST", "/execute/llm", "llm:execute", llm, summary="Ask a language model")
    doors.add("POST", "/execute/ml", "ml:execute", ml, summary="Ask a predictive model")
