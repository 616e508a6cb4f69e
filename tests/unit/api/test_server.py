"""The server under the doors: what goes over the wire, for whole answers, streams, and connections at rest."""

from __future__ import annotations

import asyncio
import gc
import socket
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.api.lean import LEAN, Lean
from gateway.api.leaving import Watch
from gateway.api.server import Protocol
from gateway.api.wire.answer_head import Head

App = Callable[[Scope, Receive, Send], Awaitable[None]]
GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


@asynccontextmanager
async def served(app: App, **options: Any) -> AsyncIterator[Callable[[], Awaitable[tuple[Any, Any]]]]:
    """The app behind the server; gives what opens a connection to it."""
    door = socket.create_server(("127.0.0.1", 0))
    usual: dict[str, Any] = {"http": Protocol, "lifespan": "off", "log_config": None, "access_log": False}
    config = uvicorn.Config(app, **(usual | options))
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve([door]))
    try:
        yield lambda: asyncio.open_connection("127.0.0.1", door.getsockname()[1])
    finally:
        server.should_exit = True
        await serving


async def exchange(app: App, request: bytes, **options: Any) -> bytes:
    """All that is sent back until the connection ends."""
    async with served(app, **options) as connect:
        reader, writer = await connect()
        writer.write(request)
        found: bytes = await reader.read()
        writer.close()
    return found


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """The test, in an event loop of its own."""

    @wraps(test)
    def run(**given: Any) -> None:
        asyncio.run(test(**given))

    return run


def whole(body: bytes, *, length: int | None = None) -> App:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        head = Head("x-own: 1\r\n", len(body) if length is None else length)
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": body})

    return app


async def streamed(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": Head("x-own: 1\r\n")})
    for body in (b"one", b"", b"three"):
        await send({"type": "http.response.body", "body": body, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


CLOSING = GET.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")


@pytest.mark.parametrize("body", [b"hello", b"", b"x" * 200_000])
@in_loop
async def test_a_whole_answer(body: bytes) -> None:
    head, _, told = (await exchange(whole(body), CLOSING)).partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 200 OK"
    assert {b"x-own: 1", b"content-length: %d" % len(body), b"connection: close"} <= set(lines)
    assert any(line.startswith(b"date: ") for line in lines)
    assert told == body


@in_loop
async def test_a_stream_is_chunked() -> None:
    head, _, told = (await exchange(streamed, CLOSING)).partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head
    assert told == b"3\r\none\r\n5\r\nthree\r\n0\r\n\r\n"


@in_loop
async def test_two_requests_at_once_are_answered_in_turn() -> None:
    found = await exchange(whole(b"hello"), GET + CLOSING)
    assert found.count(b"HTTP/1.1 200 OK") == 2
    assert found.count(b"connection: close") == 1


@in_loop
async def test_head_has_no_body() -> None:
    found = await exchange(whole(b"hello"), CLOSING.replace(b"GET", b"HEAD"))
    assert b"content-length: 5" in found
    assert found.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("length", [4, 6])
@in_loop
async def test_an_answer_of_another_length_than_it_says_is_broken_off(length: int) -> None:
    assert b"hello" not in await exchange(whole(b"hello", length=length), GET)


@in_loop
async def test_a_connection_at_rest_is_closed_in_its_time() -> None:
    found = await asyncio.wait_for(exchange(whole(b"hello"), GET, timeout_keep_alive=0.3), 10)
    assert found.endswith(b"hello")


@in_loop
async def test_a_connection_at_work_is_not_closed() -> None:
    async with served(whole(b"hello"), timeout_keep_alive=1) as connect:
        reader, writer = await connect()
        for _ in range(8):
            writer.write(GET)
            await reader.readuntil(b"hello")
            await asyncio.sleep(0.2)  # longer together than a connection may rest
        writer.close()


@in_loop
async def test_who_leaves_ends_what_is_streamed_to_them() -> None:
    ended = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def write(body: bytes) -> None:
            await send({"type": "http.response.body", "body": body, "more_body": True})

        assert LEAN in scope
        watch = Watch(scope, receive, write)
        await send({"type": "http.response.start", "status": 200, "headers": Head("")})
        try:
            await write(b"first")
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            assert watch.left
        finally:
            watch.end()
            ended.set()

    async with served(app) as connect:
        reader, writer = await connect()
        writer.write(GET)
        await reader.readuntil(b"first")
        assert not ended.is_set()
        writer.close()
        await asyncio.wait_for(ended.wait(), 10)


@pytest.mark.parametrize("lean", [True, False])
@in_loop
async def test_what_an_exchange_was_made_of_goes_with_its_answer(lean: bool) -> None:
    """No ring of references is left to the collector, which would cost every request its share."""
    made: list[weakref.ref[object]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        made.append(weakref.ref(scope[LEAN]))
        watch = Watch(scope, receive, lambda data: send({"type": "http.response.body", "body": data}))
        headers = Head("", 5) if lean else [(b"content-length", b"5")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"hello"})
        watch.end()

    gc.disable()
    try:
        async with served(app) as connect:
            reader, writer = await connect()
            for _ in range(3):
                writer.write(GET)
                await reader.readuntil(b"hello")
            assert len(made) == 3
            assert [one() for one in made[:2]] == [None, None]
            writer.close()
    finally:
        gc.enable()


BODY = b"x" * 100_000
MUCH = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)


class AtOnce(Protocol):
    """A connection that gets ``MUCH`` when all of it is there."""

    kept = b""

    def data_received(self, data: bytes) -> None:
        self.kept += data
        if len(self.kept) == len(MUCH):
            super().data_received(self.kept)


@in_loop
async def test_a_client_that_sent_much_is_heard_to_leave() -> None:
    """The reading, which stops at a large body, goes on when the body was taken."""
    taken, left = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        lean: Lean = scope[LEAN]
        assert lean.arrived() == BODY
        assert lean.when_left(left.set)
        taken.set()
        await left.wait()

    async with served(app, http=AtOnce) as connect:
        _, writer = await connect()
        writer.write(MUCH)
        await asyncio.wait_for(taken.wait(), 10)
        writer.close()
        try:
            await asyncio.wait_for(left.wait(), 10)
        finally:
            left.set()


async def heard(scope: Scope, receive: Receive, send: Send) -> None:
    """Tells the body that came, and the names of the headers."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    names = b",".join(name for name, _ in scope["headers"])
    await whole(b"%b %b [%b]" % (scope["method"].encode(), body, names))(scope, receive, send)


H2C = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAEAAEAAAAIAAAAA\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nhost: x\r\n%btransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n" % H2C
COUNTED = b"POST / HTTP/1.1\r\nhost: x\r\n%bcontent-length: 5\r\n\r\nabcde" % H2C


@pytest.mark.parametrize("request_", [CHUNKED, COUNTED])
@pytest.mark.parametrize("cut", [1000, 7, 1])
@in_loop
async def test_who_would_rather_speak_http_2_is_answered_all_the_same(request_: bytes, cut: int) -> None:
    async with served(heard) as connect:
        reader, writer = await connect()
        for _ in range(2):  # the connection goes on
            for start in range(0, len(request_), cut):
                writer.write(request_[start : start + cut])
                await writer.drain()
                await asyncio.sleep(0)
            found = await asyncio.wait_for(reader.readuntil(b"]"), 5)
            assert b"HTTP/1.1 200 OK" in found
            assert b"POST abcde [host,connection," in found
        writer.write(request_ + CLOSING)  # and so does what comes with it
        rest = await asyncio.wait_for(reader.read(), 5)
        assert (b"POST abcde [" in rest, b"GET  [" in rest) == (True, True)
        writer.close()


@in_loop
async def test_this_is_no_proxy() -> None:
    assert b"400 Bad Request" in await exchange(heard, b"CONNECT x:443 HTTP/1.1\r\nhost: x:443\r\n\r\n")


@in_loop
async def test_a_head_without_end_is_refused() -> None:
    async with served(heard) as connect:
        reader, writer = await connect()
        writer.write(b"GET / HTTP/1.1\r\nx-long: " + b"a" * 255_000)
        await asyncio.sleep(0.2)
        writer.write(b"a" * 10_000)
        found = await asyncio.wait_for(reader.read(), 5)
        assert found.startswith(b"HTTP/1.1 400 Bad Request")
        writer.close()


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nhost: x\r\n", GET + b"GET / HTTP/1.1\r\n"])
@in_loop
async def test_a_connection_on_which_no_whole_head_comes_is_closed(begun: bytes) -> None:
    async with served(whole(b"hello"), timeout_keep_alive=0.3) as connect:
        reader, writer = await connect()
        writer.write(begun)
        found = await asyncio.wait_for(reader.read(), 10)
        assert found.count(b"hello") == begun.count(b"\r\n\r\n")
        writer.close()


@in_loop
async def test_a_large_head_and_a_slow_body_are_taken() -> None:
    async with served(heard, timeout_keep_alive=0.3) as connect:
        reader, writer = await connect()
        head = b"POST / HTTP/1.1\r\nhost: x\r\nx-large: %b\r\ncontent-length: 2\r\n\r\n" % (b"a" * 100_000)
        writer.write(head + b"o")
        await asyncio.sleep(0.8)
        writer.write(b"k")
        assert b"POST ok [" in await asyncio.wait_for(reader.readuntil(b"]"), 5)
        writer.close()


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/v1/chat/completions",
        "/a?b=c&d",
        "/a?",
        "/a%20b/%E2%82%AC",
        "//a//b",
        "http://x.test/a?b=c",
        "/a?b#c",
        "/a#b?c",
    ],
)
@pytest.mark.parametrize("version", ["1.0", "1.1"])
@in_loop
async def test_a_request_is_told_as_uvicorn_tells_it(target: str, version: str) -> None:
    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        told = [scope[name] for name in ("method", "path", "raw_path", "query_string", "http_version", "headers")]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
        await send({"type": "http.response.body", "body": repr(told).encode()})

    request = f"POST {target} HTTP/{version}\r\nHost: x\r\nX-Own: Y\r\ncontent-length: 2\r\n\r\nhi".encode()
    ours, theirs = [(await exchange(app, request, http=http)) for http in (Protocol, HttpToolsProtocol)]
    assert ours.partition(b"\r\n\r\n")[2] == theirs.partition(b"\r\n\r\n")[2]
    assert ours.split(b" ")[1] == theirs.split(b" ")[1]
