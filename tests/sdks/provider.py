"""A provider that thinks a little, in OpenAI's and Anthropic's dialects, on this machine.

SDKs decide for themselves what they send, so nothing can be laid out beforehand: the answer follows from
the request. Tools are called with arguments that fit their schema, their results are told, a schema is
answered by JSON that fits it, everything else by a sentence. What the real API would refuse is refused
here too, so a gateway that sends a crooked body is found out.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from aiohttp import web

from sdks import anthropic_side, openai_side
from sdks.mind import Refused

KEYS = {"openai": "sk-openai-of-the-sdk-tests", "anthropic": "sk-ant-of-the-sdk-tests"}


@dataclass(frozen=True)
class Provider:
    """Where it answers."""

    url: str


async def _openai(request: web.Request) -> web.StreamResponse:
    body = await request.json()
    try:
        if request.headers.get("authorization") != f"Bearer {KEYS['openai']}":
            raise Refused(401, "the key of the provider is expected, and nothing else")
        thought = openai_side.think(body)
    except Refused as refusal:
        return web.json_response(
            {"error": {"message": str(refusal), "type": "invalid_request_error", "param": None, "code": None}},
            status=refusal.status,
        )
    if body.get("stream"):
        lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in openai_side.chunks(body, thought)]
        return await _stream(request, [*lines, "data: [DONE]\n\n"])
    return web.json_response(openai_side.answer(body, thought))


async def _anthropic(request: web.Request) -> web.StreamResponse:
    body = await request.json()
    try:
        if request.headers.get("x-api-key") != KEYS["anthropic"] or not request.headers.get("anthropic-version"):
            raise Refused(401, "x-api-key and anthropic-version are expected")
        thought = anthropic_side.think(body)
    except Refused as refusal:
        return web.json_response(
            {"type": "error", "error": {"type": "invalid_request_error", "message": str(refusal)}},
            status=refusal.status,
        )
    if body.get("stream"):
        events = anthropic_side.events(body, thought)
        return await _stream(request, [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events])
    return web.json_response(anthropic_side.answer(body, thought))


async def _stream(request: web.Request, lines: list[str]) -> web.StreamResponse:
    headers: Mapping[str, str] = {"content-type": "text/event-stream"}
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    for line in lines:
        await response.write(line.encode())
    await response.write_eof()
    return response


@contextmanager
def running_provider() -> Iterator[Provider]:
    """The provider on a free port, in a thread of its own."""
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    ports: list[int] = []

    async def serve(until: asyncio.Event) -> None:
        app = web.Application()
        app.router.add_post("/openai/v1/chat/completions", _openai)
        app.router.add_post("/anthropic/v1/messages", _anthropic)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        ports.append(runner.addresses[0][1])
        ready.set()
        await until.wait()
        await runner.cleanup()

    until = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(serve(until)), daemon=True)
    thread.start()
    assert ready.wait(10), "the provider did not start"
    yield Provider(f"http://127.0.0.1:{ports[0]}")
    loop.call_soon_threadsafe(until.set)
    thread.join(10)
    loop.close()
