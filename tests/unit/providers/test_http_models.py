"""Providers over real HTTP, on this machine: headers and bodies as documented, errors as ours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from msgspec import structs

from fixtures.upstream import (
    Play,
    Upstream,
    answer,
    anthropic_answer,
    anthropic_events,
    events,
    openai_answer,
    openai_chunks,
    running_upstream,
)
from gateway.clock import SystemClock
from gateway.errors import (
    ContentRefused,
    ContextTooLong,
    GatewayError,
    ProviderNotConfigured,
    StreamIncomplete,
    UpstreamAccountRefused,
    UpstreamError,
    UpstreamOverloaded,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from gateway.models.llm_models import Chat, Delta, Message, Reply, TextPart
from gateway.providers.directory import Deployed, ProviderDirectory
from gateway.providers.local_llm import LocalServerNote
from gateway.providers.transport import Transport
from gateway.registry.catalogue import ModelSpec, ProviderSpec, Timeouts

HELLO = Chat("any", (Message("user", (TextPart("Hi"),)),), max_tokens=20)
QUICK = Timeouts(connect=2, first_byte=0.5, idle=0.5, total=5)
Result = TypeVar("Result")


@pytest.fixture(scope="module")
def server() -> Iterator[Upstream]:
    with running_upstream() as upstream:
        yield upstream


def provider(kind: str, url: str, **fields: Any) -> ProviderSpec:
    base = f"{url}/v1" if kind != "anthropic" else url
    return ProviderSpec(
        name="them", type=kind, base_url=base, **{"api_key": "sk-test-key", "timeouts": QUICK, **fields}
    )


def with_model(
    spec: ProviderSpec, work: Callable[[Deployed], Awaitable[Result]], upstream_model: str = "gpt-4"
) -> Result:
    async def run() -> Result:
        transport = Transport()
        try:
            model = ModelSpec("mine", "llm", "them", upstream_model)
            directory = ProviderDirectory(transport, LocalServerNote(Path("/nonexistent")), SystemClock())
            return await work(directory.language_model(spec, model))
        finally:
            await transport.close()

    return asyncio.run(run())


def complete(spec: ProviderSpec, upstream_model: str = "gpt-4") -> Reply:
    return with_model(spec, lambda model: model.complete(HELLO), upstream_model)


def stream(spec: ProviderSpec, most: int = 1000) -> list[Delta]:
    async def read(model: Deployed) -> list[Delta]:
        found: list[Delta] = []
        pieces = model.stream(HELLO)
        async for piece in pieces:
            found.append(piece)
            if len(found) == most:
                await pieces.aclose()  # type: ignore[attr-defined]
                break
        return found

    return with_model(spec, read)


def test_openai_is_called_as_its_reference_says(server: Upstream) -> None:
    server.play(answer(openai_answer("Hi")))
    assert complete(provider("openai", server.url)).text() == "Hi"
    (sent,) = server.sent
    assert sent.path == "/v1/chat/completions"
    assert sent.headers["authorization"] == "Bearer sk-test-key"
    assert sent.headers["content-type"] == "application/json"
    assert sent.headers["accept"] == "application/json"
    assert sent.body == {"model": "gpt-4", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 20}


def test_anthropic_is_called_as_its_reference_says(server: Upstream) -> None:
    server.play(answer(anthropic_answer("Hi")))
    assert complete(provider("anthropic", server.url), "claude-3-opus-20240229").text() == "Hi"
    (sent,) = server.sent
    assert sent.path == "/v1/messages"
    assert sent.headers["x-api-key"] == "sk-test-key"
    assert sent.headers["anthropic-version"] == "2023-06-01"
    assert "authorization" not in sent.headers
    assert sent.body == {
        "model": "claude-3-opus-20240229",
        "max_tokens": 20,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
    }


def test_a_callers_betas_join_those_of_the_row(server: Upstream) -> None:
    server.play(answer(anthropic_answer("Hi")))
    row = provider("anthropic", server.url, headers={"Anthropic-Beta": "ours"})
    told = [{"anthropic-beta": "theirs"}, {}, {"anthropic-beta": "theirs", "anthropic-version": "2031-01-01"}]

    async def ask(model: Deployed) -> None:
        for headers in told:
            await model.complete(structs.replace(HELLO, dialect="anthropic", headers=headers))

    with_model(row, ask, "claude-3-opus-20240229")
    assert [sent.headers["anthropic-beta"] for sent in server.sent] == ["ours,theirs", "ours", "ours,theirs"]
    assert [sent.headers["anthropic-version"] for sent in server.sent] == ["2023-06-01", "2023-06-01", "2031-01-01"]


def test_a_server_without_keys_gets_none(server: Upstream) -> None:
    server.play(answer(openai_answer("Hi")))
    complete(provider("openai_compatible", server.url, api_key="", headers={"x-team": "risk"}))
    (sent,) = server.sent
    assert "authorization" not in sent.headers
    assert sent.headers["x-team"] == "risk"


def test_streams_are_read_whole(server: Upstream) -> None:
    for kind, play in (
        ("openai", events(*openai_chunks("Hel", "lo"))),
        ("anthropic", events(*anthropic_events("Hel", "lo"), named=True)),
    ):
        server.play(play)
        pieces = stream(provider(kind, server.url))
        assert "".join(piece.text for piece in pieces) == "Hello"
        assert server.sent[0].headers["accept"] == "text/event-stream"
        assert server.sent[0].body["stream"] is True
        usage = [piece.usage for piece in pieces if piece.usage is not None][-1]
        assert usage.output_tokens == 3


def test_a_provider_without_its_key_is_not_called(server: Upstream) -> None:
    server.play(answer(openai_answer()))
    with pytest.raises(ProviderNotConfigured) as caught:
        complete(provider("openai", server.url, api_key="", missing=("OPENAI_API_KEY",)))
    assert "OPENAI_API_KEY" in (caught.value.mend or "")
    assert server.sent == []


def refusal(code: str, message: str, status: int, **headers: str) -> Play:
    return answer({"error": {"message": message, "type": "x", "code": code}}, status, **headers)


@pytest.mark.parametrize(
    ("play", "kind"),
    [
        (
            refusal("invalid_api_key", "Incorrect key: sk-proj-abcdefghijklmnopqrst", 401),
            UpstreamAccountRefused,
        ),
        (refusal("rate_limit_exceeded", "slow down", 429, **{"retry-after": "7"}), UpstreamRateLimited),
        (refusal("insufficient_quota", "no credit", 429), UpstreamAccountRefused),
        (refusal("context_length_exceeded", "This model's maximum context length is 8192 tokens", 400), ContextTooLong),
        (refusal("content_filter", "filtered", 400), ContentRefused),
        (refusal("unknown", "no such field", 422), UpstreamRejected),
        (refusal("overloaded_error", "Overloaded", 529), UpstreamOverloaded),
        (answer({"message": "x"}, 503), UpstreamOverloaded),
        (Play(504, [b"<html>"]), UpstreamTimeout),
        (Play(500, [b""]), UpstreamError),
        (Play(302, [b""], {"location": "http://169.254.169.254/"}), UpstreamError),
        (Play(200, [b"<html>"]), UpstreamError),
        (Play(200, [b'{"choices"'], break_off=True), UpstreamUnavailable),
        (Play(200, hang=2), UpstreamTimeout),
    ],
)
@pytest.mark.parametrize("streaming", [False, True])
def test_a_refusal_becomes_an_error_of_ours(
    server: Upstream, play: Play, kind: type[GatewayError], streaming: bool
) -> None:
    server.play(play)
    spec = provider("openai", server.url)
    if streaming and play.status == 200 and play.chunks:
        kind = UpstreamError  # a body that is no stream ends without a finish
    with pytest.raises(kind) as caught:
        stream(spec) if streaming else complete(spec)
    told = f"{caught.value.message} {caught.value.mend} {caught.value.details}"
    assert "sk-" not in told
    assert len(server.sent) == 1, "redirects are not followed, retries are not the wire's"


def test_the_time_to_wait_is_passed_on(server: Upstream) -> None:
    for header, seconds in (({"retry-after": "7"}, 7.0), ({"retry-after-ms": "1500"}, 1.5)):
        server.play(refusal("rate_limit_exceeded", "slow down", 429, **header))
        with pytest.raises(UpstreamRateLimited) as caught:
            complete(provider("openai", server.url))
        assert caught.value.retry_after == seconds


def test_nobody_at_the_address() -> None:
    with pytest.raises(UpstreamUnavailable) as caught:
        complete(provider("openai", "http://127.0.0.1:9"))
    assert caught.value.details["reached"] is False


@pytest.mark.parametrize(
    ("play", "kind"),
    [
        (events(*openai_chunks("Hel", finish=None, usage=False)), StreamIncomplete),
        (events(*openai_chunks("Hel", finish=None, usage=False), done=False), StreamIncomplete),
        (events(*openai_chunks("Hel", finish=None), break_off=True, done=False), UpstreamUnavailable),
        (
            events(*openai_chunks("Hel", finish=None), {"error": {"message": "boom", "type": "server_error"}}),
            UpstreamError,
        ),
        (events(*openai_chunks("Hel", finish=None), hang=3, done=False), UpstreamTimeout),
    ],
)
def test_a_stream_that_breaks_is_never_a_success(server: Upstream, play: Play, kind: type[GatewayError]) -> None:
    server.play(play)
    with pytest.raises(kind):
        stream(provider("openai", server.url))


def test_an_anthropic_stream_that_breaks(server: Upstream) -> None:
    overloaded = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    server.play(events(*anthropic_events("Hel", end=False), overloaded, named=True))
    with pytest.raises(UpstreamOverloaded):
        stream(provider("anthropic", server.url))
    server.play(events(*anthropic_events("Hel", end=False), named=True))
    with pytest.raises(StreamIncomplete):
        stream(provider("anthropic", server.url))


def test_damaged_events_are_passed_over(server: Upstream) -> None:
    good = events(*openai_chunks("Hel", "lo"))
    server.play(Play(200, [b"data: {nonsense\n\n", b": comment\n\n", b"data: 3\n\n", *good.chunks], good.headers))
    assert "".join(piece.text for piece in stream(provider("openai", server.url))) == "Hello"


def test_a_reader_who_leaves_hangs_up(server: Upstream) -> None:
    server.play(events(*openai_chunks("Hel", "lo", finish=None), hang=30, done=False))
    pieces = stream(provider("openai", server.url, timeouts=Timeouts(2, 5, 20, 30)), most=2)
    assert len(pieces) == 2
    assert server.hung_up.wait(5)


def test_the_body_is_what_was_signed_off(server: Upstream) -> None:
    server.play(answer(openai_answer()))
    complete(provider("openai", server.url))
    assert json.loads(server.sent[0].raw) == server.sent[0].body
