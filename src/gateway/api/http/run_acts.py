"""``/runs/{id}/…`` and ``/approvals``: pause, go on, approve, refuse, signal, begin again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.responses import Response

from gateway.api.doors import Call, Doors, json_response
from gateway.api.http.idempotent import once
from gateway.engine.checks import name_at
from gateway.errors import DefinitionInvalid, ValidationFailed
from gateway.governance.validators import refuse_unknown, text_field
from gateway.tasks.submission import read_rerun

_LONGEST_REASON = 2000


async def pause(call: Call) -> Response:
    return await _acted(call, call.services.control.pause)


async def resume(call: Call) -> Response:
    return await _acted(call, call.services.control.resume)


async def _acted(call: Call, act: Callable[[Any, str, str], None]) -> Response:
    def run() -> dict[str, Any]:
        act(call.caller, call.path("run_id"), call.request_id)
        return call.services.desk.run(call.caller, call.path("run_id"))

    return json_response(await asyncio.to_thread(run))


async def approve(call: Call) -> Response:
    """A person's word on a step; 200 with what was decided."""
    body = await call.body()
    refuse_unknown(body, ("step_id", "approved", "reason"), "")
    step_id, reason = text_field(body, "step_id", required=True), text_field(body, "reason")
    approved = body.get("approved", True)
    if not isinstance(approved, bool):
        raise ValidationFailed("approved: true or false", param="approved")
    if len(reason) > _LONGEST_REASON:
        raise ValidationFailed(f"reason: at most {_LONGEST_REASON} characters", param="reason")
    if not approved and not reason:
        raise ValidationFailed("reason: say why not", mend="the run's owner reads it", param="reason")
    run_id = call.path("run_id")

    def decide() -> None:
        call.services.control.decide(
            call.caller, run_id, step_id, approved=approved, reason=reason, request_id=call.request_id
        )

    await asyncio.to_thread(decide)
    told = {"run_id": run_id, "step_id": step_id, "approved": approved, "by": call.caller.principal, "reason": reason}
    return json_response(told)


async def signal(call: Call) -> Response:
    """202; ``heard`` tells whether a step waited for it already."""
    body = await call.body()
    refuse_unknown(body, ("payload",), "")
    run_id, name = call.path("run_id"), _signal_name(call.path("name"))
    heard = await asyncio.to_thread(
        call.services.control.signal, call.caller, run_id, name, body.get("payload"), call.request_id
    )
    return json_response({"run_id": run_id, "signal": name, "heard": heard}, 202)


def _signal_name(given: str) -> str:
    try:
        return name_at(given, "name")
    except DefinitionInvalid as error:
        raise ValidationFailed(error.message, mend=error.mend, param="name") from None


async def retry(call: Call) -> Response:
    """202 with the new run."""
    body = await call.body()
    return await once(call, body, lambda: _retry(call, body))


async def _retry(call: Call, body: dict[str, Any]) -> Response:
    given = read_rerun(body)

    def begin() -> dict[str, Any]:
        run_id = call.services.control.again(call.caller, call.path("run_id"), given, call.request_id)
        return call.services.desk.run(call.caller, run_id)

    run = await asyncio.to_thread(begin)
    return json_response(run, 202, {"location": f"/runs/{run['run_id']}"})


async def approvals(call: Call) -> Response:
    return json_response({"approvals": await asyncio.to_thread(call.services.control.approvals, call.caller)})


def add(doors: Doors) -> None:
    """Registers these routes."""
    doors.add("POST", "/runs/{run_id}/pause", "workflows:run", pause, summary="Begin nothing new of a run")
    doors.add("POST", "/runs/{run_id}/resume", "workflows:run", resume, summary="Let a paused run go on")
    doors.add("POST", "/runs/{run_id}/retry", "workflows:run", retry, summary="Begin a run again", status=202)
    doors.add("POST", "/runs/{run_id}/approve", "runs:approve", approve, summary="Approve or refuse a step")
    doors.add(
        "POST",
        "/runs/{run_id}/signals/{name}",
        "workflows:run",
        signal,
        summary="Send a run a signal",
        status=202,
    )
    doors.add("GET", "/approvals", "runs:approve", approvals, summary="Steps that wait for your word")
