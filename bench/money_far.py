"""The provider of the races for money: it counts what it did, and now and then it breaks.

A prompt is the caller's request id, so each call is known on both sides. A token of the answer is one piece
of four letters: what the gateway must estimate where nobody tells is what was written, to the token.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

#: Units of 10^-10 USD, as ``storm_town`` prices the model: 1,000 and 2,000 USD for a million.
INPUT_UNITS, OUTPUT_UNITS = 10_000_000, 20_000_000
INPUT_TOKENS = 10
_PIECE = "word"
#: Seconds after which a broken line is no longer taken for one that had been closed at rest: see the gateway's
#: ``providers/http_connection.py``. Within them it asks again over a new one, under the same intent.
_LATE = 2.2


@dataclass
class Call:
    """What the provider did for one request: ``written`` tokens, ``whole`` once it wrote its end; ``refused`` where
    it answered with an error, ``unseen`` where it hung up soon, without a byte: as if it had never had the request."""

    tokens: int
    written: int = 0
    whole: bool = False
    refused: bool = False
    unseen: bool = False
    hung_up: float = 0.0

    @property
    def cost(self) -> int:
        """Of the whole answer, by what the provider tells of it."""
        return INPUT_TOKENS * INPUT_UNITS + self.tokens * OUTPUT_UNITS


@dataclass
class MoneyFar:
    """``pause`` seconds between the pieces of a stream, once in ``silences`` a long one; ``faults`` is the share of
    calls that it answers with an error, or breaks off in the midst. Belongs to one event loop."""

    seed: int
    pause: float = 0.002
    silences: int = 0
    faults: float = 0.0
    calls: dict[str, list[Call]] = field(default_factory=dict)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Where it listens."""
        self._chance = random.Random(self.seed)
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._chat)
        runner = web.AppRunner(app, handler_cancellation=False)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        most = int(asked.get("max_tokens") or asked["max_completion_tokens"])
        call = Call(self._chance.randint(1, most))
        self.calls.setdefault(str(asked["messages"][-1]["content"]), []).append(call)
        fate = self._chance.random()
        if fate < self.faults / 2:
            call.refused = True
            return web.json_response({"error": {"message": "try again", "type": "server_error"}}, status=500)
        breaks = fate < self.faults
        if asked.get("stream"):
            return await self._stream(request, asked, call, breaks)
        call.unseen = breaks and self._chance.random() < 0.5
        await asyncio.sleep(_LATE if breaks and not call.unseen else self._chance.uniform(0.005, 0.05))
        if breaks:
            _hang_up(request)
        call.written, call.whole = call.tokens, not breaks
        message = {"role": "assistant", "content": _PIECE * call.tokens}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return web.json_response(_body(asked, "chat.completion", [choice], call))

    async def _stream(
        self, request: web.Request, asked: dict[str, Any], call: Call, breaks: bool
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        silent = (
            self._chance.randrange(call.tokens) if self.silences and not self._chance.randrange(self.silences) else -1
        )
        last = self._chance.randrange(call.tokens) if breaks else -1
        try:
            await response.prepare(request)
            for number in range(call.tokens):
                choice = {"index": 0, "delta": {"content": _PIECE}, "finish_reason": None}
                await self._write(request, response, _body(asked, "chat.completion.chunk", [choice]))
                call.written += 1
                if number == last:
                    _hang_up(request)
                await self._wait(request, 2.0 if number == silent else self.pause)
            end = {"index": 0, "delta": {}, "finish_reason": "stop"}
            await self._write(request, response, _body(asked, "chat.completion.chunk", [end]))
            await self._write(request, response, _body(asked, "chat.completion.chunk", [], call))
            await response.write(b"data: [DONE]\n\n")
            call.whole = True
            await response.write_eof()
        except ConnectionError:
            call.hung_up = time.monotonic()
        return response

    @staticmethod
    async def _write(request: web.Request, response: web.StreamResponse, body: dict[str, Any]) -> None:
        if request.transport is None or request.transport.is_closing():
            raise ConnectionResetError
        await response.write(b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n")

    @staticmethod
    async def _wait(request: web.Request, seconds: float) -> None:
        """Sleeps, and looks every few milliseconds whether anybody still listens."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if request.transport is None or request.transport.is_closing():
                raise ConnectionResetError
            await asyncio.sleep(min(left, 0.005))


def _hang_up(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _body(asked: dict[str, Any], kind: str, choices: list[Any], told: Call | None = None) -> dict[str, Any]:
    body = {"id": "chatcmpl-race", "object": kind, "created": 1, "model": asked["model"], "choices": choices}
    if told is not None:
        total = INPUT_TOKENS + told.tokens
        usage = {"prompt_tokens": INPUT_TOKENS, "completion_tokens": told.tokens, "total_tokens": total}
        body["usage"] = usage
    return body
