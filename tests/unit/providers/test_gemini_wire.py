"""Google's generateContent as bytes: what is sent is what its reference documents, its answers are read whole."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.errors import NotSupported
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
)
from gateway.providers import gemini_wire

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
HELLO = (Message("user", (TextPart("Hi"),)),)
WEATHER = ToolUsePart("call_1", "weather", '{"city":"Rome"}')


def chat(**fields: Any) -> Chat:
    return Chat(**{"model": "any", "messages": HELLO, **fields})


def sent(given_chat: Chat, *, stream: bool = False) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(gemini_wire.encode(given_chat, stream=stream)[0])
    return body


def dropped(given_chat: Chat) -> tuple[str, ...]:
    return gemini_wire.encode(given_chat, stream=False)[1]


EVERY_FIELD = chat(
    messages=(
        Message("system", (TextPart("Be brief."),)),
        Message("user", (TextPart("Weather?"),)),
        Message("assistant", (ThinkingPart("hm", "sig"), WEATHER)),
        Message("tool", (ToolResultPart("call_1", "sunny"),)),
        Message("user", (TextPart("And this?"), ImagePart(data="aGk=", media_type="image/png"))),
        Message("system", (TextPart("In English."),)),
    ),
    max_tokens=50,
    temperature=0.2,
    top_p=0.9,
    stop=("END", "STOP"),
    seed=7,
    n=2,
    presence_penalty=0.5,
    frequency_penalty=-0.5,
    tools=(Tool("weather", "The weather", SCHEMA), Tool("now", "The time")),
    tool_choice=ToolChoice("tool", "weather"),
    response_format=ResponseFormat("json_schema", "city", SCHEMA, strict=True),
    reasoning_effort="medium",
    user="u1",
    dialect="openai",
    extra={"top_logprobs": 2, "logprobs": True},
)


@pytest.mark.parametrize("stream", [False, True])
def test_every_field_as_it_is_documented(stream: bool) -> None:
    assert sent(EVERY_FIELD, stream=stream) == {
        "systemInstruction": {"parts": [{"text": "Be brief."}, {"text": "In English."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "Weather?"}]},
            {
                "role": "model",
                "parts": [{"functionCall": {"id": "call_1", "name": "weather", "args": {"city": "Rome"}}}],
            },
            {
                "role": "user",
                "parts": [
                    {"functionResponse": {"id": "call_1", "name": "weather", "response": {"output": "sunny"}}},
                    {"text": "And this?"},
                    {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
                ],
            },
        ],
        "tools": [
            {
                "functionDeclarations": [
                    {"name": "weather", "description": "The weather", "parametersJsonSchema": SCHEMA},
                    {"name": "now", "description": "The time"},
                ]
            }
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["weather"]}},
        "generationConfig": {
            "temperature": 0.2,
            "topP": 0.9,
            "maxOutputTokens": 50,
            "stopSequences": ["END", "STOP"],
            "seed": 7,
            "candidateCount": 2,
            "presencePenalty": 0.5,
            "frequencyPenalty": -0.5,
            "responseMimeType": "application/json",
            "responseJsonSchema": SCHEMA,
            "thinkingConfig": {"thinkingBudget": 8192, "includeThoughts": True},
        },
    }
    assert dropped(EVERY_FIELD) == ("user", "logprobs", "top_logprobs", "thinking")


def test_what_is_not_said_is_not_sent() -> None:
    assert sent(chat()) == {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
    assert dropped(chat()) == ()


def test_what_has_no_word_here_is_named_once() -> None:
    image = ImagePart(data="aGk=", media_type="image/png", detail="low")
    asked = chat(
        messages=(Message("user", (image,)),),
        tools=(Tool("now", strict=True),),
        reasoning_effort="enormous",
        user="u1",
        extra={"user": "u1"},
        dialect="anthropic",
    )
    assert dropped(asked) == ("user", "image_url.detail", "tools.strict", "reasoning_effort")
    assert "generationConfig" not in sent(asked)


@pytest.mark.parametrize(("effort", "config"), [
    ("none", {"thinkingBudget": 0}),
    ("minimal", {"thinkingBudget": 1024, "includeThoughts": True}),
    ("low", {"thinkingBudget": 1024, "includeThoughts": True}),
    ("medium", {"thinkingBudget": 8192, "includeThoughts": True}),
    ("high", {"thinkingBudget": 24576, "includeThoughts": True}),
])  # fmt: skip
def test_an_effort_is_a_budget_of_thinking(effort: str, config: dict[str, Any]) -> None:
    assert sent(chat(reasoning_effort=effort))["generationConfig"] == {"thinkingConfig": config}


@pytest.mark.parametrize(("choice", "calling"), [
    (ToolChoice("auto"), {"mode": "AUTO"}),
    (ToolChoice("none"), {"mode": "NONE"}),
    (ToolChoice("required", parallel=True), {"mode": "ANY"}),
    (ToolChoice("tool", "now"), {"mode": "ANY", "allowedFunctionNames": ["now"]}),
])  # fmt: skip
def test_the_choice_of_a_tool(choice: ToolChoice, calling: dict[str, Any]) -> None:
    body = sent(chat(tools=(Tool("now"),), tool_choice=choice))
    assert body["toolConfig"] == {"functionCallingConfig": calling}
    assert "toolConfig" not in sent(chat(tool_choice=choice))


def test_the_format_of_the_answer() -> None:
    as_json = {"responseMimeType": "application/json"}
    assert sent(chat(response_format=ResponseFormat("json_object")))["generationConfig"] == as_json
    assert "generationConfig" not in sent(chat(response_format=ResponseFormat("text")))


def test_equal_roles_in_a_row_become_one_and_empty_turns_none() -> None:
    body = sent(
        chat(
            messages=(
                Message("user", (TextPart("a"),)),
                Message("assistant", (ThinkingPart("hm"), TextPart(""))),
                Message("user", (TextPart("b"),)),
                Message("assistant", (TextPart("c"),)),
                Message("assistant", (TextPart("d"),)),
            )
        )
    )
    assert body["contents"] == [
        {"role": "user", "parts": [{"text": "a"}, {"text": "b"}]},
        {"role": "model", "parts": [{"text": "c"}, {"text": "d"}]},
    ]


def test_results_of_two_calls_carry_their_names_and_a_failure_says_so() -> None:
    body = sent(
        chat(
            messages=(
                *HELLO,
                Message("assistant", (WEATHER, ToolUsePart("call_2", "now", ""))),
                Message("tool", (ToolResultPart("call_2", "no clock", is_error=True),)),
                Message("tool", (ToolResultPart("call_1", '{"sky":"blue"}'),)),
            )
        )
    )
    assert body["contents"][1]["parts"][1] == {"functionCall": {"id": "call_2", "name": "now", "args": {}}}
    assert body["contents"][2] == {
        "role": "user",
        "parts": [
            {"functionResponse": {"id": "call_2", "name": "now", "response": {"error": "no clock"}}},
            {"functionResponse": {"id": "call_1", "name": "weather", "response": {"output": '{"sky":"blue"}'}}},
        ],
    }


@pytest.mark.parametrize(("fields", "param"), [
    ({"tool_choice": ToolChoice("auto", parallel=False)}, "parallel_tool_calls"),
    ({"messages": (Message("user", (ImagePart(url="https://x.example/a.png"),)),)}, "messages"),
    ({"messages": (*HELLO, Message("system", (ImagePart(data="aGk=", media_type="image/png"),)))}, "messages"),
    ({"messages": (*HELLO, Message("tool", (ToolResultPart("call_1", "sunny"),)))}, "messages"),
    ({"messages": (*HELLO, Message("tool", (ToolResultPart("call_1", "x"),)), Message("assistant", (WEATHER,)))},
     "messages"),
    ({"messages": (Message("assistant", (ToolUsePart("c", "now", "{"),)),)}, "messages"),
    ({"messages": (Message("assistant", (ToolUsePart("c", "now", "[]"),)),)}, "messages"),
    ({"messages": (Message("system", (TextPart("Be brief."),)),)}, "messages"),
    ({"native_only": ("document",), "dialect": "anthropic"}, "document"),
])  # fmt: skip
def test_what_would_change_the_meaning_is_refused(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(NotSupported) as refused:
        gemini_wire.encode(chat(**fields), stream=False)
    assert refused.value.param == param
    assert refused.value.mend


@pytest.mark.parametrize(
    ("thinking", "effort", "budget", "named"),
    [
        ({"type": "enabled", "budget_tokens": 2048}, "", 2048, ()),
        ({"type": "enabled", "budget_tokens": 2048}, "high", 2048, ()),
        ({"type": "adaptive"}, "medium", 8192, ("thinking",)),
        ({"type": "disabled"}, "", None, ("thinking",)),
        ({"type": "enabled", "budget_tokens": "x"}, "", None, ("thinking",)),
    ],
)
def test_a_budget_of_thinking_in_anthropics_words(
    thinking: dict[str, Any], effort: str, budget: int | None, named: tuple[str, ...]
) -> None:
    asked = chat(dialect="anthropic", extra={"thinking": thinking}, reasoning_effort=effort)
    config = sent(asked).get("generationConfig", {}).get("thinkingConfig")
    assert config == (None if budget is None else {"thinkingBudget": budget, "includeThoughts": True})
    assert dropped(asked) == named
