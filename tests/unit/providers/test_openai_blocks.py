"""Events that go on as they came: the same events, the same text, the caller's name of the model."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.models.llm_models import Delta
from gateway.providers.framing import SseFrames
from gateway.providers.openai_blocks import OpenAIFrames


def event(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": more.pop("index", 0), "delta": delta, "finish_reason": finish}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 7, "model": "up-1"}
    return {**head, "choices": [choice], **more}


SAYS = st.builds(lambda text: event({"content": text}), st.text(max_size=8))
OTHERS = st.sampled_from(
    [
        event({"role": "assistant", "content": ""}),
        event({"content": "x"}, usage=None, obfuscation="ab"),
        event({"content": 'quoted "model":"up-1"'}),
        event({"content": "second"}, index=1),
        event({"content": "other"}, model="up-2"),
        event({"content": "named"}, note={"model": "up-1"}),
        event({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}]}),
        event({"reasoning_content": "hm"}),
        event({}, "stop"),
        event({}, usage={"prompt_tokens": 1, "completion_tokens": 2}),
    ]
)
STREAMS = st.lists(st.one_of(SAYS, OTHERS), max_size=12)


def framed(events: list[dict[str, Any]], *, spaced: bool) -> bytes:
    separators = None if spaced else (",", ":")
    return b"".join(b"data: " + json.dumps(item, separators=separators).encode() + b"\n\n" for item in events)


def told(stream: bytes, cuts: list[int]) -> list[dict[str, Any]]:
    """All events as the caller would have them, whether as bytes or read."""
    frames, found = OpenAIFrames("asked"), list[dict[str, Any]]()
    places = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    for start, end in pairwise(places):
        for item in frames.feed(stream[start:end]):
            if isinstance(item, dict):
                found.append({**item, "model": "asked"})
                continue
            assert item.native is not None
            events = [event for event in SseFrames().feed(item.native.lines) if isinstance(event, dict)]
            assert "".join(one["choices"][0]["delta"].get("content") or "" for one in events) == item.text
            assert item.finish is None
            assert item.usage is None
            found += events
    return found


@given(STREAMS, st.booleans(), st.lists(st.integers(0, 4000), max_size=6))
def test_every_event_is_told_once_in_order_under_the_callers_name(
    events: list[dict[str, Any]], spaced: bool, cuts: list[int]
) -> None:
    assert told(framed(events, spaced=spaced), cuts) == [{**item, "model": "asked"} for item in events]


def test_what_comes_together_is_one_piece_of_bytes() -> None:
    stream = framed([event({"content": "a"}), event({"content": "b"})], spaced=False)
    (piece,) = OpenAIFrames("up-1").feed(stream)
    assert isinstance(piece, Delta)
    assert piece.native is not None
    assert piece.native.lines == stream
    assert piece.text == "ab"


@pytest.mark.parametrize("end", [b"data: [DONE]\n\n", b": ping\n\ndata: [DONE]\n\n"])
def test_the_end_mark_ends_it(end: bytes) -> None:
    frames = OpenAIFrames("asked")
    found = frames.feed(framed([event({"content": "a"})], spaced=False) + end)
    assert len(found) == 1
    assert frames.done
