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


def test_what_only_anthropic_knows_goes_there_and_nowhere_else(house: House) -> None:
    document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "A fact."}}
    cited = {"type": "text", "text": "A fact.", "citations": [{"type": "char_location", "cited_text": "A fact."}]}
    content = [document | {"citations": {"enabled": True}}, {"type": "text", "text": "Which?"}]
    asked = {
        **HELLO,
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        "messages": [{"role": "user", "content": content}],
        "tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 1}],
    }
    house.upstream.play(answer(anthropic_answer(content=[cited])))
    found = house.ask("POST", PATH, asked)
    assert found.body["content"] == [cited]
    sent = house.upstream.sent[0].body
    assert {name: sent[name] for name in asked if name != "model"} == {k: v for k, v in asked.items() if k != "model"}
    refused = house.ask("POST", PATH, {**asked, "model": "gpt-4"})
    assert refused.status == 400
    assert "web_search_20250305" in refused.body["error"]["message"]
    house.upstream.play(answer(openai_answer()))
    hint = {**HELLO, "model": "gpt-4", "system": asked["system"]}
    assert house.ask("POST", PATH, hint).headers["x-gateway-dropped-params"] == "cache_control"


def test_an_answer_held_to_a_schema(house: House) -> None:
    """Asked by OpenAI's field, answered by Anthropic's forced tool: text again at the door."""
    schema = {"type": "object", "properties": {"risk": {"type": "string"}}, "required": ["risk"]}
    use = {"type": "tool_use", "id": "toolu_1", "name": "json_answer", "input": {"risk": "low"}}
    house.upstream.play(answer(anthropic_answer(content=[use], stop_reason="tool_use")))
    form = {"type": "json_schema", "json_schema": {"name": "risk", "schema": schema, "strict": True}}
    body = {"model": "claude-3-sonnet", "messages": HELLO["messages"], "response_format": form}
    found = house.ask("POST", "/v1/chat/completions", body)
    assert json.loads(found.body["choices"][0]["message"]["content"]) == {"risk": "low"}
    assert found.body["choices"][0]["finish_reason"] == "stop"
    assert house.upstream.sent[0].body["tool_choice"] == {"type": "tool", "name": "json_answer"}
    start, piece = (
        {"type": "content_block_start", "index": 0, "content_block": {**use, "input": {}}},
        "input_json_delta",
    )
    pieces = [{"type": "content_block_delta", "index": 0, "delta": {"type": piece, "partial_json": '{"risk":"low"}'}}]
    end = {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 3}}
    begun = anthropic_events(end=False)[0]
    house.upstream.play(events(begun, start, *pieces, end, {"type": "message_stop"}, named=True))
    streamed = house.ask("POST", "/v1/chat/completions", {**body, "stream": True}).raw.decode()
    assert '"content":"{\\"risk\\":\\"low\\"}"' in streamed
    assert '"finish_reason":"stop"' in streamed


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


def test_a_thread_is_refused_in_the_words_that_let_the_sdk_go_on(house: House) -> None:
    found = house.ask("POST", PATH, {**HELLO, "thread": {"type": "create"}})
    assert (found.status, found.body["error"]["type"]) == (400, "invalid_request_error")
    assert found.body["error"]["details"] == {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}
    house.upstream.play(answer(anthropic_answer()))
    assert house.ask("POST", PATH, {**HELLO, "thread": None}).status == 200


@pytest.mark.parametrize(
    ("change", "status", "kind"),
    [
        ({"max_tokens": None}, 400, "invalid_request_error"),
        ({"messages": []}, 400, "invalid_request_error"),
        ({"messages": [{"role": "tool", "content": "x"}]}, 400, "invalid_request_error"),
        ({"fallbacks": [{"model": "claude-opus-4-1"}]}, 400, "invalid_request_error"),
        ({"model": "claude-9"}, 404, "not_found_error"),
        ({"stream": 1}, 400, "invalid_request_error"),
    ],
)
def test_a_refusal_in_anthropics_words(house: House, change: dict[str, Any], status: int, kind: str) -> None:
    house.upstream.play(answer(anthropic_answer()))
    found = house.ask("POST", PATH, {**HELLO, **change})
    assert found.body["type"] == "error", found.body
    assert found.body["error"]["type"] == kind
    assert found.status == status
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
