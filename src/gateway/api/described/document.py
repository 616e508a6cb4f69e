"""``GET /openapi.json``: made of the registered doors and their descriptions when it is first asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

import gateway
from gateway.api.described import words
from gateway.api.described.door import JSON, Described
from gateway.api.described.shapes import Schema, ref
from gateway.api.described.table import COMPONENTS
from gateway.api.described.v1 import HOT_DOORS, HOT_SUMMARIES, SOCKET
from gateway.api.described.work_bodies import new_task
from gateway.api.errors import dialect_of
from gateway.api.wire.model_rows import MODELS
from gateway.engine.task_types import TaskTypeSpec

_PLACE = re.compile(r"\{(\w+)\}")
_PROBLEMS = {
    "gateway": "Problem",
    "openai": "OpenAIError",
    "anthropic": "AnthropicError",
    "either": "EitherError",
    "inference": "InferenceError",
}
_PROBLEM_MEDIA = "application/problem+json"
_SOME: Schema = {"type": "string", "minLength": 1}
#: What a model call may end in beside what every call may.
_OF_CALLS = (400, 402, 404, 422, 429)


class Door(Struct, frozen=True):
    """A registered door; ``public`` needs no key."""

    method: str
    path: str
    summary: str
    permission: str
    status: int
    public: bool
    described: Described


def hot_doors(plane: Mapping[str, tuple[str, str, Any]]) -> list[Door]:
    """The doors that no room registers, with the permissions (the second of each) that the data plane asks for."""
    return [
        Door(method, path, HOT_SUMMARIES[method, path], plane[path.partition("/{")[0]][1], 200, False, said)
        for (method, path), said in HOT_DOORS.items()
    ]


def document(doors: Iterable[Door], task_types: Mapping[str, TaskTypeSpec]) -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, dict[str, Any]] = {}
    kinds: set[tuple[str, int]] = set()
    doors = list(doors)
    limits: dict[str, dict[str, Schema]] = {}
    for door in doors:
        limits.setdefault(door.path, {}).update(door.described.places)
    for door in doors:
        place = paths.setdefault(door.path, {})
        named = _PLACE.findall(door.path)
        if named:
            place["parameters"] = [_place(name, limits[door.path].get(name, _SOME)) for name in named]
        place[door.method.lower()] = _operation(door, kinds)
    paths["/ws"] = {"get": _handshake()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Gnanam AI Gateway",
            "version": gateway.__version__,
            "summary": "One door to every model of the Gnanam ESG platform",
            "description": words.DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/", "description": "where this document came from"}],
        "tags": [{"name": name, "description": said} for name, said in words.TAGS.items()],
        "security": _secured(),
        "paths": paths,
        "components": {
            "schemas": {**COMPONENTS, "NewTask": new_task(task_types)},
            "responses": {_error_name(dialect, status): _error(dialect, status) for dialect, status in sorted(kinds)},
            "parameters": {name: param.view("header") for name, param in words.HEADERS.items()},
            "headers": dict(words.ANSWER_HEADERS),
            "securitySchemes": dict(words.SECURITY),
        },
    }


def operation_id(method: str, path: str) -> str:
    """The name of an operation."""
    return re.sub(r"\W+", "_", f"{method}{path}").strip("_").lower()


def statuses(door: Door) -> list[int]:
    """The errors that the door may answer; others are 5xx."""
    said = door.described
    found = set(said.errors)
    found |= set() if door.public else {401, 403}
    if "{" in door.path:
        found |= {404}
    if said.query:
        found |= {422}
    if any(param.name in ("cursor", "after") for param in said.query):
        found |= {400}
    if said.body is not None:
        found |= {400, 413, 415, 422}
    if said.calls:
        found |= set(_OF_CALLS)
    if dialect_of(door.path) != "gateway" and 422 in found:
        found = (found - {422}) | {400}
    return sorted(found | ({409, 422} if said.once else set()))


def _operation(door: Door, kinds: set[tuple[str, int]]) -> dict[str, Any]:
    said = door.described
    found: dict[str, Any] = {
        "operationId": operation_id(door.method, door.path),
        "summary": door.summary,
        "tags": [said.tag],
        "x-permission": door.permission,
    }
    if said.says:
        found["description"] = said.says
    if door.public:
        found["security"] = []
    headers = ("Idempotency-Key", *said.headers) if said.once else said.headers
    parameters = [param.view("query") for param in said.query]
    parameters += [{"$ref": f"#/components/parameters/{name}"} for name in headers]
    if parameters:
        found["parameters"] = parameters
    if said.body is not None:
        found["requestBody"] = {"required": True, "content": {said.body_media: {"schema": said.body}}}
    dialect = "either" if door.path.startswith(MODELS) else dialect_of(door.path)
    errors = {status: _error_ref(dialect, status, kinds) for status in statuses(door)}
    good = {status: _good(door, status) for status in (door.status, said.also) if status is not None}
    answers = {str(status): answer for status, answer in sorted((errors | good).items())}
    found["responses"] = {**answers, "default": _error_ref(dialect, 500, kinds)}
    return found


def _good(door: Door, status: int) -> dict[str, Any]:
    said = door.described
    found: dict[str, Any] = {"description": words.GOOD[status]}
    content: dict[str, Any] = {} if said.answer is None else {JSON: {"schema": said.answer}}
    content |= {media: {"schema": schema} for media, schema in said.media.items()}
    if content:
        found["content"] = content
    headers = ["Location"] if status in (201, 202) and door.method == "POST" else []
    headers += ["x-gateway-model", "x-gateway-cost-usd"] if said.calls and said.once else []
    if headers:
        found["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in headers}
    return found


def _error_ref(dialect: str, status: int, kinds: set[tuple[str, int]]) -> dict[str, Any]:
    kinds.add((dialect, status))
    return {"$ref": f"#/components/responses/{_error_name(dialect, status)}"}


def _error_name(dialect: str, status: int) -> str:
    return f"{_PROBLEMS[dialect]}-{'other' if status == 500 else status}"


def _error(dialect: str, status: int) -> dict[str, Any]:
    media = _PROBLEM_MEDIA if dialect == "gateway" else JSON
    found: dict[str, Any] = {
        "description": words.ERRORS.get(status, words.OTHER_ERROR),
        "content": {media: {"schema": ref(_PROBLEMS[dialect])}},
    }
    if status == 429:
        found["headers"] = {"Retry-After": {"$ref": "#/components/headers/Retry-After"}}
    return found


def _place(name: str, schema: Schema) -> dict[str, Any]:
    said = words.PLACES.get(name)
    return {"name": name, "in": "path", "required": True, "schema": schema} | ({"description": said} if said else {})


def _handshake() -> dict[str, Any]:
    return {
        "operationId": "get_ws",
        "summary": "Events as they happen (WebSocket)",
        "description": SOCKET.says,
        "tags": [SOCKET.tag],
        "x-permission": "tasks:read",
        "security": [*_secured(), {}],
        "parameters": [param.view("query") for param in SOCKET.query],
        "responses": {
            "101": {"description": "the connection is a WebSocket"},
            "403": {"description": "no valid credential, or a page of another origin"},
            "404": {"description": "no handshake of a WebSocket"},
        },
    }


def _secured() -> list[dict[str, list[str]]]:
    return [{name: []} for name in words.SECURITY]
