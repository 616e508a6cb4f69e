"""Server-sent events: any cutting of the bytes gives the events that the standard says they are."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.models.llm_models import Delta
from gateway.providers import sse
from gateway.providers.framing import SseFrames
from gateway.providers.sse import SseDecoder, SseEvent

MARK = b"\xef\xbb\xbf"
STREAM = '\ufeffevent: a\ndata: {"x":\ndata: 1}\n\n: a comment\nid: 7\r\ndata:é\r\n\r\ndata: last'.encode()
CUTS = st.lists(st.integers(0, 1_000), max_size=12)
#: What streams are made of, and what breaks their readers.
_LINES = (b"data: x", b"data", b"data:", b": y", b"event: e", "data: é".encode(), b"id: 1", b" ")
_ENDS = (b"\n", b"\r", b"\r\n", b"\n\n", MARK, MARK[:1], MARK[:2])
SCRAPS = st.lists(st.sampled_from((*_LINES, *_ENDS)), max_size=16).map(b"".join)
#: As providers write them: JSON, an error, a comment; and other ends of lines.
_USUAL = (b'data: {"a": 1}\n\n', b'event: error\ndata: {"b": 2}\n\n', b": ping\n\n", b"data: nonsense\n\n")
_ODD = (b'data: {"c":\ndata: 3}\n\n', b'data: {"d": 4}\r\n\r\n', b'data: {"e": 5}\r\r', b"\n", MARK, b"event: f\r\n")
BLOCKS = st.lists(st.sampled_from((*_USUAL, *_ODD)), max_size=8).map(b"".join)


def cut(stream: bytes, places: Sequence[int]) -> list[bytes]:
    at = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in pairwise(at)]


def decode(chunks: list[bytes]) -> list[SseEvent]:
    decoder = SseDecoder()
    return [event for chunk in chunks for event in decoder.feed(chunk)] + decoder.end()


def objects(chunks: list[bytes]) -> list[dict[str, Any] | Delta]:
    frames = SseFrames()
    return [*(found for chunk in chunks for found in frames.feed(chunk)), *frames.end()]


def by_the_standard(stream: bytes) -> list[SseEvent]:
    """https://html.spec.whatwg.org/multipage/server-sent-events.html, but that a last event needs no blank line."""
    events: list[SseEvent] = []
    name, data = "", list[bytes]()
    for line in [*re.split(rb"\r\n|\r|\n", stream.removeprefix(MARK)), b""]:
        if not line:
            events += [SseEvent(name or "message", b"\n".join(data))] if data else []
            name, data = "", []
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ").decode(errors="replace")
    return events


@given(CUTS)
def test_any_cutting_of_a_stream_gives_the_same_events(cuts: list[int]) -> None:
    assert decode(cut(STREAM, cuts)) == [
        SseEvent("a", b'{"x":\n1}'),
        SseEvent("message", "é".encode()),
        SseEvent("message", b"last"),
    ]


@given(SCRAPS, CUTS)
@example(b"\n" + MARK + b"data: x\n\n", [1])
@example(MARK + b"data: x\n\n", [1, 2])
@example(b"data: x\r\n\r\ndata: y\r\rdata: z\r", [8, 10])
def test_they_are_those_of_the_standard(stream: bytes, cuts: list[int]) -> None:
    assert decode(cut(stream, cuts)) == by_the_standard(stream)


@given(BLOCKS, CUTS)
@example(b'\r\n\ndata: {"a": 1}\n\n', [1])
@example(b'data: {"a": 1}\r\r\ndata: {"b": 1}\n\n', [16])
def test_objects_too(stream: bytes, cuts: list[int]) -> None:
    """Whole events in a chunk are read a shorter way."""
    told = [(event.name, json_or_none(event.data)) for event in by_the_standard(stream)]
    expected = [{"error": found} if name == "error" else found for name, found in told if found is not None]
    assert objects(cut(stream, cuts)) == expected


def json_or_none(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None


def test_a_long_line_is_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = 0

    class Counting:
        def search(self, buffer: bytearray, start: int) -> re.Match[bytes] | None:
            nonlocal looked_at
            looked_at += len(buffer) - start
            return re.compile(rb"[\r\n]").search(buffer, start)

    monkeypatch.setattr(sse, "_LINE_END", Counting())
    line = b"data: " + b"x" * 100_000
    assert decode([*(line[at : at + 100] for at in range(0, len(line), 100)), b"\n\n"]) == [
        SseEvent("message", b"x" * 100_000)
    ]
    assert looked_at < 2 * len(line)


@pytest.mark.parametrize("cuts", [[], [100], list(range(0, 5_000_000, 50_000))])
def test_an_endless_event_is_refused(cuts: list[int]) -> None:
    """However it is cut: in one line, and in many."""
    for stream in (b"data: " + b"x" * 4_400_000 + b"\n\n", (b"data: " + b"x" * 99_999 + b"\n") * 44):
        with pytest.raises(ValueError, match="longer"):
            decode(cut(stream, cuts))
