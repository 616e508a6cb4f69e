"""Streams in which nothing is said for long, and clients that leave them: before the first word, and after."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web

from fixtures.house import House
from fixtures.upstream import openai_chunks
from gateway.api import leaving

DOORS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Hello"}]},
    "/v1/messages": {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 50},
    "/v1/responses": {"input": "Hello"},
}
FIRST, *REST = openai_chunks("We", "ll.")
DOOR = pytest.mark.parametrize("path", DOORS)


def lines(*chunks: Any) -> bytes:
    return b"".join(b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in chunks)


class Held:
    """A provider that says ``first``, and the rest, or its refusal (where ``refused`` names a model, of that one),
    when it is ``let`` go on."""

    def __init__(self, first: bytes = b"", rest: bytes = b"", refusal: int = 0, refused: str = "") -> None:
        self.first, self.rest, self.refusal, self.refused = first, rest, refusal, refused
        self.let, self.left, self.asked = threading.Event(), threading.Event(), threading.Event()

    async def __call__(self, request: web.Request, raw: bytes) -> web.StreamResponse:
        self.asked.set()
        try:
            if not self.first:
                await asyncio.to_thread(self.let.wait, 10)
            if self.refusal and self.refused in ("", json.loads(raw)["model"]):
                return web.json_response({"error": {"message": "no", "type": "x"}}, status=self.refusal)
            response = web.StreamResponse(headers={"content-type": "text/event-stream"})
            await response.prepare(request)
            if self.first:
                await response.write(self.first)
                await asyncio.to_thread(self.let.wait, 10)
            await response.write(self.rest + b"data: [DONE]\n\n")
            await response.write_eof()
        except (ConnectionError, asyncio.CancelledError):
            self.left.set()
            raise
        return response


@pytest.fixture
def held(house: House, request: pytest.FixtureRequest) -> Iterator[Held]:
    provider = Held(*request.param)
    house.upstream.beside = provider
    yield provider
    provider.let.set()
    house.upstream.beside = None


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaving, "PING_SECONDS", 0.05)


def asks(**held: Any) -> pytest.MarkDecorator:
    given = Held(**held)
    return pytest.mark.parametrize("held", [(given.first, given.rest, given.refusal, given.refused)], indirect=True)


class Stream:
    """A streamed answer as a client reads it."""

    def __init__(self, house: House, path: str, model: str, principal: str) -> None:
        self._connection = http.client.HTTPConnection(house.url.removeprefix("http://"), timeout=10)
        self._response: http.client.HTTPResponse | None = None
        self.told = b""
        key = house.key("developer", principal=principal)
        body = json.dumps({"model": model, "stream": True, **DOORS[path]})
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        self._connection.request("POST", path, body, headers)

    def head(self) -> http.client.HTTPResponse:
        if self._response is None:
            self._response = self._connection.getresponse()
        return self._response

    def until(self, word: bytes) -> None:
        while word not in self.told:
            piece = self.head().read1()
            assert piece, self.told
            self.told += piece

    def end(self) -> bytes:
        self.told += self.head().read()
        self.leave()
        return self.told

    def leave(self) -> None:
        self._connection.close()
        if self._response is not None:
            self._response.close()


def entry(house: House, principal: str) -> dict[str, Any]:
    """The one entry of the principal, as soon as it is there."""
    found = House.until(lambda: house.ask("GET", f"/usage/entries?principal={principal}").body["entries"], bool)
    assert len(found) == 1
    return dict(found[0])


@DOOR
@asks(rest=lines(FIRST, *REST))
def test_silence_before_the_first_word_is_filled(house: House, held: Held, path: str) -> None:
    stream = Stream(house, path, "t-small", "patient")
    stream.until(b": ping\n\n")
    assert stream.head().status == 200
    assert {"x-request-id", "x-gateway-config"} <= {name.lower() for name in stream.head().headers}
    held.let.set()
    told = stream.end()
    assert told.startswith(b": ping\n\n")
    assert b"ll." in told
    assert b"error" not in told.replace(b'"error":null', b"")


@DOOR
@asks(first=lines(FIRST, REST[0]), rest=lines(*REST[1:]))
def test_silence_in_the_middle_is_filled(house: House, held: Held, path: str) -> None:
    stream = Stream(house, path, "t-small", "patient")
    stream.until(b": ping\n\n")
    assert b"We" in stream.told.partition(b": ping")[0]
    held.let.set()
    assert b"ll." in stream.end()


@DOOR
@asks(refusal=400)
def test_a_refusal_after_the_silence_is_told_within_the_stream(house: House, held: Held, path: str) -> None:
    stream = Stream(house, path, "t-small", "refused")
    stream.until(b": ping\n\n")
    held.let.set()
    last = json.loads(stream.end().rpartition(b"data: ")[2])
    assert (last if path == "/v1/responses" else last["error"])["code"] == "upstream_rejected"


@DOOR
@asks(rest=lines(FIRST, *REST), refusal=401, refused="small")
def test_who_answered_after_the_silence_stands_in_the_ledger(house: House, held: Held, path: str) -> None:
    """The first planned deployment would have been the wrong name for the head."""
    principal = f"rerouted-{path.rpartition('/')[2]}"
    stream = Stream(house, path, "t-route", principal)
    stream.until(b": ping\n\n")
    head = {name.lower(): value for name, value in stream.head().headers.items()}
    assert {"x-gateway-model", "x-gateway-provider", "x-gateway-route"}.isdisjoint(head)
    held.let.set()
    told = stream.end()
    assert b'"model":"t-route"' in told
    assert b"t-large" not in told
    found = entry(house, principal)
    assert (found["request_id"], found["model"], found["provider"]) == (head["x-request-id"], "t-large", "openai")


@DOOR
@asks(rest=lines(FIRST, *REST))
def test_who_leaves_before_the_first_word_ends_the_call(house: House, held: Held, path: str) -> None:
    principal = f"early-{path.rpartition('/')[2]}"
    stream = Stream(house, path, "t-slow", principal)
    assert held.asked.wait(10)
    stream.leave()
    assert held.left.wait(10), "the upstream call is ended"
    found = entry(house, principal)
    assert found["outcome"] == "cancelled"
    assert found["basis"] == "estimated"


@DOOR
@pytest.mark.parametrize(
    "held", [(lines(FIRST, REST[0]), lines(*REST[1:]), 0), (b"", lines(FIRST, *REST), 0)], indirect=True
)
def test_by_its_row_a_stream_is_read_to_its_end(house: House, held: Held, path: str) -> None:
    principal = f"drained-{path.rpartition('/')[2]}-{len(held.first)}"
    stream = Stream(house, path, "t-drained", principal)
    stream.until(b": ping\n\n")
    stream.leave()
    held.let.set()
    found = entry(house, principal)
    assert (found["outcome"], found["basis"]) == ("completed", "provider")
    assert not held.left.is_set()
