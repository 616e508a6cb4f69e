"""``/ws``: events as they happen, to those who may see them.

Credentials come with the handshake (header), or as the first message ``{"type": "auth", "token"}``
for browsers, which cannot set headers. ``{"type": "subscribe", "run_id"?, "task_id"?, "types"?,
"last_event_id"?}`` narrows and resumes, as do query parameters of the same names (``types`` with
commas), which hold from the first event on; without either a connection hears all that its caller may
see, from its handshake (or the word that it is authenticated) on. A reader that does not keep up is
dropped with code 4008 and may resume.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from gateway.api.doors import authenticate
from gateway.api.errors import problem
from gateway.api.event_feed import EventFeed
from gateway.api.services import Services
from gateway.errors import BadRequest, GatewayError, NotAuthenticated, ValidationFailed
from gateway.events.event import EVENT_TYPES
from gateway.governance.validators import decode_object, refuse_unknown, text_field, whole_field
from gateway.security.access import Caller
from gateway.tasks.views import event_view

_log = logging.getLogger(__name__)
_ENCODER = msgspec.json.Encoder(decimal_format="number")
UNAUTHENTICATED, FORBIDDEN, BAD_MESSAGE, TOO_SLOW, EXPIRED = 4401, 4403, 4400, 4008, 4402
_AUTH_SECONDS = 10.0
_SEND_SECONDS = 10.0
_LARGEST_MESSAGE = 16_384
_RECHECK_SECONDS = 30.0
_BATCH = 200


class EventSocket:
    """The endpoint."""

    def __init__(self, services: Services, feed: EventFeed) -> None:
        self._services = services
        self._feed = feed

    async def serve(self, socket: WebSocket) -> None:
        """One connection from handshake to close."""
        if not self._origin_allowed(socket):
            await socket.close(FORBIDDEN)
            return
        headers = {name.lower(): value for name, value in socket.headers.items()}
        with_credential = "authorization" in headers or "x-api-key" in headers
        try:
            caller = await authenticate(self._services, headers) if with_credential else None
        except GatewayError:
            await socket.close(UNAUTHENTICATED)
            return
        start = None
        if caller is not None:  # what happens once the client knows that it is connected is heard
            with contextlib.suppress(GatewayError):  # asked again, and told, once the connection is there
                start = await self._feed.latest()
        await socket.accept()
        try:
            if caller is None:
                headers = await self._first_message(socket)
                caller = await authenticate(self._services, headers)
                start = await self._feed.latest()
                await self._send(socket, {"type": "authenticated", "principal": caller.principal})
            caller.require("tasks:read")
            await self._converse(socket, caller, headers, start)
        except WebSocketDisconnect:
            return
        except NotAuthenticated:
            await self._close(socket, UNAUTHENTICATED, "no valid credential")
        except GatewayError as error:
            with contextlib.suppress(WebSocketDisconnect, RuntimeError, TimeoutError):  # it may be gone already
                await self._send(socket, {"type": "error", "error": problem(error, "")})
            await self._close(socket, BAD_MESSAGE, error.code)
        except TimeoutError:
            await self._close(socket, TOO_SLOW, "the reader does not keep up; resume from last_event_id")

    async def _converse(self, socket: WebSocket, caller: Caller, headers: dict[str, str], start: int | None) -> None:
        """Sends events; each ``subscribe`` message replaces what is listened to. ``start``: where to begin unless
        the client says."""
        wanted = await self._subscription(caller, _asked_of(socket.query_params), start)
        reading = asyncio.create_task(self._read(socket))
        telling = asyncio.create_task(self._tell(socket, caller, headers, wanted))
        try:
            while True:
                done, _ = await asyncio.wait({reading, telling}, return_when=asyncio.FIRST_COMPLETED)
                if telling in done:
                    telling.result()
                    return
                message = reading.result()
                following = await self._subscription(caller, message)
                telling.cancel()
                with contextlib.suppress(asyncio.CancelledError):  # cancelled just above
                    await telling
                if "last_event_id" not in message:
                    await self._tell_rest(socket, caller, wanted, following["after"])
                wanted = following
                telling = asyncio.create_task(self._tell(socket, caller, headers, wanted))
                reading = asyncio.create_task(self._read(socket))
        finally:
            for task in (reading, telling):
                task.cancel()
            await asyncio.gather(reading, telling, return_exceptions=True)

    async def _tell(self, socket: WebSocket, caller: Caller, headers: dict[str, str], wanted: dict[str, Any]) -> None:
        checked = time.monotonic()
        async for event in self._feed.listen(
            caller,
            wanted["after"],
            run_id=wanted.get("run_id"),
            task_id=wanted.get("task_id"),
            types=wanted.get("types", ()),
        ):
            if time.monotonic() - checked > _RECHECK_SECONDS:
                await authenticate(self._services, headers)  # a revoked key hears no more
                checked = time.monotonic()
            if event is not None:
                await self._send(socket, event_view(event))
                wanted["after"] = event.id

    async def _tell_rest(self, socket: WebSocket, caller: Caller, wanted: dict[str, Any], until: int) -> None:
        """What ``wanted`` had still to tell where another subscription begins: nothing is lost between the two."""
        while True:
            batch = await asyncio.to_thread(self._services.desk.events, caller, limit=_BATCH, **wanted)
            for event in batch:
                if event.id > until:
                    return
                await self._send(socket, event_view(event))
                wanted["after"] = event.id
            if len(batch) < _BATCH:
                return

    async def _read(self, socket: WebSocket) -> dict[str, Any]:
        """The next message that is not empty."""
        text = await socket.receive_text()
        if len(text) > _LARGEST_MESSAGE:
            raise BadRequest(f"a message has at most {_LARGEST_MESSAGE} characters")
        return decode_object(text.encode("utf-8", "surrogatepass"))

    async def _subscription(self, caller: Caller, message: dict[str, Any], start: int | None = None) -> dict[str, Any]:
        kind = message.get("type")
        if kind != "subscribe":
            raise ValidationFailed("type: subscribe is the only message after auth", param="type")
        refuse_unknown(message, ("type", "run_id", "task_id", "types", "last_event_id"), "")
        types = message.get("types", [])
        if not isinstance(types, list) or any(item not in EVENT_TYPES for item in types):
            raise ValidationFailed(f"types: a list of {', '.join(EVENT_TYPES)}", param="types")
        asked = whole_field(message, "last_event_id", "", 0, 2**62)
        after = start if asked is None else asked
        wanted: dict[str, Any] = {
            "after": await self._feed.latest() if after is None else after,
            "run_id": text_field(message, "run_id", longest=100) or None,
            "task_id": text_field(message, "task_id", longest=100) or None,
            "types": tuple(types),
        }
        await asyncio.to_thread(self._services.desk.events, caller, limit=1, **wanted)  # refuses what is not theirs
        return wanted

    async def _first_message(self, socket: WebSocket) -> dict[str, str]:
        try:
            async with asyncio.timeout(_AUTH_SECONDS):
                message = await self._read(socket)
        except TimeoutError:
            raise NotAuthenticated("no credential came in time") from None
        token = message.get("token")
        if message.get("type") != "auth" or not isinstance(token, str):
            raise NotAuthenticated("the first message is no credential", mend='send {"type": "auth", "token": "…"}')
        return {"authorization": f"Bearer {token}"}

    async def _send(self, socket: WebSocket, message: dict[str, Any]) -> None:
        async with asyncio.timeout(_SEND_SECONDS):
            await socket.send_text(_ENCODER.encode(message).decode())

    async def _close(self, socket: WebSocket, code: int, reason: str) -> None:
        if socket.application_state is not WebSocketState.DISCONNECTED:
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # the other side may be gone
                await socket.close(code, reason[:120])

    def _origin_allowed(self, socket: WebSocket) -> bool:
        """Browsers say where a page came from: it must be this server, or on the list."""
        origin = socket.headers.get("origin")
        if origin is None:
            return True
        return (
            urlsplit(origin).netloc == socket.headers.get("host") or origin in self._services.settings.allowed_origins
        )


def _asked_of(query: Mapping[str, str]) -> dict[str, Any]:
    """The ``subscribe`` message that the query parameters stand for."""
    message: dict[str, Any] = {"type": "subscribe", **query}
    if "types" in query:
        message["types"] = list(filter(None, query["types"].split(",")))
    last = query.get("last_event_id", "")
    if last.isascii() and last.isdigit():
        message["last_event_id"] = int(last[:19])
    return message
