"""One request at a hot door and its answer: its headers and body, and how an answer, a stream or an error goes out.

Pieces of a stream are written as they come. A client that leaves ends the upstream call, and its account is settled.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

import msgspec
from starlette.types import Receive, Scope, Send

from gateway.api.body import arriving, read_body, require_json, within
from gateway.api.doors import request_id_of
from gateway.api.errors import body_of, headers_of, status_of
from gateway.api.lean import LEAN, Lean
from gateway.api.leaving import Watch
from gateway.api.once import CAUSE
from gateway.api.ready import before_waiting
from gateway.api.responses_door import ResponseStream
from gateway.api.services import Services
from gateway.api.wire import prompted
from gateway.api.wire.answer_head import AnswerHeads, Head, limit_lines, lines_of
from gateway.api.wire.asked_headers import asked_by
from gateway.api.wire.model_rows import MODELS
from gateway.api.wire.request_headers import repeated
from gateway.errors import GatewayError
from gateway.governance.validators import LARGEST_BODY, decode_object
from gateway.ids import new_id
from gateway.models.call import CallContext
from gateway.models.llm_models import Delta, Usage
from gateway.registry.prompt_version import Rendered
from gateway.security.access import Caller
from gateway.serving.answer import AnswerMeta
from gateway.serving.chat_stream import ChatStream, KeptStream
from gateway.telemetry.traces import child_of

_log = logging.getLogger(__name__)
_ENCODER = msgspec.json.Encoder(decimal_format="number")
#: Digits of a body's length that need no second look.
_SHORT = len(str(LARGEST_BODY)) - 1
_JSON = "content-type: application/json\r\n"
_SSE = "content-type: text/event-stream; charset=utf-8\r\ncache-control: no-store\r\nx-accel-buffering: no\r\n"


_Opened = TypeVar("_Opened")


class Pieces(Protocol):
    """Encodes the pieces of a stream in a door's dialect."""

    def encode(self, delta: Delta) -> list[dict[str, Any]]: ...

    def end(self, usage: Usage) -> list[dict[str, Any]]: ...


class Exchange:
    """One request and its answer."""

    def __init__(self, services: Services, heads: AnswerHeads, scope: Scope, receive: Receive, send: Send) -> None:
        self._services = services
        self._heads = heads
        self._scope = scope
        self._receive = receive
        self._send = send
        self._lean: Lean | None = scope.get(LEAN)
        self.path: str = scope["path"]
        self.query: bytes = scope["query_string"]
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if len(self.headers) < len(scope["headers"]):
            self.headers |= repeated(scope["headers"])
        given = self.headers.get("x-request-id")
        self.request_id = request_id_of(given) if given else new_id("req")
        #: Whether the caller speaks Anthropic's dialect: by the door, or at a door of both dialects by its header.
        self.anthropic = self.path.startswith("/v1/messages") or (
            "anthropic-version" in self.headers and self.path.startswith(MODELS)
        )
        self._own_id = given != self.request_id
        self.caller: Caller = None  # type: ignore[assignment]  # set before any handler runs
        self.status = 0
        self.prompt: Rendered | None = None
        self._watch: Watch | None = None

    @property
    def left(self) -> bool:
        """Whether the client left, so that its stream was ended."""
        return self._watch is not None and self._watch.left

    async def body(self, expand: prompted.Expand | None = None) -> dict[str, Any]:
        """The JSON object of the body; a prompt that it names is put into it by ``expand``."""
        return await self.said(await self.content(), expand)

    def arrived(self) -> bytes | None:
        """The body, which is said to be JSON, where it is here already; taken once."""
        if self.headers.get("content-type") != "application/json":
            require_json(self._scope)
        body = None if self._lean is None else self._lean.arrived()
        return body if body is None or len(body) <= LARGEST_BODY else within(body)

    async def content(self) -> bytes:
        """The same, whenever it is here."""
        body = self.arrived()
        if body is not None:
            return body
        short = len(self.headers.get("content-length", "")) <= _SHORT
        return await (arriving(self._receive) if short else read_body(self._scope, self._receive))

    async def said(self, content: bytes, expand: prompted.Expand | None) -> dict[str, Any]:
        """The object that these bytes are; see ``body``."""
        body = decode_object(content)
        if expand is None or body.get("prompt") is None:
            return body
        self.caller.require("prompts:read")
        ask, key = prompted.asked(body, self.headers.get("x-gateway-session", ""), self.request_id)
        self.prompt = await asyncio.to_thread(self._services.prompts.render, ask, key)
        return expand(body, self.prompt)

    def context(self, door: str) -> CallContext:
        """The circumstances of this request's one model call."""
        headers = self.headers
        # An id of ours is nobody else's; a caller may give the same one twice.
        cause = self._scope.get(CAUSE) or (self.request_id if self._own_id else new_id("call"))
        asked = asked_by(headers)
        if "traceparent" in headers:
            asked["traceparent"] = child_of(headers["traceparent"])
        if self.prompt is not None:
            asked["notes"] = self.prompt.notes
        return CallContext(self.request_id, cause, door, **asked)

    async def answer(self, body: dict[str, Any] | bytes, meta: AnswerMeta) -> None:
        """A model's whole answer."""
        content = body if type(body) is bytes else _ENCODER.encode(body)
        self.status = 200
        lines = _JSON
        if self.anthropic or self.prompt is not None:
            lines = f"{self._own}{limit_lines(self.path, meta)}{_JSON}"
        head = self._heads.of(self.request_id, meta, lines, len(content))
        if self._lean is not None and self._lean.answer(200, head, content):
            return
        await self._send({"type": "http.response.start", "status": 200, "headers": head})
        await self._send({"type": "http.response.body", "body": content})

    async def json(self, body: Any, headers: dict[str, str], status: int = 200) -> None:
        """A whole answer."""
        content = _ENCODER.encode(body)
        await self._start(status, {**headers, "content-type": "application/json"}, len(content))
        await self._send({"type": "http.response.body", "body": content})

    async def refuse(self, error: GatewayError) -> None:
        """The error in the door's dialect; nothing more can be said once an answer has begun."""
        if self.status:
            return
        content, media_type = body_of(error, self.path, self.request_id, anthropic=self.anthropic)
        await self._start(
            status_of(error, self.path),
            {
                **headers_of(error, self.path),
                "x-gateway-config": self._services.catalogue.current.epoch,
                "content-type": media_type,
            },
            len(content),
        )
        await self._send({"type": "http.response.body", "body": content})

    async def opened(
        self, opening: Coroutine[Any, Any, _Opened], model: str, failure: Callable[[GatewayError, str], bytes]
    ) -> _Opened:
        """The stream once its first piece is there. A long silence before it begins the answer, with comments;
        what fails after that is told within it."""

        def stays() -> bool:
            spec = self._services.catalogue.current.models.get(model)
            return spec is not None and spec.on_disconnect == "drain"

        self._watch = Watch(self._scope, self._receive, self._comment, stays)
        try:
            return await opening
        except BaseException as error:
            self._watch.end()
            if self.status and isinstance(error, GatewayError):
                await self._write(failure(error, self.request_id))
                await self._send({"type": "http.response.body", "body": b"", "more_body": False})
            raise

    async def stream(
        self,
        stream: ChatStream | KeptStream | ResponseStream,
        pieces: Pieces,
        line: Callable[[dict[str, Any]], bytes],
        last: bytes,
        failure: Callable[[GatewayError, str], bytes],
    ) -> None:
        """Sends pieces of a stream that is ``opened`` as they come; a failure in mid-stream is an explicit event,
        then the end."""
        lines: list[bytes] = []
        watch: Watch = self._watch  # type: ignore[assignment]  # ``opened`` made it
        push = None if self._lean is None else self._lean.push

        def take(delta: Delta) -> None:
            if delta.native is not None and delta.native.lines:
                lines.append(delta.native.lines)
            for chunk in pieces.encode(delta):
                lines.append(line(chunk))

        def act(deltas: Sequence[Delta], more: bool) -> bool:
            """The same at once, for as long as the client takes it; the last of them go out with the end."""
            for delta in deltas:
                take(delta)
            if not more or not lines:
                return True
            if push is None:
                return False
            data = b"".join(lines)
            lines.clear()
            watch.heard = True
            return push(data)

        async def flush() -> None:
            """What has come together goes out together; waits for a slow client."""
            if lines or push is not None:
                data = b"".join(lines)
                lines.clear()
                watch.heard = True
                await self._write(data)

        try:
            if not self.status:
                self.status = 200
                own = self._own + limit_lines(self.path, stream.meta)
                head = self._heads.of(self.request_id, stream.meta, own + _SSE, final=False)
                await self._send({"type": "http.response.start", "status": 200, "headers": head})
            try:
                if isinstance(stream, ChatStream) and stream.pours:
                    while not await stream.pour(act):
                        await flush()
                else:
                    await before_waiting(aiter(stream), take, flush)
                lines.extend([line(chunk) for chunk in pieces.end(stream.usage)])
                lines.append(last)
            except GatewayError as error:
                _log.warning("a stream of %s ended badly: %s", stream.meta.model, error.message)
                lines.append(failure(error, self.request_id))
            await self._send({"type": "http.response.body", "body": b"".join(lines), "more_body": False})
        finally:
            watch.end()
            await stream.aclose()

    @property
    def _own(self) -> str:
        """Header lines of this door, and of a prompt that was used."""
        own = f"request-id: {self.request_id}\r\n" if self.anthropic else ""
        return own if self.prompt is None else own + lines_of({"x-gateway-prompt": self.prompt.header})

    async def _comment(self, data: bytes) -> None:
        """Written in a silence; the first one begins the answer, before anybody knows who will give it."""
        if not self.status:
            self.status = 200
            epoch = self._services.catalogue.current.epoch
            lines = f"x-request-id: {self.request_id}\r\n{self._own}x-gateway-config: {epoch}\r\n{_SSE}"
            await self._send({"type": "http.response.start", "status": 200, "headers": Head(lines)})
        await self._write(data)

    async def _write(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def _start(self, status: int, headers: dict[str, str], length: int) -> None:
        self.status = status
        head = Head(f"x-request-id: {self.request_id}\r\n{self._own}{lines_of(headers)}", length)
        await self._send({"type": "http.response.start", "status": status, "headers": head})
