"""``/tasks``: hand in, ask, call off, follow."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.responses import Response

from gateway.api.doors import Call, Doors, json_response
from gateway.api.event_stream import event_stream
from gateway.api.http.idempotent import once
from gateway.api.http.params import cursor_of, limit_of
from gateway.api.http.waiting import until_ended, wanted_wait
from gateway.api.once import name_of
from gateway.engine.states import RUN_ENDED
from gateway.tasks.submission import read_task


async def submit(call: Call) -> Response:
    """202 with the task's place; 200 with the task itself where it ended within ``Prefer: wait=N``."""
    body = await call.body()
    return await once(call, body, lambda: _submit(call, body))


async def _submit(call: Call, body: dict[str, Any]) -> Response:
    desk = call.services.desk

    def hand_in() -> dict[str, Any]:
        given = read_task(body, desk.task_types, call.services.catalogue.current, call.caller)
        return desk.submit_task(call.caller, given, call.request_id, task_id=name_of(call.request.scope, "task"))

    task = await asyncio.to_thread(hand_in)
    wait = wanted_wait(call.request)
    if wait:
        task = await until_ended(wait, lambda: desk.task(call.caller, task["task_id"]), call.request)
    headers = {"location": f"/tasks/{task['task_id']}"}
    if wait:
        headers["preference-applied"] = f"wait={wait}"
    return json_response(task, 200 if task["status"] in RUN_ENDED and wait else 202, headers)


async def show(call: Call) -> Response:
    return json_response(await asyncio.to_thread(call.services.desk.task, call.caller, call.path("task_id")))


async def listing(call: Call) -> Response:
    page = await asyncio.to_thread(
        call.services.desk.tasks,
        call.caller,
        status=call.query("status"),
        task_type=call.query("task_type"),
        run_id=call.query("run_id"),
        cursor=cursor_of(call, "task"),
        limit=limit_of(call),
    )
    return json_response(page)


async def cancel(call: Call) -> Response:
    return json_response(await asyncio.to_thread(call.services.desk.cancel_task, call.caller, call.path("task_id")))


async def follow(call: Call) -> Response:
    return await event_stream(call, task_id=call.path("task_id"))


async def types(call: Call) -> Response:
    known = call.services.desk.task_types
    return json_response(
        {
            "task_types": [
                {
                    "name": spec.name,
                    "summary": spec.summary,
                    "inputs": list(spec.inputs),
                    "required": list(spec.required),
                    "outputs": list(spec.outputs),
                    "queue": spec.queue,
                    "input_schema": spec.input_schema,
                    "output_schema": spec.output_schema,
                    "default_model": call.services.catalogue.current.default_model(spec.name),
                }
                for spec in known.values()
            ]
        }
    )


def add(doors: Doors) -> None:
    """Registers these routes."""
    doors.add("POST", "/tasks", "tasks:write", submit, summary="Submit a task", status=202)
    doors.add("GET", "/tasks", "tasks:read", listing, summary="List tasks")
    doors.add("GET", "/tasks/{task_id}", "tasks:read", show, summary="A task with its result")
    doors.add("DELETE", "/tasks/{task_id}", "tasks:write", cancel, summary="Cancel a task")
    doors.add("GET", "/tasks/{task_id}/events", "tasks:read", follow, summary="Follow a task (server-sent events)")
    doors.add("GET", "/task-types", "tasks:read", types, summary="Every task type, what it takes and gives")
