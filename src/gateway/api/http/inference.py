"""``/v2``: predictive models by the Open Inference Protocol, for clients of KServe, Triton and the like.

The same call as ``/execute/ml``, in other words: one path, one entry in the ledger.
"""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

import gateway
from gateway.api.doors import Call, Doors, json_response
from gateway.api.http.execute import context_of
from gateway.api.http.idempotent import once
from gateway.api.http.system import readyz
from gateway.api.services import Services
from gateway.api.wire.headers import answer_headers
from gateway.api.wire.inference_answer import encode, metadata
from gateway.api.wire.inference_request import decode
from gateway.errors import ModelNotFound, ModelNotReady, NotSupported
from gateway.models.ml_models import ModelVersion
from gateway.registry.catalogue import API_MODEL_TYPES, ModelSpec
from gateway.serving.predict import PredictRequest

_OF_VERSION = "/v2/models/{name}/versions/{version}"


async def server(_request: Request, _services: Services) -> Response:
    """The server's card."""
    return json_response({"name": "Gnanam AI Gateway", "version": gateway.__version__, "extensions": []})


async def live(_request: Request, _services: Services) -> Response:
    """The process answers."""
    return json_response({"live": True})


async def ready(request: Request, services: Services) -> Response:
    """Whether requests can be served; ``/readyz`` says what is not."""
    status = (await readyz(request, services)).status_code
    return json_response({"ready": status == 200}, status)


async def model(call: Call) -> Response:
    """What a model takes and gives."""

    def read() -> dict[str, Any]:
        version = _version(call)
        return metadata(version, sorted(item.version for item in call.services.registry.versions(version.model)))

    return json_response(await asyncio.to_thread(read))


async def model_ready(call: Call) -> Response:
    """Whether a model can answer now; 503 where it cannot."""
    catalogue = call.services.catalogue.current

    def look() -> bool:
        try:
            version = _version(call)
        except ModelNotReady:
            return False
        return catalogue.provider(catalogue.model(version.model).provider).configured

    answers = await asyncio.to_thread(look)
    return json_response({"name": call.path("name"), "ready": answers}, 200 if answers else 503)


async def infer(call: Call) -> Response:
    """Predictions for tensors."""
    if "inference-header-content-length" in call.request.headers:
        raise NotSupported(
            "binary tensor data are not read here", mend="send tensors as JSON (tritonclient: binary_data=False)"
        )
    body = await call.body()
    return await once(call, body, lambda: _infer(call, body))


async def _infer(call: Call, body: dict[str, Any]) -> Response:
    version = await asyncio.to_thread(_version, call)
    asked = decode(body, version)
    request = PredictRequest(version.model, asked.inputs, version=version.version, explain=asked.explain)
    answer = await call.services.predict.predict(call.caller, request, context_of(call, "inference"))
    told = encode(version, answer.prediction.predictions, asked.outputs, asked.id or call.request_id)
    return json_response(told, headers=answer_headers(answer.meta))


def _version(call: Call) -> ModelVersion:
    """The version that the path names, else the one that serves; blocks."""
    spec = _spec(call)
    return call.services.registry.resolve(spec.name, _number(call, spec), spec.alias)


def _spec(call: Call) -> ModelSpec:
    name = call.path("name")
    if not call.caller.may_use_model(name):
        raise ModelNotFound("no model of that name is open to this key", mend="GET /models lists those you may use")
    spec = call.services.catalogue.current.model(name)
    if spec.type in API_MODEL_TYPES:
        raise NotSupported(
            f"{name} is a model of type {spec.type}, not a predictive one", mend="send it to the doors under /v1"
        )
    return spec


def _number(call: Call, spec: ModelSpec) -> int | None:
    given = call.request.path_params.get("version")
    if given is None:
        return None
    if not (given.isascii() and given.isdecimal() and len(given) < 10 and int(given) > 0):
        raise ModelNotFound(f"{spec.name} has no such version", mend=f"GET /v2/models/{spec.name} lists them")
    return int(given)


def add(doors: Doors) -> None:
    """Registers these routes."""
    doors.add_public("GET", "/v2", server, summary="Open Inference Protocol: the server")
    doors.add_public("GET", "/v2/health/live", live, summary="Open Inference Protocol: alive")
    doors.add_public("GET", "/v2/health/ready", ready, summary="Open Inference Protocol: ready")
    for path in ("/v2/models/{name}", _OF_VERSION):
        doors.add("GET", path, "models:read", model, summary="Open Inference Protocol: a model's inputs and outputs")
        doors.add(
            "GET", f"{path}/ready", "models:read", model_ready, summary="Open Inference Protocol: a model is ready"
        )
        doors.add(
            "POST",
            f"{path}/infer",
            "ml:execute",
            infer,
            summary="Open Inference Protocol: predictions for tensors",
        )


_TENSOR = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1, "maxItems": 2},
        "datatype": {"type": "string"},
        "parameters": {"type": "object"},
        "data": {"type": "array"},
    },
    "required": ["name", "shape", "datatype", "data"],
}
