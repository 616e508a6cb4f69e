"""A provider that answers at once and counts: what a process of the gateway has under way when it is killed is billed.

It speaks plain HTTP/1.1 and no more, so that thousands of calls a second leave the machine to the gateway.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import cast

import httptools
import msgspec
from money_far import INPUT_TOKENS, Call

_MOST = 20
_BODY = {"id": "chatcmpl-kills", "object": "chat.completion", "created": 1, "model": "paid"}


def _answer(tokens: int) -> bytes:
    message = {"role": "assistant", "content": "word" * tokens}
    usage = {
        "prompt_tokens": INPUT_TOKENS,
        "completion_tokens": tokens,
        "total_tokens": INPUT_TOKENS + tokens,
    }
    body = json.dumps(
        {**_BODY, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}
    ).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


#: The answers of one token, of two, and so on.
_ANSWERS = [_answer(tokens) for tokens in range(1, _MOST + 1)]


class Message(msgspec.Struct):
    content: str


class Asked(msgspec.Struct):
    """What it reads of a request: its last message is the caller's name for it."""

    messages: list[Message]


class CountingFar:
    """Its calls by the name that the caller gave each. Belongs to one event loop."""

    def __init__(self) -> None:
        self.calls: dict[str, list[Call]] = {}

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Where it listens."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(partial(_Line, self), "127.0.0.1", 0, backlog=4096)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()

    def answer(self, body: bytes) -> bytes:
        """Counts the call, and what is written for it: whole, for the line takes so little at once."""
        name = msgspec.json.decode(body, type=Asked).messages[-1].content
        tokens = len(self.calls) % _MOST + 1
        self.calls.setdefault(name, []).append(Call(tokens, written=tokens, whole=True))
        return _ANSWERS[tokens - 1]


class _Line(asyncio.Protocol):
    """One connection of the gateway's."""

    def __init__(self, far: CountingFar) -> None:
        self._far = far
        self._body: list[bytes] = []
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        body, self._body = b"".join(self._body), []
        self._transport.write(self._far.answer(body))
