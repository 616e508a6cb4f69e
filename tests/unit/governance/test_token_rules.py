"""Counts of chats: the examples that OpenAI publishes with its rule, and what it leaves open."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.api.wire import openai
from gateway.governance.token_rules import count_chat
from gateway.models.llm_models import Chat, ImagePart, Message, TextPart, ToolResultPart, ToolUsePart
from gateway.models.tokens import rule_of
from gateway.providers.tokenizers import BpeTokenizers

TOKENIZERS = BpeTokenizers()
JARGON = [
    {
        "role": "system",
        "content": "You are a helpful, pattern-following assistant "
        "that translates corporate jargon into plain English.",
    },
    {"role": "system", "name": "example_user", "content": "New synergies will help drive top-line growth."},
    {
        "role": "system",
        "name": "example_assistant",
        "content": "Things working well together will increase revenue.",
    },
    {
        "role": "system",
        "name": "example_user",
        "content": "Let's circle back when we have more bandwidth to touch base "
        "on opportunities for increased leverage.",
    },
    {
        "role": "system",
        "name": "example_assistant",
        "content": "Let's talk later when we're less busy about how to do better.",
    },
    {
        "role": "user",
        "content": "This late pivot means we don't have time to boil the ocean for the client deliverable.",
    },
]
WEATHER = [
    {
        "role": "system",
        "content": "You are a helpful assistant that can answer to questions about the weather.",
    },
    {"role": "user", "content": "What's the weather like in San Francisco?"},
]
LOCATION = {"type": "string", "description": "The city and state, e.g. San Francisco, CA"}
UNIT = {"type": "string", "description": "The unit of temperature to return", "enum": ["celsius", "fahrenheit"]}
TOOL = {
    "type": "function",
    "function": {
        "name": "get_current_weather",
        "description": "Get the current weather in a given location",
        "parameters": {
            "type": "object",
            "properties": {"location": LOCATION, "unit": UNIT},
            "required": ["location"],
        },
    },
}


def counted(model: str, **body: Any) -> tuple[int, bool]:
    return counted_chat(model, openai.decode({"model": model, **body}).chat)


def counted_chat(model: str, chat: Chat) -> tuple[int, bool]:
    rule = rule_of("openai", model)
    assert rule is not None
    return count_chat(chat, rule, TOKENIZERS.counter(rule.encoding))


@pytest.mark.parametrize(
    ("model", "messages", "with_tool"),
    [("gpt-3.5-turbo", 129, 105), ("gpt-4", 129, 105), ("gpt-4-0613", 129, 105), ("gpt-4o", 124, 101),
     ("gpt-4o-mini", 124, 101)],
)  # fmt: skip
def test_the_published_examples(model: str, messages: int, with_tool: int) -> None:
    """What OpenAI's cookbook counts, and what its API answered to the same."""
    assert counted(model, messages=JARGON) == (messages, True)
    assert counted(model, messages=WEATHER, tools=[TOOL]) == (with_tool, True)


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        ("gpt-5", {"messages": WEATHER}),
        ("gpt-4o-audio-preview", {"messages": WEATHER}),
        ("gpt-4o", {"messages": WEATHER, "tools": [TOOL], "tool_choice": "required"}),
        ("gpt-4o", {"messages": WEATHER, "response_format": {"type": "json_object"}}),
        ("gpt-4o", {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}] * 2}]}),
    ],
)
def test_what_the_rule_does_not_speak_of_is_not_called_exact(model: str, fields: dict[str, Any]) -> None:
    tokens, exact = counted(model, **fields)
    assert tokens > 3
    assert not exact


def test_nested_tools_calls_and_pictures_are_counted_by_their_text() -> None:
    nested = {"type": "object", "properties": {"a": {"type": "object", "properties": {}, "description": "d"}}}
    tool = {"type": "function", "function": {"name": "f", "parameters": nested}}
    plain, _ = counted("gpt-4o", messages=WEATHER)
    tokens, exact = counted("gpt-4o", messages=WEATHER, tools=[tool])
    assert tokens > plain
    assert not exact
    turns = (
        Message("user", (TextPart("Look"), ImagePart(data="x", media_type="image/png"))),
        Message("assistant", (ToolUsePart("1", "look", '{"where": "there"}'),)),
        Message("tool", (ToolResultPart("1", "nothing " * 50),)),
    )
    with_all, exact = counted_chat("gpt-4o", Chat("gpt-4o", turns))
    assert with_all > 765 + 50
    assert not exact


@pytest.mark.parametrize(
    ("provider_type", "model", "encoding"),
    [("openai", "gpt-4-turbo", "cl100k_base"), ("openai", "gpt-4.1-mini", "o200k_base"),
     ("azure_openai", "gpt-35-turbo", "cl100k_base"), ("openai", "ft:gpt-4o-2024-08-06:us::x", "o200k_base"),
     ("openai", "o3-mini", "o200k_base"), ("openai", "gpt-5.1", "o200k_base"),
     ("openai", "gpt-42", None), ("openai", "gpt-4x", None), ("openai_compatible", "gpt-4", None),
     ("anthropic", "claude-3", None)],
)  # fmt: skip
def test_which_table_a_model_has(provider_type: str, model: str, encoding: str | None) -> None:
    rule = rule_of(provider_type, model)
    assert (None if rule is None else rule.encoding) == encoding
