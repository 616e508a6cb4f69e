"""Events of a task or run as server-sent events: ``Last-Event-ID`` resumes, the end of the work ends the stream."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgspec
from starlette.responses import Response, StreamingResponse

from gateway.api.doors import Call
from gateway.api.event_feed import EventFeed
from gateway.api.http.params import whole_of
from gateway.engine.states import RUN_ENDED
from gateway.errors import NotFound, ValidationFailed
from gateway.tasks.views import event_view

#: After these nothing more is told of the work.
_LAST_OF_RUN = frozenset({"workflow_completed", "workflow_failed", "workflow_cancelled"})
_LAST_OF_TASK = frozenset({"task_completed", "task_failed", "task_cancelled"})
_ENCODER = msgspec.json.Encoder(decimal_format="number")


async def event_stream(call: Call, *, run_id: str | None = None, task_id: str | None = None) -> Response:
    """The stream; a task or run of somebody else is ``NotFound`` before it begins."""
    after = _last_event_id(call)
    desk = call.services.desk
    await asyncio.to_thread(desk.events, call.caller, after=after, run_id=run_id, task_id=task_id, limit=1)
    feed: EventFeed = call.request.app.state.feed

    async def lines() -> AsyncIterator[bytes]:
        with contextlib.suppress(NotFound):  # removed while it was listened to: there is nothing more to tell
            async for event in feed.listen(call.caller, after, run_id=run_id, task_id=task_id, silence=2.0):
                if event is not None:
                    data = _ENCODER.encode(event_view(event))
                    yield b"id: %d\nevent: %s\ndata: %s\n\n" % (event.id, event.type.encode(), data)
                    if event.type in (_LAST_OF_TASK if task_id else _LAST_OF_RUN):
                        return
                elif await asyncio.to_thread(_ended):
                    return
                else:
                    yield b": waiting\n\n"

    def _ended() -> bool:
        view = desk.run(call.caller, run_id) if run_id else desk.task(call.caller, task_id or "")
        return view["status"] in RUN_ENDED

    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(lines(), media_type="text/event-stream", headers=headers)


def _last_event_id(call: Call) -> int:
    text = call.request.headers.get("last-event-id")
    if text is None:
        return whole_of(call, "last_event_id") or 0
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ValidationFailed("Last-Event-ID: a whole number", param="Last-Event-ID")
    return int(text)
