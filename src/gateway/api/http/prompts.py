"""``/prompts``: templates in versions that never change; rendering one; what differs between two; results."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from starlette.responses import Response

from gateway.api.doors import Call, Doors, json_response
from gateway.api.http.params import whole_of
from gateway.api.wire.prompt_bodies import read_prompt
from gateway.clock import rfc3339
from gateway.errors import ValidationFailed
from gateway.governance.validators import refuse_unknown, text_field
from gateway.models.llm_models import Chat
from gateway.money import usd
from gateway.registry.prompt_ask import PromptAsk
from gateway.registry.prompt_diff import diff
from gateway.registry.prompt_labels import LabelMove, SplitKey
from gateway.registry.prompt_results import VersionResult
from gateway.registry.prompt_version import PromptVersion
from gateway.registry.prompts import view_of_inputs
from gateway.serving.chat_order import estimate

_LONGEST_RESULTS = 366


async def create(call: Call) -> Response:
    new = read_prompt(await call.body())
    made = await asyncio.to_thread(call.services.prompts.add, new, call.caller.principal)
    return json_response(_view(made), 201, {"location": f"/prompts/{made.name}?version={made.version}"})


async def listing(call: Call) -> Response:
    def read() -> list[dict[str, Any]]:
        labels = call.services.prompts.labels.all()
        newest = call.services.prompts.newest()
        return [{**_view(item), "labels": _labels(labels, item.name)} for item in newest]

    return json_response({"prompts": await asyncio.to_thread(read)})


async def show(call: Call) -> Response:
    name, version = call.path("name"), whole_of(call, "version")

    def read() -> dict[str, Any]:
        versions = call.services.prompts.versions(name)
        found = versions[0] if version is None else call.services.prompts.get(name, version, param="version")
        labels = call.services.prompts.labels.all(name)
        return {
            **_view(found),
            "labels": _labels(labels, name),
            "versions": [
                {
                    "version": item.version,
                    "comment": item.comment,
                    "hash": item.digest,
                    "created_by": item.created_by,
                    "created_at": rfc3339(item.created_at),
                    "labels": [move.label for move in labels if item.version in {one.version for one in move.targets}],
                }
                for item in versions
            ],
        }

    return json_response(await asyncio.to_thread(read))


async def render(call: Call) -> Response:
    """The messages, and how many tokens they are: by the count of ``model`` where one is named, else about.
    Nothing is asked of a model, nothing is counted as a result."""
    body = await call.body()
    refuse_unknown(body, ("version", "label", "variables", "session", "model"), "")
    version, label = body.get("version"), text_field(body, "label", longest=64)
    if version is not None and (isinstance(version, bool) or not isinstance(version, int) or version < 1):
        raise ValidationFailed("version: a whole number from 1 is expected", param="version")
    if version is not None and label:
        raise ValidationFailed("at most one of version and label", param="version")
    session = text_field(body, "session", longest=200)
    key = SplitKey("session", session) if session else SplitKey("request", call.request_id)
    ask = PromptAsk(call.path("name"), None, version, label, body.get("variables", {}), "name")
    rendered = await asyncio.to_thread(call.services.prompts.render, ask, key)
    messages = [{"role": turn.role, "content": turn.text()} for turn in rendered.messages]
    model = text_field(body, "model", longest=200)
    chat = Chat(model, rendered.messages)
    counted = await call.services.chat.count_tokens(call.caller, chat) if model else None
    answer = {
        "prompt": rendered.note,
        "messages": messages,
        "text": "\n\n".join(turn["content"] for turn in messages),
        "defaults": msgspec.to_builtins(rendered.defaults),
        "tokens": {
            "input": estimate(chat) if counted is None else counted.tokens,
            "basis": "estimated" if counted is None else counted.basis,
        },
    }
    return json_response(answer, headers={"x-gateway-prompt": rendered.header})


async def compare(call: Call) -> Response:
    name, old, new = call.path("name"), whole_of(call, "from"), whole_of(call, "to")

    def read() -> dict[str, Any]:
        after = call.services.prompts.get(name, new, param="to")
        before = call.services.prompts.get(name, max(after.version - 1, 1) if old is None else old, param="from")
        return {"name": name, "from": before.version, "to": after.version, "changes": diff(before, after)}

    return json_response(await asyncio.to_thread(read))


async def results(call: Call) -> Response:
    name, days = call.path("name"), whole_of(call, "days") or 30
    if days > _LONGEST_RESULTS:
        raise ValidationFailed(f"days: a whole number from 1 to {_LONGEST_RESULTS} is expected", param="days")

    def read() -> list[VersionResult]:
        call.services.prompts.get(name, param="name")
        return call.services.prompts.results.read(name, days)

    found = await asyncio.to_thread(read)
    return json_response({"name": name, "days": days, "results": [_result(item) for item in found]})


def _result(item: VersionResult) -> dict[str, Any]:
    counts = item.counts
    answered = counts.calls - counts.failures
    return {
        "version": item.version,
        "label": item.label or None,
        "calls": counts.calls,
        "failures": counts.failures,
        "cost": usd(counts.cost),
        "cost_per_call": usd(counts.cost // counts.calls) if counts.calls else None,
        "latency_seconds": {
            "mean": round(counts.micros / answered / 1e6, 6) if answered and counts.micros else None,
            "p50": None if item.median_micros is None else item.median_micros / 1e6,
            "p95": None if item.p95_micros is None else item.p95_micros / 1e6,
        },
        "feedback": {"count": counts.scores, "mean": counts.score / counts.scores if counts.scores else None},
    }


def _labels(labels: list[LabelMove], name: str) -> dict[str, Any]:
    return {move.label: msgspec.to_builtins(move.targets) for move in labels if move.name == name}


def _view(prompt: PromptVersion) -> dict[str, Any]:
    view: dict[str, Any] = {"name": prompt.name, "version": prompt.version}
    if prompt.turns:
        view["messages"] = msgspec.to_builtins(prompt.turns)
    else:
        view["template"] = prompt.template
    return view | {
        "variables": view_of_inputs(prompt),
        "defaults": msgspec.to_builtins(prompt.defaults),
        "comment": prompt.comment,
        "hash": prompt.digest,
        "created_by": prompt.created_by,
        "created_at": rfc3339(prompt.created_at),
    }


def add(doors: Doors) -> None:
    """Registers these routes."""
    doors.add("POST", "/prompts", "prompts:write", create, summary="Add a version of a prompt", status=201)
    doors.add("GET", "/prompts", "prompts:read", listing, summary="The newest version of every prompt, and its labels")
    doors.add("GET", "/prompts/{name}", "prompts:read", show, summary="A prompt, its versions and labels")
    doors.add("POST", "/prompts/{name}/render", "prompts:read", render, summary="Render a prompt")
    doors.add("GET", "/prompts/{name}/diff", "prompts:read", compare, summary="What differs between two versions")
    doors.add("GET", "/prompts/{name}/results", "prompts:read", results, summary="What became of calls, by version")
