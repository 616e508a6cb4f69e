"""A field of another kind than it should be is named at the door, before any provider is asked."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures.house import House
from fixtures.upstream import answer, openai_answer

USER = {"role": "user", "content": "Hello"}
CALLED = {"id": "c", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}


def function(**fields: Any) -> dict[str, Any]:
    return {"tools": [{"type": "function", "function": {"name": "f", **fields}}]}


def form(**fields: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "a", **fields}}}


def said(role: str, *blocks: Any) -> dict[str, Any]:
    return {"messages": [USER, {"role": role, "content": list(blocks)}]}


@pytest.mark.parametrize("model", ["gpt-4", "claude-3-sonnet"])
@pytest.mark.parametrize(
    ("asked", "param"),
    [
        (function(description=5), "tools[0].function.description"),
        (function(parameters="x"), "tools[0].function.parameters"),
        (function(strict="x"), "tools[0].function.strict"),
        ({"tools": [{"type": "x", "function": {"name": "f"}}]}, "tools[0].type"),
        ({**function(), "parallel_tool_calls": "x"}, "parallel_tool_calls"),
        (form(schema="x"), "response_format.json_schema.schema"),
        (form(name=5), "response_format.json_schema.name"),
        ({"messages": [USER, {"role": "assistant", "tool_calls": {"a": 1}}]}, "messages[1].tool_calls"),
        (
            {"messages": [USER, {"role": "assistant", "tool_calls": [CALLED]}]},
            "messages[1].tool_calls[0].function.arguments",
        ),
    ],
)
def test_openais(house: House, model: str, asked: dict[str, Any], param: str) -> None:
    house.upstream.play(answer(openai_answer()))
    found = house.ask("POST", "/v1/chat/completions", {"model": model, "messages": [USER], **asked})
    assert (found.status, found.body["error"]["param"]) == (400, param)
    assert house.upstream.sent == []


@pytest.mark.parametrize("model", ["gpt-4", "claude-3-sonnet"])
@pytest.mark.parametrize(
    ("asked", "place"),
    [
        ({"tools": [{"name": "f", "input_schema": "x"}]}, "tools[0].input_schema"),
        ({"tools": [{"name": "f", "description": 5}]}, "tools[0].description"),
        ({"metadata": "x"}, "metadata"),
        ({"metadata": {"user_id": 5}}, "metadata.user_id"),
        ({"thinking": "x"}, "thinking"),
        ({"output_config": {"effort": 5}}, "output_config.effort"),
        (said("user", {"type": "image", "source": {"type": "base64"}}), "messages[1].content[0].source.data"),
        (said("user", {"type": "image", "source": {"type": "url", "url": 5}}), "messages[1].content[0].source.url"),
        (said("assistant", {"type": "tool_use", "id": "t", "name": "f", "input": "x"}), "messages[1].content[0].input"),
    ],
)
def test_anthropics(house: House, model: str, asked: dict[str, Any], place: str) -> None:
    house.upstream.play(answer(openai_answer()))
    found = house.ask("POST", "/v1/messages", {"model": model, "max_tokens": 9, "messages": [USER], **asked})
    assert found.status == 400, found.body
    assert found.body["error"]["message"].startswith(f"{place}: ")
    assert house.upstream.sent == []
