"""The HTTP client's way to a provider: names, addresses, certificates, proxies, and what a request may hold."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from fixtures.fault_server import (
    FaultServer,
    running_fault_server,
    serving,
    whole,
)
from fixtures.tls_kit import contexts
from fixtures.transport_kit import QUICK, Loops, post, run, streamed
from gateway.errors import ConfigurationInvalid, UpstreamUnavailable
from gateway.providers.http_target import proxy_of, target_of
from gateway.providers.transport import Transport


def test_nobody_listens(loops: Loops) -> None:
    with pytest.raises(UpstreamUnavailable) as caught:
        post("http://127.0.0.1:9/", loops=loops)
    assert caught.value.details["reached"] is False
    with pytest.raises(UpstreamUnavailable, match="no address") as caught:
        post("http://nowhere.invalid/", loops=loops)
    assert caught.value.details["reached"] is False


def test_the_next_address_of_a_name_is_tried(faulty: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    faulty.play([whole(b"Hello")])

    async def call(transport: Transport) -> bytes:
        found = [(0, 0, 0, "", (address, 0)) for address in ("127.0.0.2", "127.0.0.1")]

        async def resolve(*_given: object, **_options: object) -> list[object]:
            return list(found)

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve, raising=False)
        return (await transport.post(f"http://two.test:{faulty.port}/", b"{}", {}, QUICK)).body

    assert run(call, asyncio.new_event_loop) == b"Hello"
    assert faulty.asked[0].headers["host"] == f"two.test:{faulty.port}"


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

    try:
        await asyncio.gather(pump(reader, back), pump(there, writer))
    finally:
        back.transport.abort()


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
