"""``/schedules`` and backfill: workflows run at times of a cron expression."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.responses import Response

from gateway.api.doors import Call, Doors, json_response
from gateway.api.http.idempotent import once


async def create(call: Call) -> Response:
    body = await call.body()
    return await once(call, body, lambda: _create(call, body))


async def _create(call: Call, body: dict[str, Any]) -> Response:
    made = await asyncio.to_thread(call.services.schedules.create, call.caller, body, call.request_id)
    return json_response(made, 201, {"location": f"/schedules/{made['schedule_id']}"})


async def listing(call: Call) -> Response:
    return json_response({"schedules": await asyncio.to_thread(call.services.schedules.all, call.caller)})


async def show(call: Call) -> Response:
    return json_response(await asyncio.to_thread(call.services.schedules.show, call.caller, call.path("schedule_id")))


async def pause(call: Call) -> Response:
    return await _set(call, active=False)


async def resume(call: Call) -> Response:
    return await _set(call, active=True)


async def _set(call: Call, *, active: bool) -> Response:
    schedule_id = call.path("schedule_id")
    return json_response(await asyncio.to_thread(call.services.schedules.set_active, call.caller, schedule_id, active))


async def remove(call: Call) -> Response:
    await asyncio.to_thread(call.services.schedules.remove, call.caller, call.path("schedule_id"))
    return Response(status_code=204)


async def backfill(call: Call) -> Response:
    body = await call.body()
    return await once(call, body, lambda: _backfill(call, body))


async def _backfill(call: Call, body: dict[str, Any]) -> Response:
    runs = await asyncio.to_thread(
        call.services.schedules.backfill, call.caller, call.path("workflow_id"), body, call.request_id
    )
    return json_response({"runs": runs}, 202)


def add(doors: Doors) -> None:
    """Registers these routes."""
    doors.add("POST", "/schedules", "workflows:run", create, summary="Run at set times", status=201)
    doors.add("GET", "/schedules", "workflows:read", listing, summary="List schedules")
    doors.add("GET", "/schedules/{schedule_id}", "workflows:read", show, summary="A schedule")
    doors.add("POST", "/schedules/{schedule_id}/pause", "workflows:run", pause, summary="Begin no more runs")
    doors.add("POST", "/schedules/{schedule_id}/resume", "workflows:run", resume, summary="Begin runs again")
    doors.add("DELETE", "/schedules/{schedule_id}", "workflows:run", remove, summary="Remove a schedule", status=204)
    doors.add(
        "POST",
        "/workflows/{workflow_id}/backfill",
        "workflows:run",
        backfill,
        summary="One run for each time of a range",
        status=202,
    )
