"""Pieces that are poured out: the same as those that are iterated, with the same errors, at the taker's own pace."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise
from typing import TypeVar

import pytest

from fixtures.fault_server import HANG, RESET, Drip, FaultServer, Pause, Repeat, Script, begun, chunk, event, head
from fixtures.transport_kit import PATIENT, QUICK, Loops, until
from fixtures.upstream import anthropic_events, openai_chunks
from gateway.errors import StreamIncomplete, UpstreamError, UpstreamTimeout, UpstreamUnavailable
from gateway.models.llm_models import Chat, Delta, Message, TextPart
from gateway.providers.endpoints import FixedEndpoint
from gateway.providers.http_models import AnthropicWire, HttpModel, OpenAIWire, Wire
from gateway.providers.transport import Transport
from gateway.registry.catalogue import Timeouts

HELLO = Chat("any", (Message("user", (TextPart("Hi"),)),), max_tokens=20, dialect="openai", relay=True)
OPENAI = OpenAIWire("m", official=False)
DONE = chunk(event(b"[DONE]")) + chunk(b"")
WORDS = [{**one, "created": 1} for one in openai_chunks("Hel", "lo", " you", " there")]
Result = TypeVar("Result")


def with_model(
    url: str,
    work: Callable[[HttpModel], Awaitable[Result]],
    loops: Loops,
    wire: Wire = OPENAI,
    timeouts: Timeouts = QUICK,
) -> Result:
    async def run() -> Result:
        transport = Transport()
        try:
            return await work(HttpModel("them", wire, FixedEndpoint(url, {}), transport, timeouts))
        finally:
            await transport.close()

    with asyncio.Runner(loop_factory=loops) as runner:
        return runner.run(run())


async def poured(model: HttpModel, found: list[Delta], *, wants: bool = True) -> None:
    stream = model.stream(HELLO)
    found.append(await anext(stream))

    def act(pieces: Sequence[Delta], _more: bool) -> bool:
        found.extend(pieces)
        return wants

    while not await stream.pour(act):
        continue


def said(deltas: Sequence[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


def cut(data: bytes, *at: int) -> Script:
    """The bytes in parts, with a moment between them."""
    parts = [data[left:right] for left, right in pairwise((0, *at, len(data)))]
    return [step for part in parts for step in (part, Pause(0.02))]


def zipped() -> Script:
    body = gzip.compress(b"".join(event(one) for one in WORDS) + event(b"[DONE]"))
    return [head(content_type="text/event-stream", content_encoding="gzip", content_length=str(len(body))), body]


@pytest.mark.parametrize("wants", [True, False], ids=["wants more", "wants no more for now"])
@pytest.mark.parametrize(
    "script",
    [
        [begun(*WORDS) + DONE],
        [begun(WORDS[0]), *(step for one in WORDS[1:] for step in (Pause(0.01), chunk(event(one)))), DONE],
        cut(begun(*WORDS) + DONE, 150, 300, 301, 450, 700),
        [Drip(begun(*WORDS) + DONE, 0)],
        [begun(*WORDS) + chunk(b"")],
        [begun(*WORDS[:-1]), HANG],
        [begun(*WORDS[:-1]), RESET],
        zipped(),
    ],
)
def test_what_is_poured_is_what_is_iterated(faulty: FaultServer, loops: Loops, script: Script, wants: bool) -> None:
    async def iterated(model: HttpModel) -> list[Delta]:
        return [piece async for piece in model.stream(HELLO)]

    async def pour(model: HttpModel) -> list[Delta]:
        found: list[Delta] = []
        await poured(model, found, wants=wants)
        return found

    faulty.play(script)
    expected = with_model(faulty.url, iterated, loops, timeouts=PATIENT)
    found = with_model(faulty.url, pour, loops, timeouts=PATIENT)
    assert said(found) == said(expected) == "Hello you there"
    assert [piece.finish for piece in found if piece.finish] == ["stop"]
    assert [piece.usage for piece in found if piece.usage] == [piece.usage for piece in expected if piece.usage]


def test_another_dialect_is_poured_too(faulty: FaultServer, loops: Loops) -> None:
    found: list[Delta] = []
    told = b"".join(b"event: %s\ndata: %s\n\n" % pair for pair in anthropic_lines())
    faulty.play([head(content_type="text/event-stream", transfer_encoding="chunked"), *cut(chunk(told), 80, 200)])
    with_model(faulty.url, lambda model: poured(model, found), loops, AnthropicWire("m", 100), PATIENT)
    assert said(found) == "Hello"
    assert found[-1].usage is not None or any(piece.finish for piece in found)


def anthropic_lines() -> list[tuple[bytes, bytes]]:
    return [(one["type"].encode(), json.dumps(one).encode()) for one in anthropic_events("Hel", "lo")]


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        ([RESET], UpstreamUnavailable),
        ([b"zz\r\n"], UpstreamUnavailable),
        ([HANG], UpstreamTimeout),
        ([chunk(b"")], StreamIncomplete),
        ([chunk(event({"error": {"message": "boom"}}))], UpstreamError),
        ([chunk(b"data: " + b"x" * 5_000_000)], UpstreamError),
    ],
)
def test_what_came_before_a_break_is_passed_on(
    faulty: FaultServer, loops: Loops, end: Script, kind: type[UpstreamError]
) -> None:
    found: list[Delta] = []
    faulty.play([begun(*openai_chunks("Hel", "lo", finish=None, usage=False)), *end])
    with pytest.raises(kind):
        with_model(faulty.url, lambda model: poured(model, found), loops)
    assert said(found) == "Hello"


def test_the_last_pieces_are_told_to_be_the_last(faulty: FaultServer, loops: Loops) -> None:
    """Whoever sends them can send the end with them; pieces that were taken before go with the first others."""
    told: list[tuple[str, bool]] = []

    def act(pieces: Sequence[Delta], more: bool) -> bool:
        told.append((said(pieces), more))
        return True

    async def read(model: HttpModel) -> None:
        stream = model.stream(HELLO)
        first = await anext(stream)
        assert await stream.pour(act, (first,))

    faulty.play([begun(*WORDS) + DONE])
    with_model(faulty.url, read, loops)
    assert told == [("Hello you there", False)]
    told.clear()
    faulty.play(
        [
            begun(WORDS[0], WORDS[1]),
            Pause(0.2),
            *(chunk(event(one)) for one in WORDS[2:-1]),
            chunk(event(WORDS[-1])) + DONE,
        ]
    )
    with_model(faulty.url, read, loops, timeouts=PATIENT)
    assert "".join(text for text, _ in told) == "Hello you there"
    assert [more for _, more in told] == [True] * (len(told) - 1) + [False]


def test_what_the_taker_raises_is_raised_and_the_line_is_closed(faulty: FaultServer, loops: Loops) -> None:
    async def read(model: HttpModel) -> None:
        stream = model.stream(HELLO)
        await anext(stream)

        def act(_pieces: Sequence[Delta], _more: bool) -> bool:
            raise RuntimeError("the taker broke")

        with pytest.raises(RuntimeError, match="the taker broke"):
            await stream.pour(act)
        await until(faulty.left.is_set)

    faulty.play([begun(*WORDS[:2]), Pause(0.1), chunk(event(WORDS[2])), HANG])
    with_model(faulty.url, read, loops, timeouts=PATIENT)


def test_who_leaves_while_it_is_poured_hangs_up(faulty: FaultServer, loops: Loops) -> None:
    async def read(model: HttpModel) -> None:
        stream = model.stream(HELLO)
        await anext(stream)
        pouring = asyncio.ensure_future(stream.pour(lambda _pieces, _more: True))
        await asyncio.sleep(0.05)
        pouring.cancel()
        await asyncio.wait({pouring})
        assert pouring.cancelled()
        await until(faulty.left.is_set)

    faulty.play([begun(*WORDS[:2]), HANG])
    with_model(faulty.url, read, loops, timeouts=PATIENT)


def test_a_taker_that_wants_no_more_stops_the_reading(faulty: FaultServer, loops: Loops) -> None:
    """What comes meanwhile is kept to a bound: the provider waits."""

    async def read(model: HttpModel) -> int:
        stream = model.stream(HELLO)
        await anext(stream)
        held: list[int] = []

        def act(pieces: Sequence[Delta], _more: bool) -> bool:
            held.append(len(said(pieces)))
            return False

        while not held:
            await stream.pour(act)
        await asyncio.sleep(0.3)
        before = len(held)
        await stream.pour(act)
        assert len(held) == before + 1
        await stream.aclose()
        return held[-1]

    block = chunk(event(openai_chunks("x" * 10_000, finish=None, usage=False)[1]))
    faulty.play([begun(*WORDS[:2]), Repeat(block, 2_000)])
    assert with_model(faulty.url, read, loops, timeouts=PATIENT) < 2_000_000
