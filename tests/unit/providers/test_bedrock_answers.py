"""Bedrock's Converse: turns and tools as its reference says, every way an answer ends, a stream joined is the whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.aws import event
from gateway.errors import NotSupported
from gateway.models.llm_models import (
    Chat,
    Delta,
    ImagePart,
    Message,
    Part,
    ResponseFormat,
    TextPart,
    ThinkingPart,
    Tool,
    ToolChoice,
    ToolResultPart,
    ToolUsePart,
    Usage,
)
from gateway.providers import bedrock_wire
from gateway.providers.framing import AwsFrames

HELLO = (Message("user", (TextPart("Hi"),)),)
WEATHER = Tool("weather", "The weather", {"type": "object", "properties": {"city": {"type": "string"}}})
USED = (
    *HELLO,
    Message("assistant", (ToolUsePart("t1", "weather", '{"city":"Rome"}'),)),
    Message("tool", (ToolResultPart("t1", "sunny"),)),
)


def chat(**fields: Any) -> Chat:
    return Chat(**{"model": "any", "messages": HELLO, **fields})


def sent(given_chat: Chat) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(bedrock_wire.encode(given_chat)[0])
    return body


def refused(given_chat: Chat) -> str | None:
    with pytest.raises(NotSupported) as error:
        bedrock_wire.encode(given_chat)
    assert error.value.mend
    return error.value.param


# -- what is sent ---------------------------------------------------------------------------------


def test_what_is_not_said_is_not_sent() -> None:
    assert bedrock_wire.encode(chat()) == (b'{"messages":[{"role":"user","content":[{"text":"Hi"}]}]}', ())


def test_equal_roles_in_a_row_become_one_turn_and_system_turns_stand_apart() -> None:
    body = sent(
        chat(
            messages=(
                Message("system", (TextPart("Be brief."),)),
                Message("user", (TextPart("One"),)),
                Message("user", (TextPart("Two"),)),
                Message("assistant", (ToolUsePart("a", "weather", ""), ToolUsePart("b", "weather", '{"city":"Rome"}'))),
                Message("tool", (ToolResultPart("a", "rain"),)),
                Message("tool", (ToolResultPart("b", "no such city", is_error=True),)),
                Message("system", (TextPart("In English."),)),
                Message("user", (TextPart("So?"),)),
                Message("assistant", ()),
            ),
            tools=(WEATHER,),
        )
    )
    assert body["system"] == [{"text": "Be brief."}, {"text": "In English."}]
    assert body["messages"] == [
        {"role": "user", "content": [{"text": "One"}, {"text": "Two"}]},
        {
            "role": "assistant",
            "content": [
                {"toolUse": {"toolUseId": "a", "name": "weather", "input": {}}},
                {"toolUse": {"toolUseId": "b", "name": "weather", "input": {"city": "Rome"}}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"toolResult": {"toolUseId": "a", "content": [{"text": "rain"}]}},
                {"toolResult": {"toolUseId": "b", "content": [{"text": "no such city"}], "status": "error"}},
                {"text": "So?"},
            ],
        },
    ]


@pytest.mark.parametrize(
    ("choice", "made"),
    [
        (ToolChoice("auto"), {"auto": {}}),
        (ToolChoice("auto", parallel=True), {"auto": {}}),
        (ToolChoice("required"), {"any": {}}),
        (ToolChoice("tool", "weather"), {"tool": {"name": "weather"}}),
    ],
)
def test_a_choice_of_tool(choice: ToolChoice, made: dict[str, Any]) -> None:
    config = sent(chat(tools=(WEATHER,), tool_choice=choice))["toolConfig"]
    assert config["toolChoice"] == made


def test_a_tool_says_only_what_is_known_of_it() -> None:
    assert sent(chat(tools=(Tool("now"),)))["toolConfig"] == {
        "tools": [{"toolSpec": {"name": "now", "inputSchema": {"json": {"type": "object"}}}}]
    }


def test_tools_that_may_not_be_used_are_left_out_until_one_was_used() -> None:
    none = ToolChoice("none")
    assert sent(chat(tools=(WEATHER,), tool_choice=none)) == sent(chat())
    assert refused(chat(messages=USED, tools=(WEATHER,), tool_choice=none)) == "tool_choice"
    assert refused(chat(messages=USED[1:2], tools=(WEATHER,), tool_choice=none)) == "tool_choice"
    assert refused(chat(messages=USED[2:], tools=(WEATHER,), tool_choice=none)) == "tool_choice"


@pytest.mark.parametrize("form", ["png", "jpeg", "gif", "webp"])
def test_an_image_of_every_format(form: str) -> None:
    image = ImagePart(data="aGk=", media_type=f"image/{form}")
    assert sent(chat(messages=(Message("user", (image,)),)))["messages"][0]["content"] == [
        {"image": {"format": form, "source": {"bytes": "aGk="}}}
    ]


@pytest.mark.parametrize(
    "image",
    [ImagePart(url="https://example.com/a.png"), ImagePart(data="aGk=", media_type="image/tiff"), ImagePart("")],
)
def test_an_image_that_cannot_be_sent_is_refused(image: ImagePart) -> None:
    assert refused(chat(messages=(Message("user", (image,)),))) == "messages"


def test_what_cannot_be_asked_is_refused_by_name() -> None:
    assert refused(chat(n=2)) == "n"
    assert refused(chat(response_format=ResponseFormat("json_object"))) == "response_format"
    assert refused(chat(tools=(WEATHER,), tool_choice=ToolChoice("auto", parallel=False))) == "parallel_tool_calls"
    broken = Message("assistant", (ToolUsePart("t1", "weather", "{"),))
    refused(chat(messages=(*HELLO, broken), tools=(WEATHER,)))
    assert sent(chat(response_format=ResponseFormat("text"))) == sent(chat())


CITY = ResponseFormat("json_schema", "city", WEATHER.schema, strict=True)


def test_an_answer_of_a_schema_is_asked_as_the_input_of_the_only_tool() -> None:
    assert sent(chat(response_format=CITY))["toolConfig"] == {
        "tools": [
            {
                "toolSpec": {
                    "name": "json_answer",
                    "description": "Gives the answer.",
                    "inputSchema": {"json": WEATHER.schema},
                }
            }
        ],
        "toolChoice": {"any": {}},
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": (WEATHER,)},
        {"tools": (WEATHER,), "messages": USED},
        {"tools": (WEATHER,), "tool_choice": ToolChoice("none")},
        {"response_format": ResponseFormat("json_schema", "list", {"type": "array"})},
        {"response_format": ResponseFormat("json_schema", "maybe", {"type": ["object", "null"]})},
    ],
)
def test_what_a_forced_tool_is_not_exactly_is_refused(fields: dict[str, Any]) -> None:
    assert refused(chat(**{"response_format": CITY, **fields})) == "response_format"


def test_a_model_of_structured_outputs_is_asked_by_its_own_field_also_beside_tools() -> None:
    body = json.loads(bedrock_wire.encode(chat(response_format=CITY, tools=(WEATHER,)), native_schema=True)[0])
    form = body["outputConfig"]["textFormat"]
    assert form["type"] == "json_schema"
    assert form["structure"]["jsonSchema"].keys() == {"schema", "name"}
    assert form["structure"]["jsonSchema"]["name"] == "city"
    assert json.loads(form["structure"]["jsonSchema"]["schema"]) == WEATHER.schema
    assert [tool["toolSpec"]["name"] for tool in body["toolConfig"]["tools"]] == ["weather"]
    assert "toolChoice" not in body["toolConfig"]
    with pytest.raises(NotSupported):
        bedrock_wire.encode(chat(response_format=ResponseFormat("json_object")), native_schema=True)


@pytest.mark.parametrize("pieces", [['{"ci', 'ty":"Rome"}'], ["{}"], ["", ""], []])
@pytest.mark.parametrize(("stop", "finish"), [("tool_use", "stop"), ("max_tokens", "length")])
def test_the_answers_tool_is_text_whole_and_in_pieces(pieces: list[str], stop: str, finish: str) -> None:
    said = "".join(pieces) or "{}"
    use = {"toolUseId": "t1", "name": "json_answer"}
    block = {"toolUse": {**use, "input": json.loads(said)}}
    raw = {"output": {"message": {"role": "assistant", "content": [block]}}, "stopReason": stop}
    choice = bedrock_wire.decode_reply(json.dumps(raw).encode()).choices[0]
    decoder = bedrock_wire.StreamDecoder()
    events: list[tuple[str, dict[str, Any]]] = [
        ("contentBlockStart", {"contentBlockIndex": 0, "start": {"toolUse": use}}),
        *(("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"toolUse": {"input": piece}}}) for piece in pieces),
        ("contentBlockStop", {"contentBlockIndex": 0}),
        ("messageStop", {"stopReason": stop}),
    ]
    deltas = [delta for kind, payload in events for delta in decoder.decode(kind, payload)]
    assert choice.parts == (TextPart(said),)
    assert [delta.text for delta in deltas if delta.text] == [piece for piece in pieces if piece] or ["{}"]
    assert all(delta.tool_index is None for delta in deltas)
    assert choice.finish == deltas[-1].finish == finish


def test_hints_that_have_no_place_are_named() -> None:
    images = (Message("user", (ImagePart(data="aGk=", media_type="image/png", detail="low"),)),)
    content, dropped = bedrock_wire.encode(
        chat(
            messages=images,
            seed=0,
            presence_penalty=0.0,
            frequency_penalty=0.5,
            reasoning_effort="low",
            user="u",
            tools=(Tool("now", strict=True),),
            dialect="openai",
            extra={"verbosity": "low", "logit_bias": {}},
        )
    )
    settings = {"seed", "presence_penalty", "frequency_penalty", "reasoning_effort", "user", "verbosity", "logit_bias"}
    assert set(dropped) == settings | {"image_url.detail", "tools.strict"}
    assert len(dropped) == 9
    assert set(json.loads(content)) == {"messages", "toolConfig"}


# -- what is answered -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stop", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("tool_use", "tool_use"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
    ],
)
def test_every_way_an_answer_ends(stop: str, finish: str) -> None:
    raw = {"output": {"message": {"role": "assistant", "content": [{"text": "x"}]}}, "stopReason": stop}
    choice = bedrock_wire.decode_reply(json.dumps(raw).encode()).choices[0]
    (delta,) = bedrock_wire.StreamDecoder().decode("messageStop", {"stopReason": stop})
    assert (choice.finish, choice.raw_finish) == (delta.finish, delta.raw_finish) == (finish, stop)


@pytest.mark.parametrize(
    ("raw", "usage"),
    [
        ({"inputTokens": 7, "outputTokens": 3, "totalTokens": 10}, Usage(7, 3, basis="provider")),
        (
            {"inputTokens": 7, "outputTokens": 3, "cacheReadInputTokens": 100, "cacheWriteInputTokens": 20},
            Usage(127, 3, 100, 20, basis="provider"),
        ),
        ({"inputTokens": 7, "outputTokens": 3, "cacheReadInputTokens": None}, Usage(7, 3, basis="provider")),
        (None, Usage()),
    ],
)
def test_usage_counts_the_cache_as_input(raw: Any, usage: Usage) -> None:
    assert bedrock_wire.decode_usage(raw) == usage
    assert bedrock_wire.StreamDecoder().decode("metadata", {"usage": raw, "metrics": {}}) == [Delta(usage=usage)]


#: An answer with thinking, text and two calls, as the reference writes it whole …
WHOLE: dict[str, Any] = {
    "output": {
        "message": {
            "role": "assistant",
            "content": [
                {"reasoningContent": {"reasoningText": {"text": "Let me see.", "signature": "c2ln"}}},
                {"text": "I will ask."},
                {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {"city": "Rome"}}},
                {"toolUse": {"toolUseId": "t2", "name": "now", "input": {}}},
            ],
        }
    },
    "stopReason": "tool_use",
    "usage": {"inputTokens": 30, "outputTokens": 12, "totalTokens": 47, "cacheReadInputTokens": 5},
    "metrics": {"latencyMs": 100},
}
#: … and in events.
EVENTS: list[tuple[str, dict[str, Any]]] = [
    ("messageStart", {"role": "assistant"}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "Let "}}}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "me see."}}}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"signature": "c2ln"}}}),
    ("contentBlockStop", {"contentBlockIndex": 0}),
    ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"text": "I will"}}),
    ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"text": " ask."}}),
    ("contentBlockStop", {"contentBlockIndex": 1}),
    ("contentBlockStart", {"contentBlockIndex": 2, "start": {"toolUse": {"toolUseId": "t1", "name": "weather"}}}),
    ("contentBlockDelta", {"contentBlockIndex": 2, "delta": {"toolUse": {"input": '{"city":'}}}),
    ("contentBlockDelta", {"contentBlockIndex": 2, "delta": {"toolUse": {"input": '"Rome"}'}}}),
    ("contentBlockStop", {"contentBlockIndex": 2}),
    ("contentBlockStart", {"contentBlockIndex": 3, "start": {"toolUse": {"toolUseId": "t2", "name": "now"}}}),
    ("contentBlockDelta", {"contentBlockIndex": 3, "delta": {"toolUse": {"input": "{}"}}}),
    ("contentBlockStop", {"contentBlockIndex": 3}),
    ("messageStop", {"stopReason": "tool_use"}),
    ("metadata", {"usage": WHOLE["usage"], "metrics": {"latencyMs": 100}}),
]
STREAM = b"".join(event(kind, payload) for kind, payload in EVENTS)


def joined(deltas: list[Delta]) -> tuple[tuple[Part, ...], str | None, Usage | None]:
    """The parts that the pieces make, the finish and the usage."""
    calls: dict[int, list[str]] = {}
    for delta in deltas:
        if delta.tool_index is not None:
            call = calls.setdefault(delta.tool_index, [delta.tool_id, delta.tool_name, ""])
            call[2] += delta.arguments
    parts: list[Part] = [
        ThinkingPart("".join(delta.thinking for delta in deltas), "".join(delta.signature for delta in deltas)),
        TextPart("".join(delta.text for delta in deltas)),
        *(ToolUsePart(*calls[index]) for index in sorted(calls)),
    ]
    (finish,) = [delta.finish for delta in deltas if delta.finish]
    (usage,) = [delta.usage for delta in deltas if delta.usage]
    return tuple(parts), finish, usage


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_a_stream_joined_is_the_whole_answer_however_it_is_cut(cuts: list[int]) -> None:
    frames, decoder = AwsFrames(), bedrock_wire.StreamDecoder()
    deltas: list[Delta] = []
    places = [0, *sorted(cuts), len(STREAM)]
    for at, start in enumerate(places[:-1]):
        for raw in frames.feed(STREAM[start : places[at + 1]]):
            deltas += decoder.decode(raw["event"], raw["payload"])
    assert frames.end() == []
    reply = bedrock_wire.decode_reply(json.dumps(WHOLE).encode())
    assert joined(deltas) == (reply.choices[0].parts, reply.choices[0].finish, reply.usage)


def test_calls_are_numbered_among_themselves() -> None:
    decoder = bedrock_wire.StreamDecoder()
    deltas = [delta for kind, payload in EVENTS for delta in decoder.decode(kind, payload)]
    assert [delta.tool_index for delta in deltas if delta.tool_id] == [0, 1]
    assert [delta.tool_index for delta in deltas if delta.arguments] == [0, 0, 1]


def test_an_answer_given_back_is_sent_as_it_came() -> None:
    reply = bedrock_wire.decode_reply(json.dumps(WHOLE).encode())
    given_back = chat(messages=(*HELLO, Message("assistant", reply.choices[0].parts)), tools=(WEATHER,))
    assert sent(given_back)["messages"][1] == WHOLE["output"]["message"]


def test_events_of_no_interest_are_passed_over() -> None:
    decoder = bedrock_wire.StreamDecoder()
    for kind in ("messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "somethingNew"):
        assert decoder.decode(kind, {}) == []
