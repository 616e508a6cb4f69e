"""Models over HTTP whose provider fails: what counts as an answer, what is an error, and whose."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
import uvloop
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from fixtures.fault_server import (
    CLOSE,
    HANG,
    RESET,
    FaultServer,
    Pause,
    Script,
    begun,
    chunk,
    event,
    head,
    running_fault_server,
    whole,
)
from fixtures.upstream import openai_answer, openai_chunks
from gateway.errors import StreamIncomplete, UpstreamError, UpstreamOverloaded, UpstreamTimeout, UpstreamUnavailable
from gateway.models.llm_models import Chat, Delta, Message, TextPart
from gateway.providers.endpoints import FixedEndpoint
from gateway.providers.http_models import AnthropicWire, BedrockWire, GeminiWire, HttpModel, OpenAIWire, Wire
from gateway.providers.transport import Transport
from gateway.registry.catalogue import Timeouts

HELLO = Chat("any", (Message("user", (TextPart("Hi"),)),), max_tokens=20)
QUICK = Timeouts(connect=2, first_byte=0.4, idle=0.4, total=5)
PATIENT = Timeouts(connect=5, first_byte=20, idle=20, total=30)
OPENAI = OpenAIWire("m", official=True)
Result = TypeVar("Result")


def with_model(
    url: str, work: Callable[[HttpModel], Awaitable[Result]], wire: Wire = OPENAI, timeouts: Timeouts = QUICK
) -> Result:
    async def run() -> Result:
        transport = Transport()
        try:
            return await work(HttpModel("them", wire, FixedEndpoint(url, {}), transport, timeouts))
        finally:
            await transport.close()

    return uvloop.run(run())


async def streamed(model: HttpModel, chat: Chat = HELLO) -> list[Delta]:
    return [delta async for delta in model.stream(chat)]


def text(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


def choice(index: int, finish: str | None = None) -> dict[str, Any]:
    delta = {} if finish else {"content": f"answer {index}"}
    return {"id": "c", "model": "m", "choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


DONE = chunk(event(b"[DONE]")) + chunk(b"")


def test_streams_one_after_another_take_one_connection(faulty: FaultServer) -> None:
    async def several(model: HttpModel) -> list[str]:
        return [text(await streamed(model)) for _ in range(3)]

    for end in (DONE, chunk(b"")):
        faulty.play([begun(*openai_chunks("Hel", "lo")) + end])
        assert with_model(faulty.url, several) == ["Hello"] * 3
        assert faulty.used() == [1, 1, 1]


@pytest.mark.parametrize("end", [[HANG], [RESET], [CLOSE], [b"zz\r\n"], [DONE], [chunk(b"")]])
def test_after_the_finish_reason_nothing_more_is_needed(faulty: FaultServer, end: Script) -> None:
    faulty.play([begun(*openai_chunks("Hello", usage=False)), *end])
    deltas = with_model(faulty.url, streamed, timeouts=PATIENT)
    assert text(deltas) == "Hello"
    assert [delta.finish for delta in deltas if delta.finish] == ["stop"]


def test_what_follows_the_finish_reason_is_waited_for(faulty: FaultServer) -> None:
    *said, usage = openai_chunks("Hello")
    faulty.play([begun(*said), Pause(0.3), chunk(event(usage)) + DONE])
    deltas = with_model(faulty.url, streamed, timeouts=PATIENT)
    assert deltas[-1].usage is not None
    assert deltas[-1].usage.output_tokens == 3


def test_each_of_several_answers_needs_its_finish_reason(faulty: FaultServer) -> None:
    two = Chat("any", HELLO.messages, n=2)
    cuts: tuple[tuple[Script, type[UpstreamError]], ...] = (
        ([begun(choice(0), choice(1), choice(0, "stop")), DONE], StreamIncomplete),
        ([begun(choice(0), choice(1), choice(0, "stop")), RESET], UpstreamUnavailable),
        ([begun(choice(0), choice(1), choice(0, "stop")), HANG], UpstreamTimeout),
    )
    for script, kind in cuts:
        faulty.play(script)
        with pytest.raises(kind):
            with_model(faulty.url, lambda model: streamed(model, two))
    faulty.play([begun(choice(0), choice(1), choice(0, "stop"), choice(1, "stop")), HANG])
    assert text(with_model(faulty.url, lambda model: streamed(model, two))) == "answer 0answer 1"
    faulty.play([begun(choice(0), choice(0, "stop")), DONE])
    assert text(with_model(faulty.url, lambda model: streamed(model, two))) == "answer 0", "it gave one, whole"


@pytest.mark.parametrize(
    ("script", "kind", "told"),
    [
        ([whole(b"<html>Hi</html>", content_type="text/html; charset=utf-8")], UpstreamError, "text/html"),
        ([whole(openai_answer())], UpstreamError, "application/json"),
        ([whole({"error": {"type": "overloaded_error", "message": "Overloaded"}})], UpstreamOverloaded, "Overloaded"),
        ([begun(*openai_chunks("Hel", finish=None), {"error": {"message": "boom"}}) + DONE], UpstreamError, "boom"),
        ([begun() + chunk(b"data: " + b"x" * 5_000_000)], UpstreamError, "cannot be read"),
        ([begun() + chunk(b"")], StreamIncomplete, "finish reason"),
        ([whole({"error": {"message": "wait"}}, 529)], UpstreamOverloaded, "wait"),
        ([head(500, content_type="text/html") + b"<html>", CLOSE], UpstreamError, "500"),
        ([head(500, content_length="100") + b"half", RESET], UpstreamUnavailable, "broke"),
    ],
)
def test_a_stream_that_is_none(faulty: FaultServer, script: Script, kind: type[UpstreamError], told: str) -> None:
    faulty.play(script)
    with pytest.raises(kind, match=told) as caught:
        with_model(faulty.url, streamed)
    assert "<html>" not in caught.value.message


def test_what_came_before_a_break_is_passed_on(faulty: FaultServer) -> None:
    async def read(model: HttpModel) -> tuple[str, UpstreamError | None]:
        told = ""
        try:
            async for delta in model.stream(HELLO):
                told += delta.text
        except UpstreamError as error:
            return told, error
        return told, None

    for end, kind in (([RESET], UpstreamUnavailable), ([b"zz\r\n"], UpstreamUnavailable), ([HANG], UpstreamTimeout)):
        faulty.play([begun(*openai_chunks("Hel", "lo", finish=None, usage=False)), *end])
        told, error = with_model(faulty.url, read)
        assert told == "Hello"
        assert isinstance(error, kind)
        assert error.details["reached"] is True


ODD = [
    b'{"choices": 7}', b'{"choices": [7]}', b'{"choices": []}', b'{"choices": [{"message": {"tool_calls": [{}]}}]}',
    b'{"usage": {"prompt_tokens": "x"}, "choices": [{"message": {}}]}', b"[" * 3000, b'{"a":' * 3000, b"\xff", b"null",
    b'{"candidates": 7}', b'{"candidates": [{"content": {"parts": [{"functionCall": 3}]}}]}',
    b'{"content": [{"type": "tool_use"}]}', b'{"output": {"message": {"content": [{"toolUse": {}}]}}}',
    b'{"type": "content_block_delta", "index": "x", "delta": {"type": "input_json_delta", "partial_json": 3}}',
    b'{"error": 3}', b'{"error": {"type": 3}}', b'{"error": [1]}', b'{"type": "message_start", "message": 3}',
]  # fmt: skip


@settings(max_examples=60, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(
    st.lists(st.one_of(st.sampled_from(ODD), st.binary(max_size=60)), min_size=1, max_size=4),
    st.sampled_from([OPENAI, AnthropicWire("m", 9), GeminiWire(), BedrockWire()]),
    st.sampled_from([200, 200, 400, 429, 500]),
)
def test_no_answer_is_so_odd_that_its_error_is_not_ours(odd: list[bytes], wire: Wire, status: int) -> None:
    async def both(model: HttpModel) -> None:
        for work in (model.complete(HELLO), streamed(model)):
            with contextlib.suppress(UpstreamError):
                async with asyncio.timeout(20):
                    await work

    events = b"".join(chunk(event(item)) for item in odd)
    plain = head(status, content_type="text/event-stream", transfer_encoding="chunked")
    with running_fault_server() as server:
        server.play([whole(odd[0], status)], [plain + events + chunk(b"")])
        with_model(server.url, both, wire)
        assert len(server.asked) == 2
