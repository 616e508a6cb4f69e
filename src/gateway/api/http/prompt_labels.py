"""``/prompts/{name}/labels``: where labels point, moving them, and rolling them back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from starlette.responses import Response

from gateway.api.doors import Call, Doors, json_response
from gateway.api.wire.prompt_bodies import read_targets
from gateway.clock import rfc3339
from gateway.governance.validators import refuse_unknown, text_field, whole_field
from gateway.registry.prompt_labels import GUARDED, LabelMove

_LONGEST_REASON = 1000


async def show(call: Call) -> Response:
    """Where it points now, and every move that brought it there, newest first."""
    moves = await asyncio.to_thread(call.services.prompts.labels.history, call.path("name"), call.path("label"))
    return json_response({**_view(moves[0]), "history": [_view(move) for move in moves]})


async def point(call: Call) -> Response:
    body = await call.body()
    refuse_unknown(body, ("version", "split", "reason"), "")
    targets, reason = read_targets(body), text_field(body, "reason", longest=_LONGEST_REASON)
    prompts, by = call.services.prompts, call.caller.principal
    return await _move(call, lambda name, label: prompts.point(name, label, targets, by, reason))


async def rollback(call: Call) -> Response:
    body = await call.body()
    refuse_unknown(body, ("revision", "reason"), "")
    revision, reason = (
        whole_field(body, "revision", "", 1, 2**31 - 1),
        text_field(body, "reason", longest=_LONGEST_REASON),
    )
    prompts, by = call.services.prompts, call.caller.principal
    return await _move(call, lambda name, label: prompts.rollback(name, label, by, reason, revision))


async def remove(call: Call) -> Response:
    reason = (call.query("reason") or "")[:_LONGEST_REASON]
    prompts, by = call.services.prompts, call.caller.principal
    return await _move(call, lambda name, label: prompts.remove(name, label, by, reason))


async def _move(call: Call, act: Callable[[str, str], LabelMove]) -> Response:
    """Moves a label and puts on record what the door's own record does not say: from where to where, and why."""
    name, label = call.path("name"), call.path("label")
    if label in GUARDED:
        call.caller.require("prompts:promote")

    def moved() -> LabelMove:
        before = _targets(call, name, label)
        found = act(name, label)
        call.services.audit.record(
            actor=call.caller.principal,
            action=f"prompt.label.{found.action}",
            resource=f"prompt:{name}@{label}",
            outcome="completed",
            request_id=call.request_id,
            detail={
                "revision": found.revision,
                "before": before,
                "after": msgspec.to_builtins(found.targets),
                "reason": found.reason,
            },
        )
        return found

    return json_response(_view(await asyncio.to_thread(moved)))


def _targets(call: Call, name: str, label: str) -> Any:
    call.services.prompts.get(name, param="name")
    current = call.services.prompts.labels.current(name, label)
    return [] if current is None else msgspec.to_builtins(current.targets)


def _view(move: LabelMove) -> dict[str, Any]:
    return {**msgspec.to_builtins(move), "at": rfc3339(move.at)}


def add(doors: Doors) -> None:
    """Registers these routes. Moving ``production`` needs ``prompts:promote`` besides."""
    place = "/prompts/{name}/labels/{label}"
    doors.add("GET", place, "prompts:read", show, summary="Where a label points, and its moves")
    doors.add("PUT", place, "prompts:write", point, summary="Point a label at a version, or at several")
    doors.add("DELETE", place, "prompts:write", remove, summary="Take a label away")
    doors.add(
        "POST",
        place + "/rollback",
        "prompts:write",
        rollback,
        summary="Point a label back",
    )
