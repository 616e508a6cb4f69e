"""What runs were made of and whether they come out the same, and steps that failed for good."""

from __future__ import annotations

import asyncio

from starlette.responses import Response

from gateway.api.doors import Call, Doors, json_response
from gateway.api.http.params import limit_of


async def lineage(call: Call) -> Response:
    return json_response(await asyncio.to_thread(call.services.history.lineage, call.caller, call.path("run_id")))


async def replay(call: Call) -> Response:
    """202 with the new run."""
    run_id = await asyncio.to_thread(call.services.history.replay, call.caller, call.path("run_id"), call.request_id)
    return await _begun(call, run_id)


async def letters(call: Call) -> Response:
    found = await asyncio.to_thread(call.services.history.dead_letters, call.caller, limit_of(call))
    return json_response({"dead_letters": found})


async def replay_letter(call: Call) -> Response:
    """202 with the new run."""
    run_id = await asyncio.to_thread(
        call.services.history.replay_dead_letter, call.caller, call.path("task_id"), call.request_id
    )
    return await _begun(call, run_id)


async def dismiss(call: Call) -> Response:
    await asyncio.to_thread(call.services.history.dismiss, call.caller, call.path("task_id"))
    return Response(status_code=204)


async def _begun(call: Call, run_id: str) -> Response:
    run = await asyncio.to_thread(call.services.desk.run, call.caller, run_id)
    return json_response(run, 202, {"location": f"/runs/{run_id}"})


def add(doors: Doors) -> None:
    """Registers these routes."""
    doors.add("GET", "/runs/{run_id}/lineage", "workflows:read", lineage, summary="What a run was made of")
    doors.add(
        "POST", "/runs/{run_id}/replay", "workflows:run", replay, summary="Repeat a run from kept answers", status=202
    )
    doors.add("GET", "/dead-letters", "tasks:read", letters, summary="Steps that failed for good")
    doors.add(
        "POST", "/dead-letters/{task_id}/replay", "workflows:run", replay_letter, summary="Do it again", status=202
    )
    doors.add("DELETE", "/dead-letters/{task_id}", "tasks:write", dismiss, summary="Let it be", status=204)
