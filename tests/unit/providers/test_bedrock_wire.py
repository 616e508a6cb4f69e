"""Bedrock's Converse: bodies as its reference says, frames however they are cut, refusals by name."""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fixtures.aws import converse_events, event, frame
from gateway.errors import NotSupported, UpstreamError
from gateway.models.llm_models import (
    Chat,
    Delta,
    ImagePart,
    Message,
    ResponseFormat,
    TextPart,
    ThinkingPart,
    Tool,
    ToolChoice,
    ToolResultPart,
    ToolUsePart,
)
from gateway.providers import bedrock_wire
from gateway.providers.aws_event_stream import AwsEvent, EventStreamDecoder

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TALK = Chat(
    model="any",
    messages=(
        Message("system", (TextPart("Be brief."),)),
        Message("user", (TextPart("Weather?"), ImagePart(data="aGk=", media_type="image/png"))),
        Message("assistant", (ThinkingPart("Hm.", "sig"), ToolUsePart("t1", "weather", '{"city":"Rome"}'))),
        Message("tool", (ToolResultPart("t1", "no such city", is_error=True),)),
    ),
    max_tokens=50,
    temperature=0.2,
    top_p=0.9,
    stop=("END",),
    tools=(Tool("weather", "The weather", SCHEMA),),
    tool_choice=ToolChoice("required"),
)


def test_a_request_of_every_field() -> None:
    content, dropped = bedrock_wire.encode(TALK)
    assert dropped == ()
    assert json.loads(content) == {
        "system": [{"text": "Be brief."}],
        "messages": [
            {
                "role": "user",
                "content": [{"text": "Weather?"}, {"image": {"format": "png", "source": {"bytes": "aGk="}}}],
            },
            {
                "role": "assistant",
                "content": [
                    {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "sig"}}},
                    {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {"city": "Rome"}}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"toolResult": {"toolUseId": "t1", "content": [{"text": "no such city"}], "status": "error"}}
                ],
            },
        ],
        "inferenceConfig": {"maxTokens": 50, "temperature": 0.2, "topP": 0.9, "stopSequences": ["END"]},
        "toolConfig": {
            "tools": [{"toolSpec": {"name": "weather", "description": "The weather", "inputSchema": {"json": SCHEMA}}}],
            "toolChoice": {"any": {}},
        },
    }


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"tools": (), "tool_choice": None}, "tools"),
        ({"messages": (Message("system", (ImagePart(data="aGk=", media_type="image/png"),)),)}, "messages"),
        ({"messages": (Message("assistant", (ToolUsePart("t1", "weather", "[1]"),)),)}, "messages"),
        ({"response_format": ResponseFormat("json_object")}, "response_format"),
        ({"tool_choice": ToolChoice("auto", parallel=False)}, "parallel_tool_calls"),
        ({"tool_choice": ToolChoice("none")}, "tool_choice"),
        ({"messages": (Message("user", (ImagePart(url="https://x/y.png"),)),)}, "messages"),
        ({"dialect": "openai", "native": {}, "native_only": ("logprobs",)}, "logprobs"),
    ],
)
def test_what_would_change_the_meaning_is_refused(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(NotSupported) as refused:
        bedrock_wire.encode(replace(TALK, **fields))
    assert refused.value.param == param


def test_what_is_left_out_is_named() -> None:
    chat = replace(TALK, seed=1, user="u", reasoning_effort="low", dialect="anthropic", extra={"top_k": 5, "speed": 1})
    content, dropped = bedrock_wire.encode(chat)
    assert set(dropped) == {"seed", "user", "reasoning_effort", "speed"}
    assert json.loads(content)["additionalModelRequestFields"] == {"top_k": 5}


def test_an_answer() -> None:
    blocks = [
        {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "s"}}},
        {"text": "Hello."},
        {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {"city": "Rome"}}},
    ]
    usage = {"inputTokens": 7, "outputTokens": 3, "cacheReadInputTokens": 2, "cacheWriteInputTokens": 1}
    raw = {"output": {"message": {"role": "assistant", "content": blocks}}, "stopReason": "tool_use", "usage": usage}
    reply = bedrock_wire.decode_reply(json.dumps(raw).encode())
    assert reply.choices[0].parts == (
        ThinkingPart("Hm.", "s"),
        TextPart("Hello."),
        ToolUsePart("t1", "weather", '{"city":"Rome"}'),
    )
    assert reply.choices[0].finish == "tool_use"
    assert (reply.usage.input_tokens, reply.usage.cached_tokens, reply.usage.cache_write_tokens) == (10, 2, 1)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"output": {}}', b'{"output": {"message": {"content": [3]}}}'])
def test_an_answer_of_another_shape_is_an_error(content: bytes) -> None:
    with pytest.raises(UpstreamError):
        bedrock_wire.decode_reply(content)


def test_blank_texts_are_left_out() -> None:
    turns = (Message("user", (TextPart("Hi"), TextPart(" "))), Message("assistant", (TextPart(""),)))
    body = json.loads(bedrock_wire.encode(Chat("m", turns))[0])
    assert body["messages"] == [{"role": "user", "content": [{"text": "Hi"}]}]


def test_cited_text_is_text_and_a_malformed_answer_is_an_error() -> None:
    cited = {"citationsContent": {"content": [{"text": "A fact."}], "citations": []}}
    raw = {"output": {"message": {"content": [cited]}}, "stopReason": "end_turn"}
    assert bedrock_wire.decode_reply(json.dumps(raw).encode()).text() == "A fact."
    with pytest.raises(UpstreamError):
        bedrock_wire.decode_reply(json.dumps({**raw, "stopReason": "malformed_tool_use"}).encode())
    with pytest.raises(UpstreamError):
        bedrock_wire.StreamDecoder().decode("messageStop", {"stopReason": "malformed_model_output"})


def test_a_stream_with_a_tool() -> None:
    start = {"contentBlockIndex": 1, "start": {"toolUse": {"toolUseId": "t1", "name": "weather"}}}
    decoder = bedrock_wire.StreamDecoder()
    told: list[Delta] = []
    for kind, raw in (
        ("messageStart", {"role": "assistant"}),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hi"}}),
        ("contentBlockStart", start),
        ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"toolUse": {"input": '{"city"'}}}),
        ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"toolUse": {"input": ':"Rome"}'}}}),
        ("messageStop", {"stopReason": "tool_use"}),
    ):
        told += decoder.decode(kind, raw)
    assert told[0].text == "Hi"
    assert (told[1].tool_index, told[1].tool_id, told[1].tool_name) == (0, "t1", "weather")
    assert "".join(piece.arguments for piece in told) == '{"city":"Rome"}'
    assert told[-1].finish == "tool_use"


STREAM = b"".join(converse_events("Hel", "lo"))


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_any_cutting_of_a_stream_gives_the_same_frames(cuts: list[int]) -> None:
    decoder = EventStreamDecoder()
    found: list[AwsEvent] = []
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(STREAM)], strict=True):
        found += decoder.feed(STREAM[start:end])
    decoder.end()
    assert found == EventStreamDecoder().feed(STREAM)


@given(st.integers(0, len(STREAM) - 1), st.integers(1, 255))
def test_a_damaged_stream_is_never_read_as_a_whole_one(place: int, flip: int) -> None:
    damaged = bytearray(STREAM)
    damaged[place] ^= flip
    decoder = EventStreamDecoder()
    with pytest.raises(ValueError, match="frame"):  # noqa: PT012 - some damage shows only at the end
        decoder.feed(bytes(damaged))
        decoder.end()


def test_frames_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="headers"):
        EventStreamDecoder().feed(_raw_headers(b"\x05ab"))
    decoder = EventStreamDecoder()
    decoder.feed(event("messageStart", {})[:-1])
    with pytest.raises(ValueError, match="middle"):
        decoder.end()
    assert EventStreamDecoder().feed(frame({}, b"x")) == [AwsEvent({}, b"x")]


def _raw_headers(packed: bytes) -> bytes:
    prelude = struct.pack(">II", 16 + len(packed), len(packed))
    head = prelude + struct.pack(">I", zlib.crc32(prelude)) + packed
    return head + struct.pack(">I", zlib.crc32(head))
