"""Turns that another provider's model answered, sent back: what only it understands is named, not lost, and does not
break the next provider."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fixtures.house import House
from fixtures.upstream import answer, anthropic_answer, openai_answer

USER = {"role": "user", "content": "Hello"}
THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": ""}
SIGNED = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
SAID = {"type": "text", "text": "Yes."}


@pytest.mark.parametrize(
    ("turns", "sent", "named"),
    [
        ([USER, {"role": "assistant", "content": [THOUGHT, SAID]}, USER], [[SAID]], "thinking"),
        ([USER, {"role": "assistant", "content": [THOUGHT]}, USER], [], "thinking"),
        ([USER, {"role": "assistant", "content": [SIGNED, SAID]}, USER], [[SIGNED, SAID]], None),
    ],
)
def test_thinking_that_nobody_signed_does_not_go_to_anthropic(
    house: House, turns: list[Any], sent: list[Any], named: str | None
) -> None:
    house.upstream.play(answer(anthropic_answer()))
    body = {"model": "claude-3-sonnet", "max_tokens": 9, "messages": turns}
    found = house.ask("POST", "/v1/messages", body)
    assert found.status == 200, found.body
    assert found.headers.get("x-gateway-dropped-params") == named
    told = house.upstream.sent[0].body["messages"]
    assert [turn["content"] for turn in told if turn["role"] == "assistant"] == sent
    strict = house.ask("POST", "/v1/messages", body, headers={"x-gateway-strict": "true"})
    assert strict.status == (400 if named else 200)


def test_fields_of_turns_are_named_and_refusals_are_said(house: House) -> None:
    turns = [
        USER,
        {"role": "assistant", "content": "Yes.", "reasoning_content": "Hm.", "annotations": [], "audio": None},
        {**USER, "name": "Ada"},
        {"role": "assistant", "content": None, "refusal": "I cannot."},
        USER,
    ]
    house.upstream.play(answer(anthropic_answer()))
    found = house.ask("POST", "/v1/chat/completions", {"model": "claude-3-sonnet", "messages": turns})
    named = found.headers["x-gateway-dropped-params"].split(",")
    assert [name.strip() for name in named] == ["messages.annotations", "messages.name", "messages.reasoning_content"]
    assert "I cannot." in json.dumps(house.upstream.sent[0].body["messages"])
    house.upstream.play(answer(openai_answer()))
    found = house.ask("POST", "/v1/chat/completions", {"model": "gpt-4", "messages": turns})
    assert "x-gateway-dropped-params" not in found.headers
    assert house.upstream.sent[-1].body["messages"] == turns
    heard = [USER, {"role": "assistant", "audio": {"id": "a"}}, USER]
    refused = house.ask("POST", "/v1/chat/completions", {"model": "claude-3-sonnet", "messages": heard})
    assert (refused.status, refused.body["error"]["param"]) == (400, "messages.audio")
