"""The HTTP server's part of an answer, for answers whose head is made already; all else is uvicorn's own.

A ``Head`` and the bytes after it go out in one write, unchecked: it was made of checked lines. A connection at
rest, or with a request whose head does not come to its end, has one timer that is looked at when it is due, instead
of one that is set and cancelled for each request. A request to go over to another protocol than WebSocket (``h2c``,
as Java's client sends it with every first request) is answered as if it had not been asked, which uvicorn's own
parser does without the request's body.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import unquote

import httptools
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from gateway.api.lean import LEAN
from gateway.api.wire.answer_head import Head

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent

#: Larger heads of requests are refused.
_LARGEST_HEAD = 256 * 1024
_BAD, _TOO_LARGE = "Invalid HTTP request received.", "The head of the request is too large."
#: Bodies above this are not copied to be sent with their head.
_LARGE = 64 * 1024
#: In the place of the event that a cycle of uvicorn's is given; see ``Cycle.message_event``.
_NO_EVENT: Final = cast(asyncio.Event, None)


def server_config(app: ASGIApp) -> uvicorn.Config:
    """How an API process serves."""
    return uvicorn.Config(
        app,
        interface="asgi3",
        loop="uvloop",
        http=Protocol,
        ws="websockets-sansio",
        ws_max_size=65_536,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        date_header=True,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=5,
    )


class Protocol(HttpToolsProtocol):
    """One connection."""

    cycle: Cycle

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._rests_since = 0.0
        self._looking: asyncio.TimerHandle | None = None
        #: Bytes that came while the head of a request was under way; below 0 after it.
        self._head_bytes = 0
        #: Whether the request asks for another protocol, and whether it is read anew as if it had not.
        self._switching = self._refusing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, transport))
        self._rest()

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as asked:
            if self._refusing:
                self._stay(data[asked.args[0] :])
            else:
                self._rests_since = 0.0  # the connection is WebSocket's from now on
                self.handle_websocket_upgrade()
            return
        except httptools.HttpParserError:
            self.logger.warning(_BAD)
            self.send_400_response(_BAD)
            return
        if self._head_bytes >= 0:
            self._head_bytes += len(data)
            if self._head_bytes > _LARGEST_HEAD:
                self.logger.warning(_TOO_LARGE)
                self.send_400_response(_TOO_LARGE)

    def on_headers_complete(self) -> None:
        """As uvicorn does it, for less: the cycle is ours from the start, and a plain path needs no parser."""
        parser = self.parser
        self._switching = parser.should_upgrade()
        if self._switching:
            self._refusing = not self._should_upgrade()
            if self._refusing:
                if parser.get_method() == b"CONNECT":
                    raise ValueError("this is no proxy")
                return
        self._head_bytes, self._rests_since = -1, 0.0
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]
        version = parser.get_http_version()
        scope["method"] = parser.get_method().decode("ascii")
        if version != "1.1":
            scope["http_version"] = version
        if self._switching:
            return
        url = self.url
        if url.startswith(b"/") and b"#" not in url:
            raw_path, _, scope["query_string"] = url.partition(b"?")
        else:
            parsed = httptools.parse_url(url)
            raw_path, scope["query_string"] = parsed.path, parsed.query or b""
        path = raw_path.decode("ascii")
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"] = raw_path
        before = self.cycle
        cycle = self.cycle = scope[LEAN] = Cycle(
            self.scope,
            self.transport,
            self.flow,
            self.logger,
            self.access_logger,
            self.access_log,
            self.server_state.default_headers,
            _NO_EVENT,
            self.expect_100_continue,
            version != "1.0" and parser.should_keep_alive(),
            self.on_response_complete,
        )
        if before is None or before.response_complete:
            self._start_asgi_task(cycle, self.app)
        else:  # the one before it is answered first
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """As uvicorn does it; with one name for all, for else a new one is made up for each."""
        task = asyncio.Task(cycle.run_asgi(app), loop=self.loop, name="request")
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        if self._switching or cycle.response_complete:
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.set()

    def on_message_complete(self) -> None:
        if self._refusing:
            return
        self._head_bytes = 0
        if self._switching:
            return
        cycle = self.cycle
        if not cycle.response_complete:
            cycle.more_body = False
            cycle.set()

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.flow.read_paused:
            self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
            return
        self._rest()

    def _rest(self) -> None:
        """From now on the connection waits for the head of a request."""
        self._rests_since = self.loop.time()
        if self._looking is None:
            self._looking = self.loop.call_later(self.timeout_keep_alive, self._look)

    def _stay(self, rest: bytes) -> None:
        """Reads the request anew, without what it would go over to; ``rest`` is what came after its head."""
        self._switching = self._refusing = False
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, version)]
        lines += [b"%b: %b\r\n" % line for line in self.headers if line[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(b"%b\r\n%b" % (b"".join(lines), rest))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if isinstance(self.cycle, Cycle):
            self.cycle.leave()
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    def _unset_keepalive_if_required(self) -> None:
        """The timer is looked at when it is due."""

    def _look(self) -> None:
        """Closes the connection if no whole head has come for so long; one that is at work is left alone."""
        self._looking = None
        if not self._rests_since:
            return
        left = self._rests_since + self.timeout_keep_alive - self.loop.time()
        if left <= 0:
            self.timeout_keep_alive_handler()
        else:
            self._looking = self.loop.call_later(left, self._look)


class Cycle(RequestResponseCycle):
    """One request and its answer."""

    #: The head that goes out with the first bytes after it.
    _head: bytes | None = None
    _lean = False
    _left: Callable[[], None] | None = None
    #: Whether something has come since it was last waited for, and the event of whoever waits, which few do.
    _told = False
    _event: asyncio.Event | None = None

    @property  # type: ignore[override]
    def message_event(self) -> Cycle:
        """Of the request's body and of the answer's end: this itself, so that none is made for each request."""
        return self

    @message_event.setter
    def message_event(self, _: object) -> None:
        """Uvicorn's is not needed."""

    def set(self) -> None:
        """See ``asyncio.Event``."""
        self._told = True
        if self._event is not None:
            self._event.set()

    def clear(self) -> None:
        """See ``asyncio.Event``."""
        self._told = False
        if self._event is not None:
            self._event.clear()

    async def wait(self) -> None:
        """See ``asyncio.Event``."""
        if not self._told:
            self._event = self._event or asyncio.Event()
            await self._event.wait()

    def arrived(self) -> bytes | None:
        """See ``lean.Lean``."""
        if self.more_body or self.disconnected or self.response_complete:
            return None
        self.waiting_for_100_continue = self._told = False
        if self._event is not None:
            self._event.clear()
        if self.flow.read_paused:
            self.flow.resume_reading()  # else nobody hears that the client has left
        body, self.body = bytes(self.body), bytearray()
        return body

    def answer(self, status: int, head: Head, body: bytes) -> bool:
        """See ``lean.Lean``."""
        if self.response_started or self.disconnected or self.flow.write_paused or self.access_log:
            return False
        if self.scope["method"] == "HEAD":
            return False
        self._begin(status, head)
        self._continue(body, more=False)
        return True

    def when_left(self, call: Callable[[], None]) -> bool:
        """See ``lean.Lean``."""
        self._left = call
        return not self.disconnected

    def leave(self) -> None:
        """The client has left."""
        if self._left is not None and not self.response_complete:
            self._left()
        self.let_go()

    def let_go(self) -> None:
        """Nobody needs it any more: without these it is part of no ring, and no work for the collector."""
        self._left = None
        self.scope.pop(LEAN, None)  # type: ignore[misc]

    def push(self, body: bytes) -> bool:
        """See ``lean.Lean``."""
        if not self.disconnected:
            self._continue(body, more=True)
        return not self.flow.write_paused

    async def send(self, message: ASGISendEvent) -> None:
        if message["type"] == "http.response.start" and not self.response_started:
            head = message.get("headers")
            if type(head) is Head and self.scope["method"] != "HEAD" and not self.access_log:
                self._begin(message["status"], head)
                return
        elif self._lean and message["type"] == "http.response.body" and not self.response_complete:
            if self.flow.write_paused and not self.disconnected:
                await self.flow.drain()
            if not self.disconnected:
                self._continue(message.get("body", b""), more=message.get("more_body", False))
            return
        await super().send(message)
        if self.response_complete:
            self.let_go()

    def _begin(self, status: int, head: Head) -> None:
        self.response_started = self._lean = True
        self.waiting_for_100_continue = False
        self.chunked_encoding = head.length is None
        self.expected_content_length = head.length or 0
        date = self.default_headers
        usual = b"date: %b\r\n" % date[0][1] if len(date) == 1 else b"".join([b"%b: %b\r\n" % pair for pair in date])
        framed = b"transfer-encoding: chunked\r\n" if head.length is None else b""
        last = b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n"
        self._head = b"%b%b%b%b%b" % (STATUS_LINE[status], usual, head.block, framed, last)

    def _continue(self, body: bytes, *, more: bool) -> None:
        if self.chunked_encoding:
            data = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if not more:
                data += b"0\r\n\r\n"
        else:
            self.expected_content_length -= len(body)
            if self.expected_content_length < 0 or (self.expected_content_length and not more):
                raise RuntimeError("the answer is not as long as its head says")
            data = body
        head, self._head = self._head, None
        if head is not None:
            if len(data) > _LARGE:
                self.transport.write(head)
            else:
                data = head + data
        if data:
            self.transport.write(data)
        if not more:
            self.response_complete = self._told = True
            if self._event is not None:
                self._event.set()
            self._left = None  # as ``let_go``
            self.scope.pop(LEAN, None)  # type: ignore[misc]
            if not self.keep_alive:
                self.transport.close()
            self.on_response()
