"""The first words with an HTTP proxy: CONNECT, and its consent."""

from __future__ import annotations

import asyncio
from typing import cast

_LONGEST = 16 * 1024


class Tunnel(asyncio.Protocol):
    """Speaks until the proxy has agreed; then another protocol takes the transport over."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._agreed: asyncio.Future[None] = loop.create_future()
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # there before any use
        self._heard = b""

    async def open(self, host: str, port: int, authorization: str) -> None:
        """Asks for a tunnel. ``ConnectionError`` where the proxy gives none."""
        name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        opens = f"proxy-authorization: {authorization}\r\n" if authorization else ""
        self._transport.write(f"CONNECT {name} HTTP/1.1\r\nhost: {name}\r\n{opens}\r\n".encode("latin-1"))
        await self._agreed

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by descent

    def data_received(self, data: bytes) -> None:
        self._heard += data
        head, end, more = self._heard.partition(b"\r\n\r\n")
        if self._agreed.done() or (not end and len(head) < _LONGEST):
            return
        version, _, status = head.partition(b" ")
        if end and not more and version in (b"HTTP/1.0", b"HTTP/1.1") and status[:1] == b"2":
            self._agreed.set_result(None)
        else:
            self._agreed.set_exception(ConnectionError("the proxy opened no tunnel"))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._agreed.done():
            self._agreed.set_exception(ConnectionError("the proxy hung up"))
