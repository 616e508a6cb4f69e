"""Events that go on as they came: the same events, the same text, the caller's name of the model."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.models.llm_models import Delta, Usage
from gateway.providers.framing import SseFrames
from gateway.providers.openai_blocks import OpenAIFrames
from gateway.providers.openai_wire import decode_chunk


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
        event({"content": "last"}, "length"),
        event({}, "never heard of"),
        event({}, usage={"prompt_tokens": 1, "completion_tokens": 2}),
        {**event({}), "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}},
        {**event({}), "choices": [], "usage": {"prompt_tokens": "many"}},
    ]
)
STREAMS = st.lists(st.one_of(SAYS, OTHERS), max_size=12)


def framed(events: list[dict[str, Any]], *, spaced: bool) -> bytes:
    separators = None if spaced else (",", ":")
    return b"".join(b"data: " + json.dumps(item, separators=separators).encode() + b"\n\n" for item in events)


def as_told(item: dict[str, Any]) -> dict[str, Any]:
    """The event under the caller's name; of one that has nothing but usage, the usage as it counts."""
    if not item["choices"] and item["usage"]["prompt_tokens"] == 1:
        return {"usage": decode_chunk(item)[0].usage}
    return {**item, "model": "asked"}


def told(stream: bytes, cuts: list[int]) -> list[dict[str, Any]]:
    """All events as the caller would have them, whether as bytes or read."""
    frames, found = OpenAIFrames("asked"), list[dict[str, Any]]()
    places = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    for start, end in pairwise(places):
        for item in frames.feed(stream[start:end]):
            if isinstance(item, dict):
                found.append(as_told(item))
                continue
            assert item.native is not None
            if item.usage is not None:
                assert (item.native.lines, item.native.event, item.text, item.finish) == (b"", None, "", None)
                found.append({"usage": item.usage})
                continue
            events = [event for event in SseFrames().feed(item.native.lines) if isinstance(event, dict)]
            assert "".join(one["choices"][0]["delta"].get("content") or "" for one in events) == item.text
            ends = [delta for one in events for delta in decode_chunk(one) if delta.finish is not None]
            assert [(item.finish, item.raw_finish)] == [(end.finish, end.raw_finish) for end in ends] or (
                item.finish is None and not ends
            )
            found += events
    return found


@given(STREAMS, st.booleans(), st.lists(st.integers(0, 4000), max_size=6))
def test_every_event_is_told_once_in_order_under_the_callers_name(
    events: list[dict[str, Any]], spaced: bool, cuts: list[int]
) -> None:
    assert told(framed(events, spaced=spaced), cuts) == [as_told(item) for item in events]


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


def test_an_end_and_its_usage_are_told_with_what_came_before() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    says = framed([event({"content": "a"}), event({}, "stop")], spaced=False)
    frames = OpenAIFrames("up-1")
    found = frames.feed(
        says + framed([{**event({}), "choices": [], "usage": usage}], spaced=False) + b"data: [DONE]\n\n"
    )
    text, used = found
    assert isinstance(text, Delta)
    assert isinstance(used, Delta)
    assert text.native is not None
    assert (text.text, text.finish, text.native.lines) == ("a", "stop", says)
    assert used.usage == Usage(3, 2, 0, 0, 0, "provider")
    assert frames.done
