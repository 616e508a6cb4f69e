"""A client that reads slowly holds its provider back, and has everything in the end."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from fixtures.house import ROOT_KEY, House
from fixtures.upstream import openai_chunks

_BLOCKS = 1_500
_TEXT = "x" * 40_000


class Flood:
    """A stream of 60 MB; ``written`` counts its pieces."""

    def __init__(self) -> None:
        self.written = 0

    async def handle(self, request: web.Request, _raw: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        _, said, *rest = [{**one, "created": 1} for one in openai_chunks(_TEXT)]
        for _ in range(_BLOCKS):
            await response.write(b"data: " + json.dumps(said).encode() + b"\n\n")
            self.written += 1
        for one in rest:
            await response.write(b"data: " + json.dumps(one).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        return response


@pytest.fixture
def flood(house: House) -> Iterator[Flood]:
    made = Flood()
    house.upstream.beside = made.handle
    yield made
    house.upstream.beside = None


def asked(house: House, body: dict[str, Any]) -> socket.socket:
    """A connection with little room, on which the request was sent."""
    parts = urlsplit(house.url)
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    line.settimeout(30)
    line.connect((parts.hostname, parts.port))
    raw = json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ROOT_KEY}\r\n"
    head += f"content-type: application/json\r\nconnection: close\r\ncontent-length: {len(raw)}\r\n\r\n"
    line.sendall(head.encode() + raw)
    return line


def at_rest(flood: Flood) -> int:
    """How many pieces were written when for a while no more are."""
    seen, since = flood.written, time.monotonic()
    while not seen or time.monotonic() - since < 0.5:
        time.sleep(0.02)
        if flood.written != seen:
            seen, since = flood.written, time.monotonic()
    return seen


def test_a_slow_client_holds_its_provider_back(house: House, flood: Flood) -> None:
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    with asked(house, body) as line:
        assert at_rest(flood) < _BLOCKS * 2 // 3
        found = 0
        tail = b""
        while data := line.recv(1 << 20):
            found += data.count(b"x")
            tail = (tail + data)[-100:]
    assert flood.written == _BLOCKS
    assert found >= _BLOCKS * len(_TEXT)
    assert b"data: [DONE]" in tail
