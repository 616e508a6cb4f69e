"""The provider that every stack talks to: answers a chat completion at once, plain or in 20 chunks.

A program of its own (``upstream.py PORT``): an asyncio protocol on httptools and uvloop, so that it is
never what is measured. ``PUT /mode`` with ``{"gap": seconds, "hold": bool}`` sets the pause between
the chunks, or holds each stream after its first chunk until ``PUT /mode`` says otherwise.
"""

from __future__ import annotations

import asyncio
import json
import sys
from functools import partial
from typing import cast

import httptools
import msgspec
import uvloop

CHUNKS = 20
_MODEL = "bench-model"
_USAGE = {"prompt_tokens": 57, "completion_tokens": 20, "total_tokens": 77}
_WORDS = [
    "A",
    "bond",
    "is",
    "a",
    "loan",
    "that",
    "an",
    "investor",
    "makes",
    "to",
    "a",
    "state",
    "or",
    "a",
    "firm",
    ",",
    "repaid",
    "with",
    "interest",
    "over",
    "the",
    "years",
]
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\nx-request-id: req_bench\r\n"


def _chunk(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return _event({"choices": [choice]})


def _event(fields: dict[str, object]) -> bytes:
    body = {
        "id": "chatcmpl-bench",
        "object": "chat.completion.chunk",
        "created": 1_790_000_000,
        "model": _MODEL,
        **fields,
    }
    return _framed(b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n")


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _plain() -> bytes:
    """A whole answer's body."""
    message = {"role": "assistant", "content": " ".join(_WORDS), "refusal": None}
    return json.dumps(
        {
            "id": "chatcmpl-bench",
            "object": "chat.completion",
            "created": 1_790_000_000,
            "model": _MODEL,
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
            "usage": _USAGE,
        },
        separators=(",", ":"),
    ).encode()


def _whole(body: bytes) -> bytes:
    return (_HEAD % b"application/json") + b"content-length: %d\r\n\r\n" % len(body) + body


PLAIN_BODY = _plain()
_PLAIN = _whole(PLAIN_BODY)
_STREAM_HEAD = (_HEAD % b"text/event-stream; charset=utf-8") + b"transfer-encoding: chunked\r\n\r\n"
_PIECES = [
    _chunk({"role": "assistant", "content": _WORDS[0]} if n == 0 else {"content": f" {_WORDS[n % len(_WORDS)]}"})
    for n in range(CHUNKS)
]
_FINISH = _chunk({}, "stop")
_COUNTS = _event({"choices": [], "usage": _USAGE})
_DONE = _framed(b"data: [DONE]\n\n") + b"0\r\n\r\n"
_MODELS = _whole(
    json.dumps({"object": "list", "data": [{"id": _MODEL, "object": "model", "owned_by": "bench"}]}).encode()
)
_OK = _whole(b"{}")


class Mode:
    """How streams are written now."""

    def __init__(self) -> None:
        self.gap = 0.0
        self.hold = False
        self.held: list[Connection] = []

    def set(self, body: bytes) -> None:
        told = json.loads(body)
        self.gap, self.hold = float(told.get("gap", 0.0)), bool(told.get("hold", False))
        if not self.hold:
            held, self.held = self.held, []
            for connection in held:
                connection.step()


class Connection(asyncio.Protocol):
    """One keep-alive connection; its requests are answered one after the other."""

    def __init__(self, loop: asyncio.AbstractEventLoop, mode: Mode) -> None:
        self._loop = loop
        self._mode = mode
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._body: list[bytes] = []
        self._left: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._left = []

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._url = url

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        body, self._body = b"".join(self._body), []
        if self._url.startswith(b"/mode"):
            self._mode.set(body)
            self._transport.write(_OK)
        elif self._parser.get_method() != b"POST":
            self._transport.write(_MODELS)
        else:
            self._answer(msgspec.json.decode(body))

    def _answer(self, request: dict[str, object]) -> None:
        if not request.get("stream"):
            self._transport.write(_PLAIN)
            return
        options = request.get("stream_options")
        counts = [_COUNTS] if isinstance(options, dict) and options.get("include_usage") else []
        self._transport.write(_STREAM_HEAD)
        self._left = [*_PIECES, _FINISH, *counts, _DONE][::-1]
        self.step()

    def step(self) -> None:
        """Writes one piece, then lets others have their turn: each piece is a packet of its own."""
        if not self._left or self._transport.is_closing():
            return
        self._transport.write(self._left.pop())
        if self._mode.hold:
            self._mode.held.append(self)
        elif self._left and self._mode.gap:
            self._loop.call_later(self._mode.gap, self.step)
        elif self._left:
            self._loop.call_soon(self.step)


async def serve(port: int) -> None:
    """Serves until the process is ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(partial(Connection, loop, Mode()), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
