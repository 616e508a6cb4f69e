"""One HTTP/1.1 connection to a provider: a request goes out in one write, httptools' parser reads the answer.

There is no task and no timer of its own: ``check``, called a few times a second, ends what takes too
long. A reader who is slow stops the reading; a buffer never holds more than ``_FULL`` bytes and one read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

from gateway.errors import GatewayError, UpstreamTimeout, UpstreamUnavailable
from gateway.registry.catalogue import Timeouts

#: Bytes of a whole answer, and of the head of any.
LARGEST_ANSWER = 32 * 1024 * 1024
LARGEST_HEAD = 256 * 1024
#: Seconds that an unused connection is kept.
KEEP = 30.0
#: Seconds within which a connection at rest that was closed shows it, a long way there and back; later, the request
#: may have been taken.
_RACE = 0.5
#: A reader this many bytes behind stops the reading.
_FULL = 256 * 1024
#: Seconds and bytes that the end of an answer nobody reads on may take, before its connection is given up.
_LINGER = (1.0, 64 * 1024)

#: What helps against an answer that takes long.
_PATIENCE = "ask for less (max_tokens), stream the answer, or give the provider's row longer timeouts"

_FREE, _HEAD, _BODY, _DONE, _LINGERS, _CLOSED = range(6)


class Connection(asyncio.Protocol):
    """Carries one request at a time: ``begin``, wait, ``read`` where it is streamed, and ``finish``."""

    def __init__(self, loop: asyncio.AbstractEventLoop, freed: Callable[[Connection], None]) -> None:
        self._loop = loop
        self._freed = freed
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # there before any use
        self._parser = httptools.HttpResponseParser(self)
        self._state = _FREE
        self._waiter: asyncio.Future[bool] | None = None
        #: Is given what comes of the body as it comes, until it says no.
        self._taker: Callable[[bytes], bool] | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._silent = 0
        self._whole = True
        self._keep = True
        self._framed = False
        self._paused = False
        self._seen = self._begun = loop.time()
        self._answer_by = self._end_by = 0.0
        self._idle = 0.0
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        #: Of the ``content-encoding`` headers.
        self.coding = ""
        self.error: GatewayError | None = None
        #: Whether the line broke soon after ``begin``, without a byte of an answer.
        self.unseen = False
        self._touched = False

    # -- for the pool and the transport -----------------------------------------------------------

    @property
    def free(self) -> bool:
        """Whether a request can begin."""
        return self._state == _FREE and not self._transport.is_closing()

    @property
    def closed(self) -> bool:
        return self._state == _CLOSED

    def begin(self, request: bytes, timeouts: Timeouts, *, whole: bool) -> asyncio.Future[bool]:
        """Sends; what is returned is done when the answer is here (``whole``), or its head, or ``error`` is set."""
        self._state, self._whole = _HEAD, whole
        self._parts, self._size, self._silent = [], 0, 0
        self._framed = self._touched = self.unseen = False
        self.status, self.headers, self.coding = 0, [], ""
        now = self._seen = self._begun = self._loop.time()
        self._end_by = now + timeouts.total
        # A whole answer may be thought about as long as a stream's first byte; it has no pieces to be late.
        self._answer_by = now + (max(timeouts.first_byte, timeouts.idle) if whole else timeouts.first_byte)
        self._idle = max(timeouts.first_byte, timeouts.idle) if whole else timeouts.idle
        waiter = self._waiter = self._loop.create_future()
        self._transport.write(request)
        return waiter

    async def read(self) -> bytes:
        """What has come of the body, waiting for some; empty at its end. Raises ``error``."""
        while not self._parts:
            if self.error is not None:
                raise self.error
            if self._state != _BODY:
                return b""
            self._waiter = self._loop.create_future()
            await self._waiter
        return self.taken()

    async def pour(self, take: Callable[[bytes], bool]) -> bool:
        """Hands what comes of the body to ``take`` within the callback that brings it: true at the body's end,
        false where ``take`` wants no more for now. Raises ``error``, and what ``take`` raises."""
        while True:
            if self._parts:
                if not take(self.taken()):
                    return False
            elif self.error is not None:
                raise self.error
            elif self._state != _BODY:
                return True
            else:
                self._taker = take
                waiter = self._waiter = self._loop.create_future()
                try:
                    if not await waiter:
                        return False
                finally:
                    if self._taker is take:
                        self._taker = None

    def taken(self) -> bytes:
        """What has come of the body, without waiting."""
        parts = self._parts
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        self._parts, self._size = [], 0
        if self._paused:
            self._paused = False
            self._seen = self._loop.time()
            if not self._transport.is_closing():
                self._transport.resume_reading()
        return data

    def hurry(self, seconds: float) -> None:
        """From now on no silence may be longer than this, nor all the rest than a few of them."""
        self._idle = min(self._idle, seconds)
        self._end_by = min(self._end_by, self._loop.time() + 3 * seconds)

    def finish(self, *, ended: bool = False) -> None:
        """The request is over for whoever made it. A connection in the middle of an answer is closed, unless
        the answer has said all (``ended``): then its last bytes may still come."""
        self._waiter = None
        if self._state == _DONE:
            self._free()
        elif self._state == _BODY and ended and not self._paused:
            self._state, self._size, self._parts = _LINGERS, 0, []
            self._seen = self._loop.time()
        elif self._state != _FREE:
            self.abort()

    def abort(self) -> None:
        """Closes at once."""
        self._state = _CLOSED
        self._transport.abort()

    def shut(self) -> None:
        """Closes at once; whoever waits is told."""
        if self._state in (_HEAD, _BODY):
            self._fail(_unavailable("the gateway has closed its connections"))
        else:
            self.abort()

    def check(self, now: float) -> None:
        """Ends what takes too long."""
        state = self._state
        if state == _FREE:
            if now - self._seen > KEEP:
                self.abort()
        elif state == _LINGERS:
            if now - self._seen > _LINGER[0]:
                self.abort()
        elif state == _HEAD and now >= self._answer_by:
            self._fail(UpstreamTimeout("the provider did not answer in time", mend=_PATIENCE, reached=True))
        elif state == _BODY and now - self._seen > self._idle and not self._paused:
            self._fail(UpstreamTimeout("the provider fell silent in the middle of its answer", reached=True))
        elif state in (_HEAD, _BODY) and now >= self._end_by:
            self._fail(UpstreamTimeout("the provider took longer than a call may in all", mend=_PATIENCE, reached=True))

    # -- of asyncio -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by descent

    def data_received(self, data: bytes) -> None:
        state = self._state
        if state not in (_HEAD, _BODY, _LINGERS):
            self.abort()  # nobody has asked for this
            return
        self._touched = True
        self._seen = self._loop.time()
        self._silent += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._keep = False
            if self._state != _DONE and self.error is None:  # what follows a whole answer is not part of it
                self._fail(_unavailable("the provider's answer is no HTTP"), error)
                return
        if self.error is not None:
            self._fail(self.error)
        elif self._state == _HEAD:
            if self._silent > LARGEST_HEAD:
                self._fail(_unavailable("the provider's answer has a head longer than any we take"))
        elif self._state == _LINGERS:
            if self._size > _LINGER[1]:
                self.abort()
        elif self._silent > LARGEST_HEAD:  # trailers, or extensions of chunks, without end
            self._fail(_unavailable("the provider's answer has more around its body than any we take"))
        elif self._taker is not None and self._parts:
            self._pass_on(self._taker)
        elif self._state == _DONE or not self._whole:
            self._wake()
        if self._state == _DONE and state == _LINGERS:
            self._free()

    def eof_received(self) -> bool | None:
        if self._state == _BODY and not self._framed:  # this answer ends with its connection
            self._keep = False
            self._state = _DONE
            self._wake()
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        if self._state in (_HEAD, _BODY):
            self.unseen = not self._touched and self._loop.time() - self._begun < _RACE
            self._fail(_unavailable("the connection to the provider broke"), exc)
        elif self._state != _DONE:
            self._state = _CLOSED
        self._keep = False
        self._parser = None  # type: ignore[assignment]  # it holds this object: a ring less to collect

    # -- of the parser ----------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._state != _HEAD:
            return
        self.headers.append((name, value))
        size = len(name)
        if size in (14, 17):
            self._framed = self._framed or name.lower() in (b"content-length", b"transfer-encoding")
        elif size == 16 and name.lower() == b"content-encoding":
            self.coding += ("," if self.coding else "") + value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self._state != _HEAD:
            self._keep = False  # a second answer, to no question
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:  # informational: the answer itself follows
            self.headers, self.coding, self._framed = [], "", False
            return
        if status == 101:
            self.error = _unavailable("the provider's answer is of another protocol")
        self.status = status
        self._keep = self._parser.should_keep_alive()
        self._state = _BODY
        self._silent = 0

    def on_body(self, body: bytes) -> None:
        self._silent = 0
        self._size += len(body)
        if self._state != _BODY:
            return
        self._parts.append(body)
        if self._whole:
            if self._size > LARGEST_ANSWER:
                self.error = _unavailable("the provider's answer is larger than any we take")
        elif self._size > _FULL and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self._state in (_BODY, _LINGERS):
            self._state = _DONE

    # -- parts ------------------------------------------------------------------------------------

    def _pass_on(self, take: Callable[[bytes], bool]) -> None:
        waiter, self._waiter = self._waiter, None  # ``take`` may end the exchange
        if waiter is None or waiter.done():
            return
        try:
            wants = take(self.taken())
        except BaseException as error:  # noqa: BLE001 - whoever waits for the end of it is told
            self._taker = None
            waiter.set_exception(error)
            return
        if wants and self._state == _BODY:
            self._waiter = waiter
        else:
            self._taker = None
            waiter.set_result(wants)

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(True)

    def _free(self) -> None:
        transport = self._transport
        if not self._keep or transport.is_closing() or transport.get_write_buffer_size():
            self.abort()
            return
        self._state, self._parts, self.headers = _FREE, [], []
        self._seen = self._loop.time()
        if self._paused:
            self._paused = False
            transport.resume_reading()
        self._freed(self)

    def _fail(self, error: GatewayError, cause: BaseException | None = None) -> None:
        error.__cause__ = cause
        self.error = error
        self.abort()
        self._wake()


def _unavailable(message: str) -> UpstreamUnavailable:
    return UpstreamUnavailable(message, reached=True)
