"""Connections to one origin: those at rest are used again, the one used last first; new ones are opened by
whichever of the name's addresses answers, through TLS or a proxy where that is said."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Protocol

from gateway.errors import UpstreamTimeout, UpstreamUnavailable
from gateway.providers.http_connection import Connection
from gateway.providers.http_target import Origin, proxy_of
from gateway.providers.http_tunnel import Tunnel

#: Connections at rest that are kept for one origin.
_MOST_FREE = 256
#: Seconds for which the addresses of a name are remembered.
_NAMES_KEPT = 30.0


class Addresses(Protocol):
    """Where a name leads."""

    async def addresses(self, host: str, port: int) -> tuple[str, ...]:
        """At least one. ``UpstreamUnavailable`` for a name that has none."""
        ...

    def forget(self, host: str, port: int) -> None:
        """None of its addresses answered."""
        ...


class Names:
    """The addresses behind names, remembered for a little while."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._known: dict[tuple[str, int], tuple[float, tuple[str, ...]]] = {}

    async def addresses(self, host: str, port: int) -> tuple[str, ...]:
        """See ``Addresses``."""
        known = self._known.get((host, port))
        if known is not None and known[0] > self._loop.time():
            return known[1]
        try:
            found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        except (OSError, UnicodeError) as error:
            raise UpstreamUnavailable("the provider's name has no address", reached=False) from error
        addresses = tuple(dict.fromkeys(str(item[4][0]) for item in found))
        if not addresses:
            raise UpstreamUnavailable("the provider's name has no address", reached=False)
        self._known[host, port] = (self._loop.time() + _NAMES_KEPT, addresses)
        return addresses

    def forget(self, host: str, port: int) -> None:
        """See ``Addresses``; they may have changed."""
        self._known.pop((host, port), None)


class Pool:
    """Belongs to one event loop."""

    def __init__(
        self,
        origin: Origin,
        loop: asyncio.AbstractEventLoop,
        names: Addresses,
        secure: Callable[[], ssl.SSLContext],
        opened: Callable[[], None],
    ) -> None:
        self._origin = origin
        self._loop = loop
        self._names = names
        self._secure = secure
        self._opened = opened
        self._free: list[Connection] = []
        self._all: set[Connection] = set()

    def take(self) -> Connection | None:
        """A connection at rest."""
        free = self._free
        while free:
            connection = free.pop()
            if connection.free:
                return connection
        return None

    async def connect(self, seconds: float) -> Connection:
        """A new connection. ``UpstreamUnavailable`` or ``UpstreamTimeout`` otherwise, not ``reached``."""
        try:
            async with asyncio.timeout(seconds):
                connection = await self._open(self._loop.time() + seconds)
        except TimeoutError as error:
            raise UpstreamTimeout("no connection to the provider in time", reached=False) from error
        except ssl.SSLError as error:
            why = "certificate is not valid here" if isinstance(error, ssl.SSLCertVerificationError) else "TLS failed"
            raise UpstreamUnavailable(f"the provider's {why}", reached=False) from error
        except OSError as error:
            raise UpstreamUnavailable("the provider could not be reached", reached=False) from error
        if not connection.free:
            raise UpstreamUnavailable("the provider closed the connection at once", reached=False)
        self._all.add(connection)
        self._opened()
        return connection

    def check(self, now: float) -> bool:
        """Ends what takes too long; false where no connection is open."""
        for connection in tuple(self._all):
            connection.check(now)
            if connection.closed:
                self._all.discard(connection)
        if any(not connection.free for connection in self._free):
            self._free = [connection for connection in self._free if connection.free]
        return bool(self._all)

    def close(self) -> None:
        """Closes every connection."""
        for connection in self._all:
            connection.shut()
        self._all.clear()
        self._free.clear()

    def _freed(self, connection: Connection) -> None:
        if len(self._free) >= _MOST_FREE or connection not in self._all:
            connection.abort()
        else:
            self._free.append(connection)

    async def _open(self, deadline: float) -> Connection:
        """By the first address that answers; each gets its share of the time that is left."""
        proxy = proxy_of(self._origin.proxy) if self._origin.proxy else None
        host, port = (proxy.host, proxy.port) if proxy is not None else (self._origin.host, self._origin.port)
        addresses = await self._names.addresses(host, port)
        problem: OSError | None = None
        for at, address in enumerate(addresses):
            share = (deadline - self._loop.time()) / (len(addresses) - at)
            try:
                async with asyncio.timeout(share):
                    if proxy is None or self._origin.scheme == "http":
                        return await self._direct(address, port)
                    return await self._through(address, port, proxy.authorization)
            except ssl.SSLError:
                raise
            except OSError as error:  # a timeout is one too
                problem = error
        self._names.forget(host, port)
        raise problem if problem is not None else OSError("no address")

    async def _direct(self, address: str, port: int) -> Connection:
        secured = self._origin.scheme == "https"
        _, connection = await self._loop.create_connection(
            lambda: Connection(self._loop, self._freed),
            address,
            port,
            ssl=self._secure() if secured else None,
            server_hostname=self._origin.host if secured else None,
        )
        return connection

    async def _through(self, address: str, port: int, authorization: str) -> Connection:
        """A tunnel through a proxy, and TLS within it."""
        transport, tunnel = await self._loop.create_connection(lambda: Tunnel(self._loop), address, port)
        with contextlib.ExitStack() as undo:
            undo.callback(transport.abort)
            await tunnel.open(self._origin.host, self._origin.port, authorization)
            connection = Connection(self._loop, self._freed)
            secured = await self._loop.start_tls(
                transport, connection, self._secure(), server_hostname=self._origin.host
            )
            if secured is None:
                raise ConnectionError("the tunnel closed")
            connection.connection_made(secured)
            undo.pop_all()
        return connection
