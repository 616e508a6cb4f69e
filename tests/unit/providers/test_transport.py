"""The HTTP client against a server that does what servers do: well-behaved, odd, slow and broken."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Awaitable, Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import pytest
import uvloop
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from fixtures.fault_server import (
    CLOSE,
    HANG,
    RESET,
    Drip,
    FaultServer,
    Repeat,
    Script,
    bomb,
    chunk,
    head,
    running_fault_server,
    serving,
    whole,
)
from fixtures.tls_kit import contexts
from gateway.errors import ConfigurationInvalid, UpstreamError, UpstreamTimeout, UpstreamUnavailable
from gateway.providers.http_target import proxy_of, target_of
from gateway.providers.transport import Response, Transport
from gateway.registry.catalogue import Timeouts

QUICK = Timeouts(connect=2, first_byte=0.4, idle=0.4, total=5)
PATIENT = Timeouts(connect=5, first_byte=20, idle=20, total=30)
CHUNKED = head(transfer_encoding="chunked")
Result = TypeVar("Result")
Loops = Callable[[], asyncio.AbstractEventLoop]


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with running_fault_server() as running:
        yield running


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loops(request: pytest.FixtureRequest) -> Loops:
    made: Loops = request.param
    return made


def run(work: Callable[[Transport], Awaitable[Result]], loops: Loops = uvloop.new_event_loop) -> Result:
    async def main() -> Result:
        transport = Transport()
        try:
            return await work(transport)
        finally:
            await transport.close()

    with asyncio.Runner(loop_factory=loops) as runner:
        return runner.run(main())


def post(url: str, timeouts: Timeouts = QUICK, body: bytes = b"{}", loops: Loops = uvloop.new_event_loop) -> Response:
    return run(lambda transport: transport.post(url, body, {"x-name": "Ünïcode"}, timeouts), loops)


async def streamed(transport: Transport, url: str, timeouts: Timeouts = QUICK) -> bytes:
    response = await transport.open(target_of(url, {}), b"{}", timeouts)
    try:
        body = b""
        while piece := await response.chunk():
            body += piece
        return body
    finally:
        response.close()


def test_a_request_is_one_head_and_its_body(server: FaultServer, loops: Loops) -> None:
    server.play([whole({"a": 1}, x_Request_Id="7")])
    found = post(f"{server.url}/v1/x%2Fy?b=%20", body=b'{"q":1}', loops=loops)
    assert (found.status, found.body, found.headers["x-request-id"]) == (200, b'{"a": 1}', "7")
    (asked,) = server.asked
    assert asked.line == "POST /v1/x%2Fy?b=%20 HTTP/1.1"
    assert asked.body == b'{"q":1}'
    assert asked.headers == {
        "host": f"127.0.0.1:{server.port}",
        "x-name": "Ünïcode",
        "accept-encoding": "identity",
        "content-length": "7",
    }


@pytest.mark.parametrize(
    "script",
    [
        [whole(b"Hello")],
        [CHUNKED + chunk(b"Hel") + chunk(b"lo") + chunk(b"")],
        [CHUNKED, b"3;ext=1\r\nHel\r\n", b"2\r\nlo\r\n", b"0\r\nx-trailer: 1\r\n\r\n"],
        [head() + b"Hel", b"lo", CLOSE],
        [Drip(whole(b"Hello"), 0.001)],
        [b"HTTP/1.1 100 Continue\r\n\r\n", head(103, link="</a>") + whole(b"Hello")],
        [b"HTTP/1.0 200 OK\r\n\r\nHello", CLOSE],
        [whole(gzip.compress(b"Hello"), content_encoding="gzip")],
        [whole(zlib.compress(b"Hello"), content_encoding="deflate")],
        [whole(zlib.compress(b"Hello")[2:-4], content_encoding="deflate")],
        [whole(gzip.compress(b"Hel") + gzip.compress(b"lo"), content_encoding="GZIP")],
    ],
)
def test_a_body_is_the_same_however_it_comes(server: FaultServer, script: Script, loops: Loops) -> None:
    server.play(script)
    assert post(server.url, loops=loops).body == b"Hello"
    server.play(script)
    assert run(lambda transport: streamed(transport, server.url), loops) == b"Hello"


@pytest.mark.parametrize(
    ("script", "kind", "reached"),
    [
        ([HANG], UpstreamTimeout, True),
        ([Drip(whole(b"Hello"), 0.05)], UpstreamTimeout, True),
        ([head(content_length="10") + b"half", HANG], UpstreamTimeout, True),
        ([RESET], UpstreamUnavailable, True),
        ([CLOSE], UpstreamUnavailable, True),
        ([head(content_length="10")[:20], RESET], UpstreamUnavailable, True),
        ([head(content_length="10") + b"half", RESET], UpstreamUnavailable, True),
        ([head(content_length="10") + b"half", CLOSE], UpstreamUnavailable, True),
        ([CHUNKED + chunk(b"half"), CLOSE], UpstreamUnavailable, True),
        ([CHUNKED + chunk(b"half") + b"zz\r\nhalf"], UpstreamUnavailable, True),
        ([CHUNKED + b"2\r\nhalf\r\n"], UpstreamUnavailable, True),
        ([b"SSH-2.0-OpenSSH_9.6\r\n"], UpstreamUnavailable, True),
        ([head(content_length="5", Content_Length="6") + b"Hello!"], UpstreamUnavailable, True),
        ([head(x="y" * 900_000)], UpstreamUnavailable, True),
        ([Repeat(b"HTTP/1.1 100 Continue\r\n\r\n", 20_000)], UpstreamUnavailable, True),
        ([CHUNKED + b"0\r\n", Repeat(b"x-trailer: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n", 20_000)],
         UpstreamUnavailable, True),
        ([whole(b"no gzip", content_encoding="gzip")], UpstreamError, True),
        ([whole(gzip.compress(b"Hello" * 100)[:-9], content_encoding="gzip")], UpstreamError, True),
        ([whole(b"brotli", content_encoding="br")], UpstreamError, True),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_an_error_of_ours(
    server: FaultServer, script: Script, kind: type[UpstreamError], reached: bool, loops: Loops
) -> None:
    server.play(script)
    with pytest.raises(kind) as caught:
        post(server.url, loops=loops)
    assert caught.value.details["reached"] is reached
    server.play(script)
    with pytest.raises(kind):
        run(lambda transport: streamed(transport, server.url), loops)
    assert len(server.asked) == 1, "nothing is sent twice on a connection of its own"


def test_an_answer_without_end_is_not_kept(server: FaultServer) -> None:
    for script in (
        [head(content_length="104857600"), Repeat(b"x" * 65536, 1600)],
        [whole(bomb(100_000_000), content_encoding="gzip")],
    ):
        server.play(script)
        with pytest.raises(UpstreamUnavailable, match="larger"):
            post(server.url, PATIENT)


def test_a_stream_of_any_length_is_read_in_pieces_that_fit(server: FaultServer) -> None:
    """A slow reader holds the provider back: what waits here stays small."""

    async def read(transport: Transport) -> tuple[int, int]:
        response = await transport.open(target_of(server.url, {}), b"{}", PATIENT)
        total = largest = 0
        while piece := await response.chunk():
            total, largest = total + len(piece), max(largest, len(piece))
            await asyncio.sleep(0)
        response.close()
        return total, largest

    for script in (
        [head(content_length=str(65536 * 800)), Repeat(b"x" * 65536, 800)],
        [whole(bomb(65536 * 800), content_encoding="gzip")],
    ):
        server.play(script)
        total, largest = run(read)
        assert total == 65536 * 800
        assert largest <= 1024 * 1024


def test_connections_are_used_again(server: FaultServer, loops: Loops) -> None:
    server.play([whole(b"Hello")])

    async def calls(transport: Transport) -> None:
        for _ in range(3):
            await transport.post(server.url, b"{}", {}, QUICK)
            await streamed(transport, server.url)

    run(calls, loops)
    assert server.used() == [1] * 6


def test_parallel_calls_have_connections_of_their_own(server: FaultServer) -> None:
    server.play([whole(b"Hello")])

    async def calls(transport: Transport) -> list[Response]:
        return await asyncio.gather(*(transport.post(server.url, b"{}", {}, QUICK) for _ in range(20)))

    assert [answer.body for answer in run(calls)] == [b"Hello"] * 20


@pytest.mark.parametrize(
    "script",
    [
        [whole(b"Hello", connection="close")],
        [whole(b"Hello") + b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nEvil"],
        [whole(b"Hello") + b"garbage"],
        [head() + b"Hello", CLOSE],
    ],
)
def test_a_connection_that_is_not_fit_is_not_used_again(server: FaultServer, script: Script, loops: Loops) -> None:
    server.play(script)

    async def calls(transport: Transport) -> list[bytes]:
        return [(await transport.post(server.url, b"{}", {}, QUICK)).body for _ in range(3)]

    assert run(calls, loops) == [b"Hello"] * 3
    assert server.used() == [1, 2, 3]


@pytest.mark.parametrize("fault", [RESET, CLOSE])
def test_a_connection_that_closes_as_it_is_used_again_is_replaced_unseen(
    server: FaultServer, fault: Script, loops: Loops
) -> None:
    server.play([whole(b"first")], [fault], [whole(b"second")])  # type: ignore[list-item]

    async def calls(transport: Transport) -> list[bytes]:
        return [(await transport.post(server.url, b"{}", {}, QUICK)).body for _ in range(2)]

    assert run(calls, loops) == [b"first", b"second"]
    assert server.used() == [1, 1, 2]


def test_a_connection_is_replaced_once_and_never_after_a_byte(server: FaultServer) -> None:
    async def calls(transport: Transport) -> None:
        await transport.post(server.url, b"{}", {}, QUICK)
        with pytest.raises(UpstreamUnavailable):
            await transport.post(server.url, b"{}", {}, QUICK)

    server.play([whole(b"first")], [RESET], [RESET], [whole(b"never")])
    run(calls)
    assert server.used() == [1, 1, 2]
    server.play([whole(b"first")], [b"HTTP/1.1 200", RESET], [whole(b"never")])
    run(calls)
    assert server.used() == [1, 1]


def test_who_stops_waiting_hangs_up(server: FaultServer, loops: Loops) -> None:
    async def leave(transport: Transport) -> None:
        call = asyncio.ensure_future(transport.post(server.url, b"{}", {}, PATIENT))
        while not server.asked:
            await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await asyncio.to_thread(server.left.wait, 5)

    server.play([HANG])
    run(leave, loops)


def test_who_waits_while_all_is_closed_is_told(server: FaultServer) -> None:
    async def close(transport: Transport) -> None:
        call = asyncio.ensure_future(transport.post(server.url, b"{}", {}, PATIENT))
        while not server.asked:
            await asyncio.sleep(0.01)
        await transport.close()
        with pytest.raises(UpstreamUnavailable):
            await call

    server.play([HANG])
    run(close)


def test_a_stream_that_has_said_all_gives_its_connection_back(server: FaultServer, loops: Loops) -> None:
    async def calls(transport: Transport) -> None:
        for _ in range(2):
            response = await transport.open(target_of(server.url, {}), b"{}", PATIENT)
            assert await response.chunk() == b"all"
            response.close(ended=True)
            while transport._pools[next(iter(transport._pools))]._free == []:
                await asyncio.sleep(0.01)

    server.play([CHUNKED + chunk(b"all"), Drip(chunk(b""))])
    run(calls, loops)
    assert server.used() == [1, 1]


def test_a_stream_that_says_more_than_all_is_hung_up_on(server: FaultServer) -> None:
    async def call(transport: Transport) -> None:
        response = await transport.open(target_of(server.url, {}), b"{}", PATIENT)
        await response.chunk()
        response.close(ended=True)
        assert await asyncio.to_thread(server.left.wait, 10)

    server.play([CHUNKED + chunk(b"all"), HANG])
    run(call)


def test_nobody_listens(loops: Loops) -> None:
    with pytest.raises(UpstreamUnavailable) as caught:
        post("http://127.0.0.1:9/", loops=loops)
    assert caught.value.details["reached"] is False
    with pytest.raises(UpstreamUnavailable, match="no address") as caught:
        post("http://nowhere.invalid/", loops=loops)
    assert caught.value.details["reached"] is False


def test_the_next_address_of_a_name_is_tried(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.play([whole(b"Hello")])

    async def call(transport: Transport) -> bytes:
        found = [(0, 0, 0, "", (address, 0)) for address in ("127.0.0.2", "127.0.0.1")]

        async def resolve(*_given: object, **_options: object) -> list[object]:
            return list(found)

        transport._pool(target_of(f"http://two.test:{server.port}/", {}))
        assert transport._names is not None
        monkeypatch.setattr(transport._names._loop, "getaddrinfo", resolve, raising=False)
        return (await transport.post(f"http://two.test:{server.port}/", b"{}", {}, QUICK)).body

    assert run(call, asyncio.new_event_loop) == b"Hello"
    assert server.asked[0].headers["host"] == f"two.test:{server.port}"


def test_a_certificate_must_be_trusted_and_of_the_name(tmp_path: Path, loops: Loops) -> None:
    good, trusting = contexts(tmp_path)
    with running_fault_server(good, host="localhost") as server:
        server.play([whole(b"Hello")])

        async def call(trusted: object, host: str) -> bytes:
            transport = Transport(trusted)  # type: ignore[arg-type]
            try:
                url = f"https://{host}:{server.port}"
                return (await transport.post(url, b"{}", {}, QUICK)).body + await streamed(transport, url)
            finally:
                await transport.close()

        def tried(trusted: object, host: str = "localhost") -> bytes:
            with asyncio.Runner(loop_factory=loops) as runner:
                return runner.run(call(trusted, host))

        assert tried(trusting) == b"HelloHello"
        assert server.used() == [1, 1]
        for trusted, host in ((None, "localhost"), (trusting, "127.0.0.1")):
            with pytest.raises(UpstreamUnavailable, match="certificate") as caught:
                tried(trusted, host)
            assert caught.value.details["reached"] is False
        assert len(server.asked) == 2


async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A proxy that opens a tunnel for whoever has the password."""
    request = (await reader.readuntil(b"\r\n\r\n")).decode()
    if "proxy-authorization: Basic bWU6cEBzcw==" not in request:
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
        writer.close()
        return
    host, _, port = request.split()[1].rpartition(":")
    there, back = await asyncio.open_connection(host, int(port))
    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            sink.write(data)
        sink.close()

    await asyncio.gather(pump(reader, back), pump(there, writer))


def test_a_proxy_is_gone_through_where_it_is_named(tmp_path: Path, loops: Loops) -> None:
    good, trusting = contexts(tmp_path)

    async def call(url: str, proxy: str) -> bytes:
        transport = Transport(trusting)
        try:
            return (await transport.send(target_of(url, {}, proxy=proxy), b"{}", QUICK)).body
        finally:
            await transport.close()

    def tried(url: str, proxy: str) -> bytes:
        with asyncio.Runner(loop_factory=loops) as runner:
            return runner.run(call(url, proxy))

    with running_fault_server(good, host="localhost") as server, serving(tunnel) as port:
        server.play([whole(b"Hello")])
        assert tried(server.url, f"http://me:p%40ss@127.0.0.1:{port}") == b"Hello"
        with pytest.raises(UpstreamUnavailable) as caught:
            tried(server.url, f"http://127.0.0.1:{port}")
        assert caught.value.details["reached"] is False
    with running_fault_server() as proxy:
        proxy.play([whole(b"Hello")])
        assert tried("http://model.test/v1?a=b", f"http://me:p%40ss@127.0.0.1:{proxy.port}") == b"Hello"
        assert proxy.asked[0].line == "POST http://model.test/v1?a=b HTTP/1.1"
        assert proxy.asked[0].headers["host"] == "model.test"
        assert proxy.asked[0].headers["proxy-authorization"] == "Basic bWU6cEBzcw=="


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("ftp://127.0.0.1/", {}),
        ("http:///x", {}),
        ("http://127.0.0.1/a b", {}),
        ("http://127.0.0.1/a\r\nx: y", {}),
        ("http://127.0.0.1:99999/", {}),
        ("http://127.0.0.1/", {"authorization": "Bearer secret\r\nx: y"}),
        ("http://127.0.0.1/", {"authorization": "Bearer secret☃"}),
        ("http://127.0.0.1/", {"x y": "secret"}),
        ("http://127.0.0.1/", {"content-length": "7"}),
    ],
)
def test_what_cannot_stand_in_a_request_is_refused(url: str, headers: dict[str, str]) -> None:
    with pytest.raises(ConfigurationInvalid) as caught:
        target_of(url, headers)
    assert "secret" not in f"{caught.value.message}{caught.value.mend}"


def test_a_proxy_is_an_http_one() -> None:
    assert proxy_of("http://proxy.test").port == 80
    for url in ("https://proxy.test", "socks5://proxy.test", "http://", "http://a b"):
        with pytest.raises(ConfigurationInvalid):
            proxy_of(url)


PIECES = [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 ", b"content-length: 5\r\n", b"transfer-encoding: chunked\r\n", b"\r\n",
          b"5\r\nHello\r\n", b"0\r\n\r\n", b"Hello", b"\x00\xff", b"data: {}\n\n", b"-1\r\n", b"HTTP/1.1 100 C\r\n\r\n",
          b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", b"content-encoding: gzip\r\n",
          b"connection: close\r\n", b"content-length: 99999999999999999999\r\n", b"HTTP/1.1 204 No\r\n\r\n"]  # fmt: skip


@settings(max_examples=150, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(
    st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=40)), max_size=12),
    st.lists(st.integers(0, 400), max_size=6),
    st.booleans(),
)
def test_no_answer_is_so_odd_that_it_is_not_an_answer_or_an_error_of_ours(
    pieces: list[bytes], cuts: list[int], whole_answer: bool
) -> None:
    data = b"".join(pieces)
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    steps = [data[start:end] for start, end in pairwise(places)]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n{}")
        for step in steps:
            writer.write(step)
            await writer.drain()
        writer.close()

    async def ask() -> None:
        listening = await asyncio.start_server(answer, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        transport = Transport()
        try:
            async with asyncio.timeout(10):
                await (transport.post(url, b"{}", {}, QUICK) if whole_answer else streamed(transport, url))
        except UpstreamError:
            assert True  # one of ours
        finally:
            await transport.close()
            listening.close()

    asyncio.run(ask())
