"""``/v1/messages``: Anthropic's dialect in and out, whichever provider answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fixtures.house import ROOT_KEY, Answer, House
from fixtures.upstream import answer, anthropic_answer, anthropic_events, events, openai_answer, openai_chunks

PATH = "/v1/messages"
HELLO: dict[str, Any] = {
    "model": "claude-3-sonnet",
    "max_tokens": 50,
    "messages": [{"role": "user", "content": "Hello"}],
}


def told(found: Answer) -> list[dict[str, Any]]:
    """The events; each is named as its data says."""
    items = []
    for block in found.raw.decode().strip().split("\n\n"):
        name, data = block.split("\n")
        items.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {items[-1]['type']}"
    return items


def test_an_answer_in_anthropics_words(house: House) -> None:
    house.upstream.play(answer(anthropic_answer("Hi")))
    body = {**HELLO, "system": "Be brief.", "top_k": 5, "metadata": {"user_id": "u"}, "stop_sequences": ["X"]}
    found = house.ask("POST", PATH, body, key=None, headers={"x-api-key": ROOT_KEY, "anthropic-version": "2023-06-01"})
    assert found.status == 200, found.body
    assert found.body["type"] == "message"
    assert found.body["role"] == "assistant"
    assert found.body["content"] == [{"type": "text", "text": "Hi"}]
    assert found.body["stop_reason"] == "end_turn"
    assert found.body["usage"]["input_tokens"] == 7
    assert found.body["usage"]["cache_read_input_tokens"] == 2
    assert found.body["usage"]["output_tokens"] == 3
    assert found.headers["request-id"] == found.headers["x-request-id"]
    sent = house.upstream.sent[0].body
    assert (sent["system"], sent["top_k"], sent["stop_sequences"]) == ("Be brief.", 5, ["X"])
    assert sent["metadata"] == {"user_id": "u"}


def test_events_in_their_order(house: House) -> None:
    house.upstream.play(events(*anthropic_events("Hel", "lo"), named=True))
    items = told(house.ask("POST", PATH, {**HELLO, "stream": True}))
    assert [item["type"] for item in items if item["type"] != "ping"] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    texts = [item["delta"]["text"] for item in items if item["type"] == "content_block_delta"]
    assert "".join(texts) == "Hello"
    (delta,) = [item for item in items if item["type"] == "message_delta"]
    assert delta["delta"]["stop_reason"] == "end_turn"
    assert delta["usage"]["output_tokens"] == 3


def test_an_openai_model_by_the_anthropic_door(house: House) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "price", "arguments": '{"asset":"JPM"}'}}
    message = {"role": "assistant", "content": "Let me see.", "tool_calls": [call]}
    given = openai_answer(choices=[{"index": 0, "message": message, "finish_reason": "tool_calls"}])
    house.upstream.play(answer(given))
    tools = [{"name": "price", "input_schema": {"type": "object"}}]
    found = house.ask("POST", PATH, {**HELLO, "model": "gpt-4", "tools": tools, "tool_choice": {"type": "any"}})
    assert found.body["content"] == [
        {"type": "text", "text": "Let me see."},
        {"type": "tool_use", "id": "call_1", "name": "price", "input": {"asset": "JPM"}},
    ]
    assert found.body["stop_reason"] == "tool_use"
    assert found.body["usage"]["input_tokens"] == 7, "cached tokens stand beside, as Anthropic counts"
    sent = house.upstream.sent[0].body
    assert sent["tool_choice"] == "required"
    result = {"type": "tool_result", "tool_use_id": "call_1", "content": [{"type": "text", "text": "120"}]}
    turns = [*HELLO["messages"], {"role": "assistant", "content": found.body["content"]}]
    house.upstream.play(answer(openai_answer("120.")))
    body = {**HELLO, "model": "gpt-4", "messages": [*turns, {"role": "user", "content": [result]}]}
    assert house.ask("POST", PATH, body).status == 200
    roles = [turn["role"] for turn in house.upstream.sent[0].body["messages"]]
    assert roles == ["user", "assistant", "tool"]


def test_an_openai_stream_by_the_anthropic_door(house: House) -> None:
    house.upstream.play(events(*openai_chunks("Hel", "lo")))
    items = told(house.ask("POST", PATH, {**HELLO, "model": "gpt-4", "stream": True}))
    assert items[0]["type"] == "message_start"
    assert items[-1]["type"] == "message_stop"
    texts = [item["delta"]["text"] for item in items if item["type"] == "content_block_delta"]
    assert "".join(texts) == "Hello"


@pytest.mark.parametrize(
    ("change", "status", "kind"),
    [
        ({"max_tokens": None}, 400, "invalid_request_error"),
        ({"messages": []}, 400, "invalid_request_error"),
        ({"messages": [{"role": "system", "content": "x"}]}, 400, "invalid_request_error"),
        ({"model": "claude-9"}, 404, "not_found_error"),
        ({"stream": 1}, 400, "invalid_request_error"),
    ],
)
def test_a_refusal_in_anthropics_words(house: House, change: dict[str, Any], status: int, kind: str) -> None:
    house.upstream.play(answer(anthropic_answer()))
    found = house.ask("POST", PATH, {**HELLO, **change})
    assert found.body["type"] == "error", found.body
    assert found.body["error"]["type"] == kind
    assert found.status in (status, 422)
    assert found.body["request_id"] == found.headers["x-request-id"]
    assert house.upstream.sent == []


def test_a_stream_that_breaks_ends_with_an_error_event(house: House) -> None:
    house.upstream.play(events(*anthropic_events("Hel", end=False), named=True))
    items = told(house.ask("POST", PATH, {**HELLO, "stream": True}))
    assert items[-1]["type"] == "error"
    assert "message_stop" not in [item["type"] for item in items]


def test_overload_is_told_so_that_an_sdk_waits(house: House) -> None:
    house.upstream.play(answer({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, 529))
    found = house.ask("POST", PATH, HELLO)
    assert found.status in (503, 529)
    assert found.body["error"]["type"] == "overloaded_error"
