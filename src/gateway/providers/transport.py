"""HTTP to providers: a small client of our own (``docs/decisions``), with four timeouts, no redirects and
no proxy but the one that a provider's row names.

URLs are sent as they are written: a signed path may not be spelt otherwise. Errors are
``errors.Upstream*``; ``reached`` tells whether the provider may have begun to work (then the call may
have cost something). A connection at rest that turns out to be closed is replaced unseen: its request
was never answered by a byte.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping

from gateway.errors import UpstreamUnavailable
from gateway.providers.http_connection import LARGEST_ANSWER, Connection
from gateway.providers.http_decoding import Inflate, inflate_for
from gateway.providers.http_pool import Addresses, Names, Pool
from gateway.providers.http_target import Target, target_of
from gateway.registry.catalogue import Timeouts

#: Seconds between two looks at the clock: how late a timeout may be.
_TICK = 0.1
#: Of an error's body that is told as a stream's.
_LARGEST_ERROR = 1_000_000


class Response:
    """A whole answer."""

    __slots__ = ("_headers", "body", "status")

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.status = status
        self.body = body
        self._headers = headers

    @property
    def headers(self) -> dict[str, str]:
        """By their names in lower case."""
        return _named(self._headers)


class StreamedResponse:
    """An answer whose body is still coming. ``close`` it, always."""

    __slots__ = ("_connection", "_headers", "_inflate", "status")

    def __init__(self, connection: Connection) -> None:
        self._connection: Connection | None = connection
        self._inflate = inflate_for(connection.coding) if connection.coding else None
        self.status = connection.status
        self._headers = connection.headers

    @property
    def headers(self) -> dict[str, str]:
        """By their names in lower case."""
        return _named(self._headers)

    def header(self, wanted: bytes) -> str:
        """The one of this name (in lower case), the last where there are several; empty where there is none."""
        size = len(wanted)
        for name, value in reversed(self._headers):
            if len(name) == size and name.lower() == wanted:
                return value.decode("latin-1")
        return ""

    async def chunk(self) -> bytes:
        """What has come of the body, waiting for some; empty at its end.

        ``UpstreamTimeout`` on silence, ``UpstreamUnavailable`` on a broken line.
        """
        if self._connection is None:
            return b""
        inflate = self._inflate
        if inflate is None:
            return await self._connection.read()
        while not (plain := inflate.take()):
            data = await self._connection.read()
            if not data:
                inflate.check_end()
                return b""
            inflate.feed(data)
        return plain

    async def pour(self, take: Callable[[bytes], bool]) -> bool:
        """Hands what comes to ``take`` as it comes: true at the body's end, false where ``take`` wants no more
        for now. Errors are those of ``chunk``."""
        connection = self._connection
        if connection is None:
            return True
        if self._inflate is None:
            return await connection.pour(take)
        while chunk := await self.chunk():
            if not take(chunk):
                return False
        return True

    async def read(self) -> bytes:
        """The rest of the body (of an error), as far as an error needs it."""
        body = bytearray()
        while len(body) < _LARGEST_ERROR and (chunk := await self.chunk()):
            body += chunk
        return bytes(body)

    def hurry(self, seconds: float) -> None:
        """From now on no silence may be longer than this, nor all the rest than a few of them."""
        if self._connection is not None:
            self._connection.hurry(seconds)

    def close(self, *, ended: bool = False) -> None:
        """Hangs up, unless the body was read to its end or the provider has said all (``ended``)."""
        if self._connection is not None:
            self._connection.finish(ended=ended)
            self._connection = None


class Transport:
    """Connections of one event loop; ``close`` it there. They are opened at first use."""

    def __init__(self, trusted: ssl.SSLContext | None = None, names: Addresses | None = None) -> None:
        """``trusted`` says which certificates are good, ``names`` where a name leads; left out: the system."""
        self._context = trusted
        self._pools: dict[str, Pool] = {}
        self._given_names = self._names = names
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ticking: asyncio.TimerHandle | None = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], timeouts: Timeouts) -> Response:
        """Sends and reads the whole answer."""
        return await self.send(target_of(url, headers), body, timeouts)

    async def send(self, target: Target, body: bytes, timeouts: Timeouts, *, once: bool = False) -> Response:
        """Sends to what ``target_of`` made, and reads the whole answer. What may not be done twice goes ``once``:
        over a new connection, for on one at rest it cannot be told whether the provider had it."""
        connection = await self._exchange(target, body, timeouts, whole=True, once=once)
        status, headers, coding = connection.status, connection.headers, connection.coding
        content = connection.taken()
        connection.finish()
        inflate = inflate_for(coding) if coding else None
        return Response(status, headers, content if inflate is None else _unfolded(inflate, content))

    async def open(self, target: Target, body: bytes, timeouts: Timeouts) -> StreamedResponse:
        """Sends and gives the answer as soon as its head is here."""
        connection = await self._exchange(target, body, timeouts, whole=False)
        try:
            return StreamedResponse(connection)
        except BaseException:
            connection.abort()
            raise

    async def close(self) -> None:
        """Closes every connection."""
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()
        self._names, self._loop = self._given_names, None

    async def _exchange(
        self, target: Target, body: bytes, timeouts: Timeouts, *, whole: bool, once: bool = False
    ) -> Connection:
        pool = self._pools.get(target.key) or self._pool(target)
        request = b"%bcontent-length: %d\r\n\r\n%b" % (target.head, len(body), body)
        connection = None if once else pool.take()
        rested = connection is not None
        while True:
            if connection is None:
                connection = await pool.connect(timeouts.connect)
            waiter = connection.begin(request, timeouts, whole=whole)
            try:
                await waiter
            except BaseException:
                connection.finish()
                raise
            error = connection.error
            if error is None or (connection.status and not whole):  # what came before it is read first
                return connection
            if not (rested and connection.unseen):
                raise error
            connection, rested = None, False

    def _pool(self, target: Target) -> Pool:
        loop = self._loop = self._loop or asyncio.get_running_loop()
        names = self._names = self._names or Names(loop)
        pool = self._pools[target.key] = Pool(target.origin, loop, names, self._secure, self._watch)
        return pool

    def _secure(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = ssl.create_default_context()
            self._context.set_alpn_protocols(["http/1.1"])
        return self._context

    def _watch(self) -> None:
        """Looks at the clock from now on, until no connection is left."""
        if self._ticking is None and self._loop is not None:
            self._ticking = self._loop.call_later(_TICK, self._tick)

    def _tick(self) -> None:
        self._ticking = None
        now = asyncio.get_running_loop().time()
        if any([pool.check(now) for pool in self._pools.values()]):  # noqa: C419 - every pool is looked at
            self._watch()


def _unfolded(inflate: Inflate, content: bytes) -> bytes:
    body = bytearray()
    inflate.feed(content)
    while plain := inflate.take():
        body += plain
        if len(body) > LARGEST_ANSWER:
            raise UpstreamUnavailable("the provider's answer is larger than any we take", reached=True)
    inflate.check_end()
    return bytes(body)


def _named(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.lower().decode("latin-1"): value.decode("latin-1") for name, value in headers}
