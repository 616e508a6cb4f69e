"""Calls to addresses that a caller chose: pinned to what was checked, told by status alone."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.fault_server import CLOSE, HANG, RESET, FaultServer, Script, head, running_fault_server, whole
from fixtures.tls_kit import contexts
from gateway.errors import EgressDenied, UpstreamTimeout, UpstreamUnavailable
from gateway.providers import egress_client
from gateway.providers.egress_client import EgressClient
from gateway.registry.catalogue import Timeouts
from gateway.security.egress import EgressPolicy


@pytest.fixture(scope="module")
def receiver() -> Iterator[FaultServer]:
    with running_fault_server() as running:
        yield running


def send(url: str, trusted: ssl.SSLContext | None = None) -> int:
    client = EgressClient(EgressPolicy(allow_loopback=True, allow_http=True), trusted)
    headers = {"content-type": "application/json", "webhook-id": "w1"}
    return asyncio.run(client.post(url, b'{"event": 1}', headers)).status


def test_the_body_is_posted_and_the_status_told(receiver: FaultServer) -> None:
    for status in (200, 204, 302, 404, 500):
        receiver.play([whole({"a": 1}, status, location="http://169.254.169.254/")])
        assert send(f"{receiver.url}/hook/ü?a=b|c%20d") == status
        (asked,) = receiver.asked
        assert asked.line == "POST /hook/%C3%BC?a=b%7Cc%20d HTTP/1.1"
        assert asked.body == b'{"event": 1}'
        assert asked.headers["webhook-id"] == "w1"
        assert asked.headers["host"] == f"127.0.0.1:{receiver.port}"


def test_an_endless_answer_is_not_read(receiver: FaultServer) -> None:
    receiver.play([head(content_length="1000000000") + b"x" * 10, HANG])
    assert send(receiver.url) == 200
    assert receiver.left.wait(10)


@pytest.mark.parametrize(
    ("script", "kind"),
    [([RESET], UpstreamUnavailable), ([CLOSE], UpstreamUnavailable), ([HANG], UpstreamTimeout),
     ([b"no HTTP\r\n\r\n"], UpstreamUnavailable)],
)  # fmt: skip
def test_what_fails_is_told_of_the_receiver(
    receiver: FaultServer, monkeypatch: pytest.MonkeyPatch, script: Script, kind: type[UpstreamUnavailable]
) -> None:
    monkeypatch.setattr(egress_client, "_TIMEOUTS", Timeouts(connect=2, first_byte=0.3, idle=0.3, total=2))
    receiver.play(script)
    with pytest.raises(kind, match="the receiver") as caught:
        send(receiver.url)
    assert "provider" not in caught.value.message
    assert len(receiver.asked) == 1


def test_a_name_is_resolved_once_and_by_the_check(receiver: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever answers the second question of a resolver otherwise leads nowhere."""
    asked: list[str] = []

    def resolve(host: str, port: int, **_options: object) -> list[object]:
        asked.append(host)
        return [(0, 0, 0, "", ("127.0.0.1", port))]

    monkeypatch.setattr("gateway.security.egress.socket.getaddrinfo", resolve)
    receiver.play([whole(b"")])
    assert send(f"http://hook.test:{receiver.port}/") == 200
    assert asked.count("hook.test") == 1
    assert receiver.asked[0].headers["host"] == f"hook.test:{receiver.port}"


def test_what_was_refused_is_not_called(receiver: FaultServer) -> None:
    receiver.play([whole(b"")])
    with pytest.raises(EgressDenied):
        asyncio.run(EgressClient(EgressPolicy()).post(receiver.url, b"", {}))
    assert receiver.asked == []


def test_a_certificate_is_of_the_name_that_was_called(tmp_path: Path) -> None:
    good, trusting = contexts(tmp_path)
    with running_fault_server(good, host="localhost") as server:
        server.play([whole(b"")])
        assert send(server.url, trusting) == 200
        for url, trusted in ((server.url, None), (f"https://127.0.0.1:{server.port}", trusting)):
            with pytest.raises(UpstreamUnavailable, match="certificate"):
                send(url, trusted)
        assert len(server.asked) == 1
