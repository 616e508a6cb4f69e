"""HTTP to providers: one pool of connections, four timeouts, no environment proxies, no redirects.

URLs are sent as they are written: a signed path may not be spelt otherwise. Errors are
``errors.Upstream*``; ``reached`` tells whether the provider may have begun to work (then the call may
have cost something).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
from msgspec import Struct
from yarl import URL

from gateway.errors import UpstreamTimeout, UpstreamUnavailable
from gateway.registry.catalogue import Timeouts

_LARGEST_ANSWER = 32 * 1024 * 1024


class Response(Struct, frozen=True):
    """A whole answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class StreamedResponse:
    """An answer whose body is still coming."""

    def __init__(self, response: aiohttp.ClientResponse, idle: float) -> None:
        self._response = response
        self._idle = idle
        self.status = response.status
        self.headers = _lower(response.headers)

    async def read(self) -> bytes:
        """The rest of the body (of an error)."""
        with _translated(reached=True):
            return await self._response.content.read(1_000_000)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes. ``UpstreamTimeout`` on silence, ``UpstreamUnavailable`` on a broken line."""
        with _translated(reached=True):
            while True:
                async with asyncio.timeout(self._idle):
                    chunk = await self._response.content.readany()
                if not chunk:
                    return
                yield chunk


class Transport:
    """Connections of one event loop; ``close`` it there. Sessions are opened at first use."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], timeouts: Timeouts) -> Response:
        """Sends and reads the whole answer."""
        limits = aiohttp.ClientTimeout(
            total=timeouts.total, sock_connect=timeouts.connect, sock_read=max(timeouts.first_byte, timeouts.idle)
        )
        with _translated(reached=False) as state:
            async with self._sessions().post(
                URL(url, encoded=True), data=body, headers=headers, timeout=limits, allow_redirects=False
            ) as response:
                state.reached = True
                content = await response.content.read(_LARGEST_ANSWER + 1)
                while len(content) <= _LARGEST_ANSWER and (more := await response.content.read(_LARGEST_ANSWER)):
                    content += more
                if len(content) > _LARGEST_ANSWER:
                    raise UpstreamUnavailable("the provider's answer is larger than any we take", reached=True)
                return Response(response.status, _lower(response.headers), content)

    @asynccontextmanager
    async def stream(
        self, url: str, body: bytes, headers: Mapping[str, str], timeouts: Timeouts
    ) -> AsyncIterator[StreamedResponse]:
        """Sends and gives the answer as soon as its headers are here; leaving the context hangs up."""
        limits = aiohttp.ClientTimeout(total=timeouts.total, sock_connect=timeouts.connect)
        with _translated(reached=False):
            async with asyncio.timeout(timeouts.first_byte):
                response = await self._sessions().post(
                    URL(url, encoded=True), data=body, headers=headers, timeout=limits, allow_redirects=False
                )
        try:
            yield StreamedResponse(response, timeouts.idle)
        finally:
            response.close()

    async def close(self) -> None:
        """Closes every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _sessions(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            connector = aiohttp.TCPConnector(limit=0, limit_per_host=0, ttl_dns_cache=30, keepalive_timeout=30)
            self._session = aiohttp.ClientSession(
                connector=connector, trust_env=False, auto_decompress=True, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session


class _translated:  # noqa: N801 - used as a statement
    """Turns the client's errors into ours."""

    def __init__(self, *, reached: bool) -> None:
        self.reached = reached

    def __enter__(self) -> _translated:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is None:
            return
        if isinstance(error, aiohttp.ClientConnectorError):
            raise UpstreamUnavailable("the provider could not be reached", reached=False) from error
        if isinstance(error, (aiohttp.ConnectionTimeoutError,)):
            raise UpstreamTimeout("no connection to the provider in time", reached=False) from error
        if isinstance(error, TimeoutError):
            raise UpstreamTimeout("the provider did not answer in time", reached=True) from error
        if isinstance(error, (aiohttp.ClientError, ConnectionError)):
            raise UpstreamUnavailable(
                "the connection to the provider broke", reached=self.reached or not _refused(error)
            ) from error


def _refused(error: BaseException) -> bool:
    return isinstance(error, ConnectionRefusedError)


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
