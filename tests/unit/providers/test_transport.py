"""The HTTP client against a server that does what servers do: well-behaved, odd, slow and broken."""

from __future__ import annotations

import asyncio
import gzip
import zlib

import pytest

from fixtures.fault_server import (
    CLOSE,
    HANG,
    RESET,
    Drip,
    FaultServer,
    Pause,
    Repeat,
    Script,
    bomb,
    chunk,
    head,
    whole,
)
from fixtures.transport_kit import PATIENT, QUICK, Loops, post, run, streamed, until
from gateway.errors import UpstreamError, UpstreamTimeout, UpstreamUnavailable
from gateway.providers.http_target import target_of
from gateway.providers.transport import Response, Transport

CHUNKED = head(transfer_encoding="chunked")


def test_a_request_is_one_head_and_its_body(faulty: FaultServer, loops: Loops) -> None:
    faulty.play([whole({"a": 1}, x_Request_Id="7")])
    found = post(f"{faulty.url}/v1/x%2Fy?b=%20", body=b'{"q":1}', loops=loops)
    assert (found.status, found.body, found.headers["x-request-id"]) == (200, b'{"a": 1}', "7")
    (asked,) = faulty.asked
    assert asked.line == "POST /v1/x%2Fy?b=%20 HTTP/1.1"
    assert asked.body == b'{"q":1}'
    assert asked.headers == {
        "host": f"127.0.0.1:{faulty.port}",
        "x-name": "Ünïcode",
        "accept-encoding": "identity",
        "content-length": "7",
    }


def test_one_header_of_a_stream_is_the_one_among_all(faulty: FaultServer, loops: Loops) -> None:
    faulty.play([b"HTTP/1.1 200 OK\r\nContent-TYPE: a\r\nX-Request: 7\r\ncontent-type: b\r\n\r\n", CLOSE])

    async def asked(transport: Transport) -> tuple[list[str], dict[str, str]]:
        response = await transport.open(target_of(faulty.url, {}), b"", PATIENT)
        try:
            return [response.header(name) for name in (b"content-type", b"x-request", b"x-other")], response.headers
        finally:
            response.close()

    one, every = run(asked, loops)
    assert one == ["b", "7", ""]
    assert every == {"content-type": "b", "x-request": "7"}


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
def test_a_body_is_the_same_however_it_comes(faulty: FaultServer, script: Script, loops: Loops) -> None:
    faulty.play(script)
    assert post(faulty.url, loops=loops).body == b"Hello"
    faulty.play(script)
    assert run(lambda transport: streamed(transport, faulty.url), loops) == b"Hello"


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
        ([Repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, 20)], UpstreamUnavailable, True),
        ([CHUNKED + b"0\r\n", Repeat(b"x-trailer: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n" * 1000, 20)],
         UpstreamUnavailable, True),
        ([whole(b"no gzip", content_encoding="gzip")], UpstreamError, True),
        ([whole(gzip.compress(b"Hello" * 100)[:-9], content_encoding="gzip")], UpstreamError, True),
        ([whole(b"brotli", content_encoding="br")], UpstreamError, True),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_an_error_of_ours(
    faulty: FaultServer, script: Script, kind: type[UpstreamError], reached: bool, loops: Loops
) -> None:
    faulty.play(script)
    with pytest.raises(kind) as caught:
        post(faulty.url, loops=loops)
    assert caught.value.details["reached"] is reached
    faulty.play(script)
    with pytest.raises(kind):
        run(lambda transport: streamed(transport, faulty.url), loops)
    assert len(faulty.asked) == 1, "nothing is sent twice on a connection of its own"


def test_an_answer_without_end_is_not_kept(faulty: FaultServer) -> None:
    scripts: list[Script] = [
        [head(content_length="104857600"), Repeat(b"x" * 65536, 1600)],
        [whole(bomb(100_000_000), content_encoding="gzip")],
    ]
    for script in scripts:
        faulty.play(script)
        with pytest.raises(UpstreamUnavailable, match="larger"):
            post(faulty.url, PATIENT)


def test_a_stream_of_any_length_is_read_in_pieces_that_fit(faulty: FaultServer) -> None:
    """A slow reader holds the provider back: what waits here stays small."""

    async def read(transport: Transport) -> tuple[int, int]:
        response = await transport.open(target_of(faulty.url, {}), b"{}", PATIENT)
        total = largest = 0
        while piece := await response.chunk():
            total, largest = total + len(piece), max(largest, len(piece))
            await asyncio.sleep(0)
        response.close()
        return total, largest

    scripts: list[Script] = [
        [head(content_length=str(65536 * 800)), Repeat(b"x" * 65536, 800)],
        [whole(bomb(65536 * 800), content_encoding="gzip")],
    ]
    for script in scripts:
        faulty.play(script)
        total, largest = run(read)
        assert total == 65536 * 800
        assert largest <= 1024 * 1024


def test_connections_are_used_again(faulty: FaultServer, loops: Loops) -> None:
    faulty.play([whole(b"Hello")])

    async def calls(transport: Transport) -> None:
        for _ in range(3):
            await transport.post(faulty.url, b"{}", {}, QUICK)
            await streamed(transport, faulty.url)

    run(calls, loops)
    assert faulty.used() == [1] * 6


def test_parallel_calls_have_connections_of_their_own(faulty: FaultServer) -> None:
    faulty.play([whole(b"Hello")])

    async def calls(transport: Transport) -> list[Response]:
        return await asyncio.gather(*(transport.post(faulty.url, b"{}", {}, QUICK) for _ in range(20)))

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
def test_a_connection_that_is_not_fit_is_not_used_again(faulty: FaultServer, script: Script, loops: Loops) -> None:
    faulty.play(script)

    async def calls(transport: Transport) -> list[bytes]:
        return [(await transport.post(faulty.url, b"{}", {}, QUICK)).body for _ in range(3)]

    assert run(calls, loops) == [b"Hello"] * 3
    assert faulty.used() == [1, 2, 3]


@pytest.mark.parametrize("fault", [RESET, CLOSE])
def test_a_connection_that_closes_as_it_is_used_again_is_replaced_unseen(
    faulty: FaultServer, fault: Script, loops: Loops
) -> None:
    faulty.play([whole(b"first")], [fault], [whole(b"second")])  # type: ignore[list-item]

    async def calls(transport: Transport) -> list[bytes]:
        return [(await transport.post(faulty.url, b"{}", {}, QUICK)).body for _ in range(2)]

    assert run(calls, loops) == [b"first", b"second"]
    assert faulty.used() == [1, 1, 2]


def test_a_connection_is_replaced_once_and_never_after_a_byte(faulty: FaultServer) -> None:
    async def calls(transport: Transport) -> None:
        await transport.post(faulty.url, b"{}", {}, QUICK)
        with pytest.raises(UpstreamUnavailable):
            await transport.post(faulty.url, b"{}", {}, QUICK)

    faulty.play([whole(b"first")], [RESET], [RESET], [whole(b"never")])
    run(calls)
    assert faulty.used() == [1, 1, 2]
    faulty.play([whole(b"first")], [b"HTTP/1.1 200", RESET], [whole(b"never")])
    run(calls)
    assert faulty.used() == [1, 1]


def test_a_request_that_was_taken_is_not_sent_again(faulty: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that breaks later than a race is lost at is no race: the provider may be at work."""
    monkeypatch.setattr("gateway.providers.http_connection._RACE", 0.05)

    async def calls(transport: Transport) -> None:
        await transport.post(faulty.url, b"{}", {}, QUICK)
        with pytest.raises(UpstreamUnavailable) as caught:
            await transport.post(faulty.url, b"{}", {}, QUICK)
        assert caught.value.details["reached"] is True

    faulty.play([whole(b"first")], [Pause(0.2), RESET], [whole(b"never")])
    run(calls)
    assert faulty.used() == [1, 1]


def test_a_connection_at_rest_is_closed_after_a_while(faulty: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.providers.http_connection.KEEP", 0.05)
    faulty.play([whole(b"Hello"), HANG])

    async def call(transport: Transport) -> None:
        await transport.post(faulty.url, b"{}", {}, QUICK)
        assert await asyncio.to_thread(faulty.left.wait, 10)
        await until(lambda: transport._ticking is None)

    run(call)


def test_who_stops_waiting_hangs_up(faulty: FaultServer, loops: Loops) -> None:
    async def leave(transport: Transport) -> None:
        call = asyncio.ensure_future(transport.post(faulty.url, b"{}", {}, PATIENT))
        await until(lambda: bool(faulty.asked))
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await asyncio.to_thread(faulty.left.wait, 5)

    faulty.play([HANG])
    run(leave, loops)


def test_who_waits_while_all_is_closed_is_told(faulty: FaultServer) -> None:
    async def close(transport: Transport) -> None:
        call = asyncio.ensure_future(transport.post(faulty.url, b"{}", {}, PATIENT))
        await until(lambda: bool(faulty.asked))
        await transport.close()
        with pytest.raises(UpstreamUnavailable):
            await call

    faulty.play([HANG])
    run(close)


def test_a_stream_that_has_said_all_gives_its_connection_back(faulty: FaultServer, loops: Loops) -> None:
    async def calls(transport: Transport) -> None:
        for _ in range(2):
            response = await transport.open(target_of(faulty.url, {}), b"{}", PATIENT)
            assert await response.chunk() == b"all"
            response.close(ended=True)
            await until(lambda: any(pool._free for pool in transport._pools.values()))

    faulty.play([CHUNKED + chunk(b"all"), Drip(chunk(b""))])
    run(calls, loops)
    assert faulty.used() == [1, 1]


def test_a_stream_that_says_more_than_all_is_hung_up_on(faulty: FaultServer) -> None:
    async def call(transport: Transport) -> None:
        response = await transport.open(target_of(faulty.url, {}), b"{}", PATIENT)
        await response.chunk()
        response.close(ended=True)
        assert await asyncio.to_thread(faulty.left.wait, 10)

    faulty.play([CHUNKED + chunk(b"all"), HANG])
    run(call)
