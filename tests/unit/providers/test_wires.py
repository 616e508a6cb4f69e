"""The dialects as bytes: what is sent is what the providers document, what they answer is read whole."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fixtures.upstream import anthropic_answer, anthropic_events, openai_answer, openai_chunks
from gateway.errors import NotSupported, UpstreamError
from gateway.models.llm_models import (
    Chat,
    ImagePart,
    Message,
    ResponseFormat,
    TextPart,
    ThinkingPart,
    Tool,
    ToolChoice,
    ToolResultPart,
    ToolUsePart,
    Usage,
)
from gateway.providers import anthropic_wire, openai_wire
from gateway.providers.embedded_wire import EmbeddedWire

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TALK = Chat(
    model="any",
    messages=(
        Message("system", (TextPart("Be brief."),)),
        Message("user", (TextPart("Weather?"),)),
        Message("assistant", (ToolUsePart("call_1", "weather", '{"city":"Rome"}'),)),
        Message("tool", (ToolResultPart("call_1", "sunny"),)),
        Message("user", (TextPart("And this?"), ImagePart(data="aGk=", media_type="image/png"))),
    ),
    max_tokens=50,
    temperature=0.2,
    top_p=0.9,
    stop=("END",),
    tools=(Tool("weather", "The weather", SCHEMA),),
    tool_choice=ToolChoice("tool", "weather"),
    user="u1",
)


def sent(encoded: tuple[bytes, tuple[str, ...]]) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(encoded[0])
    return body


def test_openai_as_it_is_documented() -> None:
    assert sent(openai_wire.encode(TALK, "gpt-4", stream=True)) == {
        "model": "gpt-4",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Weather?"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "weather", "arguments": '{"city":"Rome"}'},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "And this?"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
                ],
            },
        ],
        "max_tokens": 50,
        "temperature": 0.2,
        "top_p": 0.9,
        "stop": ["END"],
        "user": "u1",
        "tools": [
            {
                "type": "function",
                "function": {"name": "weather", "description": "The weather", "parameters": SCHEMA},
            }
        ],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_anthropic_as_it_is_documented() -> None:
    assert sent(anthropic_wire.encode(TALK, "claude-3-opus-20240229", stream=True, max_tokens=4096)) == {
        "model": "claude-3-opus-20240229",
        "max_tokens": 50,
        "system": "Be brief.",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Rome"}}],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "call_1", "content": "sunny"},
                    {"type": "text", "text": "And this?"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
                ],
            },
        ],
        "temperature": 0.2,
        "top_p": 0.9,
        "stop_sequences": ["END"],
        "metadata": {"user_id": "u1"},
        "tools": [{"name": "weather", "description": "The weather", "input_schema": SCHEMA}],
        "tool_choice": {"type": "tool", "name": "weather"},
        "stream": True,
    }


HELLO = Chat("any", (Message("user", (TextPart("Hi"),)),))


def changed(**fields: Any) -> Chat:
    return Chat(**{"model": "any", "messages": HELLO.messages, **fields})


def test_what_is_not_said_is_not_sent() -> None:
    assert sent(openai_wire.encode(HELLO, "gpt-4", stream=False)) == {
        "model": "gpt-4",
        "messages": [{"role": "user", "content": "Hi"}],
    }


@pytest.mark.parametrize(("model", "official", "name"), [
    ("gpt-4", True, "max_tokens"),
    ("o3-mini", True, "max_completion_tokens"),
    ("gpt-5", True, "max_completion_tokens"),
    ("o3-mini", False, "max_tokens"),
])  # fmt: skip
def test_the_bound_has_the_name_that_the_model_knows(model: str, official: bool, name: str) -> None:
    body = sent(openai_wire.encode(changed(max_tokens=9), model, stream=False, official=official))
    assert body[name] == 9


@pytest.mark.parametrize(("asked", "bound"), [(None, 64), (20, 20)])
def test_the_embedded_model_never_writes_on_without_a_bound(asked: int | None, bound: int) -> None:
    chat = Chat("any", (Message("user", (TextPart("Hello"),)),), max_tokens=asked)
    assert sent(EmbeddedWire("up", 64).encode(chat, stream=False))["max_tokens"] == bound


def test_structured_output_for_openai() -> None:
    given_format = ResponseFormat("json_schema", "city", SCHEMA, strict=True)
    assert sent(openai_wire.encode(changed(response_format=given_format), "gpt-4", stream=False))[
        "response_format"
    ] == {
        "type": "json_schema",
        "json_schema": {"name": "city", "schema": SCHEMA, "strict": True},
    }


def test_fields_of_the_same_dialect_are_carried_and_of_another_named() -> None:
    extra = {"logprobs": True}
    same = openai_wire.encode(changed(dialect="openai", extra=extra), "gpt-4", stream=False)
    assert sent(same)["logprobs"] is True
    other = anthropic_wire.encode(changed(dialect="openai", extra=extra, seed=1), "c", stream=False, max_tokens=9)
    assert other[1] == ("logprobs", "seed")
    thinking = Chat("m", (Message("assistant", (ThinkingPart("hm", "sig"), TextPart("a"))), *HELLO.messages))
    assert openai_wire.encode(thinking, "gpt-4", stream=False)[1] == ("thinking",)


@pytest.mark.parametrize("fields", [{"n": 2}, {"response_format": ResponseFormat("json_object")}])
def test_what_would_change_the_meaning_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(NotSupported):
        anthropic_wire.encode(changed(**fields), "claude", stream=False, max_tokens=9)


def test_an_answer_of_openai() -> None:
    reply = openai_wire.decode_reply(json.dumps(openai_answer("Hi there")).encode())
    assert (reply.text(), reply.model, reply.created) == ("Hi there", "gpt-4-0613", 1_700_000_000)
    assert reply.usage == Usage(11, 3, 4, 0, 1, "provider")


def test_an_answer_of_anthropic() -> None:
    blocks = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "Hi"},
        {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Rome"}},
    ]
    reply = anthropic_wire.decode_reply(json.dumps(anthropic_answer(content=blocks, stop_reason="tool_use")).encode())
    assert reply.choices[0].parts == (
        ThinkingPart("hm", "s"),
        TextPart("Hi"),
        ToolUsePart("t1", "weather", '{"city":"Rome"}'),
    )
    assert (reply.choices[0].finish, reply.choices[0].raw_finish) == ("tool_use", "tool_use")
    assert reply.usage == Usage(10, 3, 2, 1, 0, "provider")


@pytest.mark.parametrize("content", [b"", b"<", b"[]", b"{}", b'{"choices":[]}', b'{"choices":[1]}', b'{"content":3}'])
@pytest.mark.parametrize("wire", [openai_wire, anthropic_wire])
def test_an_answer_of_another_shape_is_an_error(wire: Any, content: bytes) -> None:
    with pytest.raises(UpstreamError):
        wire.decode_reply(content)


def test_a_stream_of_openai_with_two_tool_calls() -> None:
    def call(index: int, **function: str) -> dict[str, Any]:
        item: dict[str, Any] = {"index": index, "function": function}
        if "name" in function:
            item |= {"id": f"call_{index}", "type": "function"}
        return {"id": "c", "choices": [{"index": 0, "delta": {"tool_calls": [item]}, "finish_reason": None}]}

    pieces = [call(0, name="a", arguments=""), call(0, arguments='{"x"'), call(0, arguments=":1}"), call(1, name="b")]
    deltas = [delta for piece in pieces for delta in openai_wire.decode_chunk(piece)]
    assert "".join(delta.arguments for delta in deltas if delta.tool_index == 0) == '{"x":1}'
    assert [(delta.tool_id, delta.tool_name) for delta in deltas if delta.tool_name] == [
        ("call_0", "a"),
        ("call_1", "b"),
    ]


def test_a_stream_of_openai_ends_with_reason_and_usage() -> None:
    deltas = [delta for piece in openai_chunks("Hel", "lo") for delta in openai_wire.decode_chunk(piece)]
    assert "".join(delta.text for delta in deltas) == "Hello"
    assert [delta.finish for delta in deltas if delta.finish] == ["stop"]
    assert [delta.usage for delta in deltas if delta.usage] == [Usage(11, 3, 0, 0, 0, "provider")]


def test_an_empty_answer_of_the_forced_tool_is_an_empty_object() -> None:
    decoder = anthropic_wire.StreamDecoder()
    block = {"type": "tool_use", "id": "t", "name": "json_answer", "input": {}}
    told = [
        piece
        for raw in (
            {"type": "content_block_start", "index": 0, "content_block": block},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": ""}},
            {"type": "content_block_stop", "index": 0},
        )
        for piece in decoder.decode(raw)
    ]
    assert [piece.text for piece in told] == ["{}"]


def test_a_stream_of_anthropic_counts_cumulatively() -> None:
    decoder = anthropic_wire.StreamDecoder()
    deltas = [delta for event in anthropic_events("Hel", "lo") for delta in decoder.decode(event)]
    assert "".join(delta.text for delta in deltas) == "Hello"
    usages = [delta.usage for delta in deltas if delta.usage is not None]
    assert [(usage.input_tokens, usage.output_tokens) for usage in usages] == [(10, 1), (10, 3)]
    assert deltas[-1].finish == "stop"


def test_tools_of_an_anthropic_stream_are_numbered_by_themselves() -> None:
    decoder = anthropic_wire.StreamDecoder()
    raw: list[dict[str, Any]] = [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "t1", "name": "a"}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"x":'}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "1}"}},
        {"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "id": "t2", "name": "b"}},
        {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
    ]
    deltas = [delta for event in raw for delta in decoder.decode(event)]
    arguments = {0: "", 1: ""}
    for delta in deltas:
        if delta.tool_index is not None:
            arguments[delta.tool_index] += delta.arguments
    assert arguments == {0: '{"x":1}', 1: "{}"}


def test_several_texts_of_a_turn_do_not_run_into_each_other() -> None:
    def turn(role: Any, *texts: str) -> Message:
        return Message(role, tuple(map(TextPart, texts)))

    chat = Chat("m", (turn("system", "Be brief.", "Be kind."), turn("user", "A", "B"), turn("assistant", "C", "D")))
    told = json.loads(openai_wire.encode(chat, "up", stream=False)[0])["messages"]
    assert [turn["content"] for turn in told] == [
        "Be brief.\n\nBe kind.",
        [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}],
        "CD",
    ]
    told = json.loads(anthropic_wire.encode(chat, "up", stream=False, max_tokens=9)[0])
    assert (told["system"], len(told["messages"][0]["content"])) == ("Be brief.\n\nBe kind.", 2)
