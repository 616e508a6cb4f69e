"""The Responses API as values: what is asked, the whole answer, and the events of a streamed one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from fixtures.responses_kit import CALL, EVERYTHING, FUNCTION, RESULT, SCHEMA, USED, asked
from gateway.api.wire.responses import decode
from gateway.api.wire.responses_answer import encode_reply
from gateway.errors import GatewayError, NotSupported, ValidationFailed
from gateway.models.llm_models import (
    Chat,
    Choice,
    ImagePart,
    Message,
    Reply,
    ResponseFormat,
    TextPart,
    ThinkingPart,
    Tool,
    ToolChoice,
    ToolResultPart,
    ToolUsePart,
)

EVENTS: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def talk(*items: Any) -> tuple[Message, ...]:
    return asked(input=list(items)).chat.messages


def user(text: str) -> Message:
    return Message("user", (TextPart(text),))


def test_every_field_is_decoded() -> None:
    request = decode(EVERYTHING)
    reported = (
        "reasoning.encrypted_content",
        "stream_options.include_obfuscation",
        "text.format.description",
        "reasoning.summary",
    )
    assert request.reported == reported
    assert request.chat == Chat(
        model="gpt-4",
        messages=(Message("system", (TextPart("Be brief."),)), user("Hello")),
        max_tokens=50,
        temperature=0.5,
        top_p=0.9,
        tools=(Tool("weather", "Of a city.", SCHEMA, True),),
        tool_choice=ToolChoice("tool", "weather", False),
        response_format=ResponseFormat("json_schema", "report", SCHEMA, True),
        reasoning_effort="high",
        user="u-1",
        dialect="openai",
        extra={
            "metadata": {"job": "7"},
            "prompt_cache_key": "k-1",
            "safety_identifier": "s-1",
            "service_tier": "flex",
            "verbosity": "low",
        },
        unmapped=reported,
    )
    assert request.stream
    assert not request.store
    assert request.previous_response_id == "resp_0"
    assert request.input_items == [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]}
    ]


def test_what_is_not_said_is_the_default() -> None:
    request = asked(temperature=None, tools=None, metadata=None, text=None, reasoning=None, conversation=None)
    assert request.chat == Chat(model="gpt-4", messages=(user("Hello"),), dialect="openai")
    assert request.store
    assert not request.stream
    assert request.previous_response_id == ""
    assert request.reported == ()


@pytest.mark.parametrize(
    ("given_choice", "expected"),
    [
        ("auto", ToolChoice("auto")),
        ("none", ToolChoice("none")),
        ("required", ToolChoice("required")),
        ({"type": "function", "name": "weather"}, ToolChoice("tool", "weather")),
    ],
)
def test_tool_choice(given_choice: Any, expected: ToolChoice) -> None:
    assert asked(tools=[FUNCTION], tool_choice=given_choice).chat.tool_choice == expected
    assert asked(tools=[FUNCTION], parallel_tool_calls=True).chat.tool_choice == ToolChoice("auto", parallel=True)


@pytest.mark.parametrize("kind", ["text", "json_object"])
def test_text_format(kind: Any) -> None:
    request = asked(text={"format": {"type": kind}})
    assert request.chat.response_format == ResponseFormat(kind)
    assert request.echo["text"] == {"format": {"type": kind}}


def test_messages_of_every_role_and_part() -> None:
    assert talk(
        {"role": "system", "content": "a"},
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "b"}]},
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "c"},
                {"type": "input_image", "image_url": "https://x.test/a.png", "detail": "low"},
                {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": None},
            ],
        },
        {
            "type": "message",
            "id": "msg_1",
            "status": "completed",
            "role": "assistant",
            "content": [
                {"type": "output_text", "text": "d", "annotations": [], "logprobs": []},
                {"type": "refusal", "refusal": "e"},
            ],
        },
    ) == (
        Message("system", (TextPart("a"),)),
        Message("system", (TextPart("b"),)),
        Message(
            "user",
            (
                TextPart("c"),
                ImagePart(url="https://x.test/a.png", detail="low"),
                ImagePart(data="AAAA", media_type="image/png"),
            ),
        ),
        Message("assistant", (TextPart("d"), TextPart("e"))),
    )


def test_calls_that_stand_together_are_one_turn() -> None:
    second = {**CALL, "call_id": "call_2", "arguments": ""}
    parts = {**RESULT, "call_id": "call_2", "output": [{"type": "input_text", "text": text} for text in ("su", "n")]}
    uses = (ToolUsePart("call_1", "weather", '{"city":"Bonn"}'), ToolUsePart("call_2", "weather", "{}"))
    results = (
        Message("tool", (ToolResultPart("call_1", "rain"),)),
        Message("tool", (ToolResultPart("call_2", "sun"),)),
    )
    said = {"role": "assistant", "content": "Let me see."}
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]}
    hello = {"role": "user", "content": "Hello"}
    turn = Message("assistant", (TextPart("Let me see."), *uses))
    assert talk(hello, said, reasoning, CALL, second, RESULT, parts) == (user("Hello"), turn, *results)
    assert asked(input=[hello, reasoning]).reported == ("reasoning",)
    assert talk(hello, CALL, said, RESULT)[1] == Message("assistant", (uses[0], TextPart("Let me see.")))
    assert talk(hello, CALL, RESULT, second, parts) == (
        user("Hello"),
        Message("assistant", uses[:1]),
        results[0],
        Message("assistant", uses[1:]),
        results[1],
    ), "one after the other stays one after the other"


def test_a_conversation_goes_on_from_a_stored_response() -> None:
    """Tools round trip: what we answered, sent back as history, is the turn that was made."""
    first = asked(instructions="Once.", tools=[FUNCTION])
    parts = (ThinkingPart("hm"), TextPart("Let me see."), ToolUsePart("call_1", "weather", '{"city":"Bonn"}'))
    reply = Reply("", "m", (Choice(parts, "tool_use"),), USED)
    answered = encode_reply(reply, first, "gpt-4", "resp_1", 1)
    history = [*first.input_items, *answered["output"]]
    body = {"model": "gpt-4", "input": [RESULT], "previous_response_id": "resp_1", "instructions": "Twice."}
    second = decode(body, history)
    assert second.chat.messages == (
        Message("system", (TextPart("Twice."),)),
        user("Hello"),
        Message("assistant", parts[1:]),
        Message("tool", (ToolResultPart("call_1", "rain"),)),
    )
    assert second.input_items == [RESULT], "what came before is not this request's own"
    assert second.reported == ("reasoning",)
    assert decode({"model": "m", "previous_response_id": "resp_1"}, history).chat.messages[0] == user("Hello")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        *(({"tools": [{"type": kind}]}, "tools[0].type") for kind in ("web_search", "file_search", "mcp", "custom")),
        *(({"tools": [{"type": kind}]}, "tools[0].type") for kind in ("code_interpreter", "computer_use_preview")),
        ({"tools": [{"type": "image_generation"}]}, "tools[0].type"),
        ({"tools": [{**FUNCTION, "defer_loading": True}]}, "tools[0].defer_loading"),
        ({"tool_choice": {"type": "file_search"}}, "tool_choice"),
        ({"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}}, "tool_choice"),
        ({"truncation": "auto"}, "truncation"),
        ({"include": ["file_search_call.results"]}, "include"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"max_tool_calls": 3}, "max_tool_calls"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"reasoning": {"mode": "pro"}}, "reasoning.mode"),
        ({"input": [{"type": "web_search_call", "id": "ws_1"}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input[0].content[0]"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
            "input[0].content[0]",
        ),
        (
            {"input": [{"role": "system", "content": [{"type": "input_image", "image_url": "https://x"}]}]},
            "input[0].content[0]",
        ),
    ],
)
def test_what_only_openais_own_house_can_do_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(NotSupported) as caught:
        asked(**fields)
    assert caught.value.param == param
    named = param
    if param.endswith("].type"):
        (items,) = fields.values()
        named = items[0]["type"]
    assert named in caught.value.message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"max_tokens": 5}, "max_tokens"),
        ({"model": ""}, "model"),
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": ["x"]}, "input"),
        ({"input": [{}]}, "input[0].type"),
        ({"input": [{"type": ["message"]}]}, "input[0].type"),
        ({"input": [{"type": "verse"}]}, "input[0].type"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": ["x"]}]}, "input[0].content[0]"),
        ({"input": [{"role": "user", "content": [{"type": {}}]}]}, "input[0].content[0]"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "ftp://x"}]}]},
            "input[0].content[0]",
        ),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0].image_url"),
        ({"input": [{**CALL, "name": None}]}, "input[0].name"),
        ({"input": [{**CALL, "arguments": {}}]}, "input[0].arguments"),
        ({"input": [RESULT]}, "input[0].call_id"),
        ({"input": [CALL, {**RESULT, "output": None}]}, "input[1].output"),
        ({"instructions": ["x"]}, "instructions"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"top_p": True}, "top_p"),
        ({"tools": {}}, "tools"),
        ({"tools": ["x"]}, "tools[0].type"),
        ({"tools": [{"type": "function", "function": {"name": "x"}}]}, "tools[0].name"),
        ({"tools": [{**FUNCTION, "parameters": "x"}]}, "tools[0].parameters"),
        ({"tools": [{**FUNCTION, "strict": "x"}]}, "tools[0].strict"),
        ({"tool_choice": "any", "tools": [FUNCTION]}, "tool_choice"),
        ({"tool_choice": {"type": "function"}, "tools": [FUNCTION]}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"parallel_tool_calls": 1}, "parallel_tool_calls"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema"),
        ({"text": {"format": {"type": "json_schema", "schema": {}}}}, "text.format.name"),
        ({"text": {"format": {"type": "json_schema", "name": "x", "schema": {}, "strict": 1}}}, "text.format.strict"),
        ({"text": {"verbosity": "loud"}}, "text.verbosity"),
        ({"text": {"size": 3}}, "text.size"),
        ({"reasoning": {"effort": 3}}, "reasoning.effort"),
        ({"reasoning": "high"}, "reasoning"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"service_tier": 1}, "service_tier"),
        ({"store": "yes"}, "store"),
        ({"stream": 1}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options.include_usage"),
        ({"truncation": "some"}, "truncation"),
        ({"include": "x"}, "include"),
        ({"previous_response_id": 3}, "previous_response_id"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        asked(**fields)
    assert caught.value.param == param


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "user", "message", "function", "auto"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["type", "role", "content", "name", "format", "output", "call_id"]), inner)
    ),
    max_leaves=6,
)


@given(st.sampled_from([*EVERYTHING, "conversation", "nonsense"]), JSON)
def test_no_body_does_more_than_be_refused(name: str, value: Any) -> None:
    refused: GatewayError | None = None
    try:
        decode({**EVERYTHING, name: value})
    except GatewayError as error:
        refused = error
    assert refused is None or (refused.status in (400, 422, 501) and refused.param)
