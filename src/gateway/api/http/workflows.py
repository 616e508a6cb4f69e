"""``/workflows`` and ``/runs``: define, start, ask, call off, follow. ``run_acts`` has what else is done to a run."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from starlette.responses import Response

from gateway.api.doors import Call, Doors, json_response
from gateway.api.event_stream import event_stream
from gateway.api.http.idempotent import once
from gateway.api.http.params import cursor_of, limit_of, only_queries
from gateway.api.http.run_budget import budget_of, within_budget
from gateway.api.http.waiting import until_ended, wanted_wait
from gateway.api.once import name_of
from gateway.engine.states import RUN_ENDED
from gateway.tasks.submission import read_run


async def define(call: Call) -> Response:
    body = await call.body()
    view = await asyncio.to_thread(call.services.desk.define, call.caller, body)
    return json_response(view, 201, {"location": f"/workflows/{view['workflow_id']}"})


async def listing(call: Call) -> Response:
    return json_response({"workflows": await asyncio.to_thread(call.services.desk.definitions, call.caller)})


async def show(call: Call) -> Response:
    return json_response(await asyncio.to_thread(call.services.desk.definition, call.caller, call.path("workflow_id")))


async def start(call: Call) -> Response:
    """202 with the run's place; 200 with the run itself where it ended within ``Prefer: wait=N``."""
    body = await call.body()
    return await once(call, body, lambda: _start(call, body))


async def _start(call: Call, body: dict[str, Any]) -> Response:
    desk = call.services.desk
    budget, body = budget_of(body)
    given = read_run(body)
    workflow_id, named = call.path("workflow_id"), name_of(call.request.scope, "run")
    start = partial(desk.start_run, call.caller, workflow_id, given, call.request_id)
    run = await asyncio.to_thread(within_budget, call, budget, named, start)
    wait = wanted_wait(call.request)
    if wait:
        run = await until_ended(wait, lambda: desk.run(call.caller, run["run_id"]), call.request)
    status = 200 if wait and run["status"] in RUN_ENDED else 202
    return json_response(run, status, {"location": f"/runs/{run['run_id']}"})


async def runs(call: Call) -> Response:
    page = await asyncio.to_thread(
        call.services.desk.runs,
        call.caller,
        status=call.query("status"),
        workflow_id=call.request.path_params.get("workflow_id") or call.query("workflow_id"),
        cursor=cursor_of(call, "run"),
        limit=limit_of(call),
    )
    return json_response(page)


async def run(call: Call) -> Response:
    return json_response(await asyncio.to_thread(call.services.desk.run, call.caller, call.path("run_id")))


async def children(call: Call) -> Response:
    only_queries(call, "step_id", "status", "cursor", "limit")
    page = await asyncio.to_thread(
        call.services.desk.children,
        call.caller,
        call.path("run_id"),
        step_id=call.query("step_id"),
        status=call.query("status"),
        cursor=cursor_of(call, "run"),
        limit=limit_of(call),
    )
    return json_response(page)


async def graph(call: Call) -> Response:
    return json_response(await asyncio.to_thread(call.services.desk.graph, call.caller, call.path("run_id")))


async def cancel(call: Call) -> Response:
    return json_response(await asyncio.to_thread(call.services.desk.cancel_run, call.caller, call.path("run_id")))


async def follow(call: Call) -> Response:
    return await event_stream(call, run_id=call.path("run_id"))


def add(doors: Doors) -> None:
    """Registers these routes."""
    doors.add(
        "POST",
        "/workflows",
        "workflows:write",
        define,
        summary="Define a workflow",
        status=201,
    )
    doors.add("GET", "/workflows", "workflows:read", listing, summary="Every workflow's newest definition")
    doors.add("GET", "/workflows/{workflow_id}", "workflows:read", show, summary="A workflow's newest definition")
    doors.add(
        "POST",
        "/workflows/{workflow_id}/runs",
        "workflows:run",
        start,
        summary="Start a run",
        status=202,
    )
    doors.add("GET", "/workflows/{workflow_id}/runs", "workflows:read", runs, summary="Runs of a workflow")
    doors.add("GET", "/runs", "workflows:read", runs, summary="List runs")
    doors.add("GET", "/runs/{run_id}", "workflows:read", run, summary="A run with its steps")
    doors.add("GET", "/runs/{run_id}/children", "workflows:read", children, summary="The runs within a run")
    doors.add("GET", "/runs/{run_id}/graph", "workflows:read", graph, summary="A run as nodes and edges")
    doors.add("GET", "/runs/{run_id}/events", "workflows:read", follow, summary="Follow a run (server-sent events)")
    doors.add("POST", "/runs/{run_id}/cancel", "workflows:run", cancel, summary="Cancel a run")
    doors.add("DELETE", "/runs/{run_id}", "workflows:run", cancel, summary="Cancel a run")
