"""``Idempotency-Key`` on the hot doors: an answer's bytes are kept as they go out, streams too."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.api.body import read_body
from gateway.api.doors import authenticate, error_response
from gateway.api.lean import LEAN
from gateway.api.once import CAUSE, digest_of
from gateway.api.services import Services
from gateway.errors import BadRequest, GatewayError, ValidationFailed
from gateway.governance.validators import decode_object
from gateway.store.idempotency_store import KeptAnswer, Turn

#: Doors whose calls cost something.
COSTLY = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/v1/embeddings"})


class OnceDoor:
    """Stands before ``inner`` for a request that has the header, and hands it on at most once."""

    def __init__(self, services: Services, inner: ASGIApp) -> None:
        self._services = services
        self._inner = inner

    async def serve(
        self, scope: Scope, receive: Receive, send: Send, headers: Mapping[str, str], request_id: str
    ) -> None:
        """Answers, by the inner door or as it did before."""
        recorders: list[_Recorder] = []

        async def act(turn: Turn) -> KeptAnswer:
            recorder = _Recorder(send)
            recorders.append(recorder)
            await self._inner({**scope, CAUSE: turn.cause, LEAN: None}, _Given(raw).receive, recorder.send)
            return recorder.answer()

        again: KeptAnswer | None = None
        try:
            caller = await authenticate(self._services, headers)
            raw = await read_body(scope, receive)
            digest = digest_of(f"POST {scope['path']}", _value(raw))
            answer, repeated = await self._services.once.answer(
                caller.principal, headers["idempotency-key"], digest, act
            )
            again = answer if repeated else None
        except GatewayError as error:
            if not recorders:
                await error_response(error, scope["path"], request_id)(scope, receive, send)
        for recorder in recorders:
            await recorder.end()
        if again is not None:
            named = {**again.headers, "x-request-id": request_id, "idempotent-replayed": "true"}
            self._services.metrics.request("POST", scope["path"], again.status, 0.0)
            await Response(again.body, again.status, named)(scope, receive, send)


def _value(raw: bytes) -> dict[str, Any] | bytes:
    """The body as JSON; bytes that are none go as they are, for the inner door to refuse."""
    try:
        return decode_object(raw)
    except (BadRequest, ValidationFailed):
        return raw


class _Given:
    """A request's body, read already. It never says that the client has left."""

    def __init__(self, raw: bytes) -> None:
        self._message: Message | None = {"type": "http.request", "body": raw, "more_body": False}

    async def receive(self) -> Message:
        message, self._message = self._message, None
        return message if message is not None else await asyncio.Event().wait()  # type: ignore[return-value]


class _Recorder:
    """Passes an answer on and keeps it; its end is held back until it is kept for good, so that whoever
    has seen the end and asks again finds it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._status = 500
        self._headers: dict[str, str] = {}
        self._chunks: list[bytes] = []
        self._last: Message | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in message["headers"]}
        else:
            self._chunks.append(message.get("body", b""))
            if not message.get("more_body", False):
                self._last = message
                return
        await self._send(message)

    async def end(self) -> None:
        """Sends what was held back."""
        if self._last is not None:
            await self._send(self._last)

    def answer(self) -> KeptAnswer:
        """What was sent. What belongs to that one request (its id, what was left of its limits) is not kept."""
        kept = {name: value for name, value in self._headers.items() if not name.startswith(("x-request", "x-rate"))}
        for name in ("content-length", "request-id"):
            kept.pop(name, None)
        return KeptAnswer(self._status, kept, b"".join(self._chunks).decode())
