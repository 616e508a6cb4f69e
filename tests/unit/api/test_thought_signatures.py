"""Gemini signs its tool calls and wants the signatures back: through every door, to every backend."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.house import Answer, House
from fixtures.upstream import Play, answer, anthropic_answer, openai_answer
from gateway.api.wire import openai
from gateway.governance.chat_texts import texts_of, walk_chat
from gateway.models.call_signatures import signed_id, split_id
from gateway.models.llm_models import ToolUsePart

#: As long and as odd as base64 may be.
SIGNATURE = "Cu/8+" + "ab12" * 300 + "Q=="
TURN = {
    "candidates": [
        {
            "content": {
                "role": "model",
                "parts": [
                    {
                        "functionCall": {"name": "weather", "args": {"city": "Rome"}},
                        "thoughtSignature": SIGNATURE,
                    },
                    {"functionCall": {"name": "weather", "args": {"city": "Oslo"}}},
                ],
            },
            "finishReason": "STOP",
            "index": 0,
        }
    ],
    "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 7},
    "responseId": "r1",
    "modelVersion": "gemini-3-pro-preview",
}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
FUNCTION = {"name": "weather", "parameters": SCHEMA}
QUESTION = {"role": "user", "content": "Rome and Oslo?"}


def asked(house: House, path: str, body: dict[str, Any], *, stream: bool) -> Answer:
    """The answer of Gemini by that door."""
    streamed = Play(200, [f"data: {json.dumps(TURN)}\r\n\r\n".encode()], {"content-type": "text/event-stream"})
    house.upstream.play(streamed if stream else answer(TURN))
    found = house.ask("POST", path, {**body, "stream": stream})
    assert found.status == 200, found.raw
    return found


def events(raw: bytes) -> list[dict[str, Any]]:
    lines = [line[6:] for line in raw.decode().splitlines() if line.startswith("data: ") and line != "data: [DONE]"]
    return [json.loads(line) for line in lines]


def by_openai(house: House, *, stream: bool) -> list[dict[str, Any]]:
    """The turns that a client of the OpenAI door sends next."""
    body = {"model": "t-gemini", "messages": [QUESTION], "tools": [{"type": "function", "function": FUNCTION}]}
    found = asked(house, "/v1/chat/completions", body, stream=stream)
    if stream:
        deltas = [chunk["choices"][0]["delta"] for chunk in events(found.raw) if chunk["choices"]]
        calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
        assert [call.pop("index") for call in calls] == [0, 1]
    else:
        calls = found.body["choices"][0]["message"]["tool_calls"]
    assert calls[0]["extra_content"] == {"google": {"thought_signature": SIGNATURE}}
    assert "extra_content" not in calls[1]
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "sunny"} for call in calls]
    return [QUESTION, {"role": "assistant", "tool_calls": calls}, *results]


def by_anthropic(house: House, *, stream: bool) -> list[dict[str, Any]]:
    tools = [{"name": "weather", "input_schema": SCHEMA}]
    body = {"model": "t-gemini", "max_tokens": 99, "messages": [QUESTION], "tools": tools}
    found = asked(house, "/v1/messages", body, stream=stream)
    blocks: list[dict[str, Any]] = []
    for event in events(found.raw) if stream else ():
        assert event.get("delta", {}).get("type") != "signature_delta", "it is no signature over a thought"
        if event["type"] == "content_block_start":
            blocks.append(event["content_block"])
        elif event["type"] == "content_block_delta":
            blocks[-1]["input"] = json.loads(event["delta"]["partial_json"])
    blocks = blocks or found.body["content"]
    results = [{"type": "tool_result", "tool_use_id": block["id"], "content": "sunny"} for block in blocks]
    return [QUESTION, {"role": "assistant", "content": blocks}, {"role": "user", "content": results}]


def sent_parts(house: House) -> list[dict[str, Any]]:
    (sent,) = house.upstream.sent
    return [part for turn in sent.body["contents"] for part in turn["parts"] if "text" not in part]


def check_given_back(house: House) -> None:
    first, second, *results = sent_parts(house)
    assert first["thoughtSignature"] == SIGNATURE
    assert "thoughtSignature" not in second
    ids = [part["functionCall"]["id"] for part in (first, second)]
    assert ids == ["call_r1_0_0", "call_r1_0_1"]
    assert [part["functionResponse"]["id"] for part in results] == ids


@pytest.mark.parametrize("stream", [False, True])
def test_through_the_door_of_openai(house: House, stream: bool) -> None:
    turns = by_openai(house, stream=stream)
    house.upstream.play(answer(TURN))
    found = house.ask("POST", "/v1/chat/completions", {"model": "t-gemini", "messages": turns})
    assert "x-gateway-dropped-params" not in found.headers
    check_given_back(house)


@pytest.mark.parametrize("stream", [False, True])
def test_through_the_door_of_anthropic(house: House, stream: bool) -> None:
    turns = by_anthropic(house, stream=stream)
    house.upstream.play(answer(TURN))
    found = house.ask("POST", "/v1/messages", {"model": "t-gemini", "max_tokens": 99, "messages": turns})
    assert "x-gateway-dropped-params" not in found.headers
    check_given_back(house)


@pytest.mark.parametrize("stream", [False, True])
def test_through_the_door_of_responses(house: House, stream: bool) -> None:
    tools = [{"type": "function", "strict": False, **FUNCTION}]
    body = {"model": "t-gemini", "input": [QUESTION], "tools": tools}
    found = asked(house, "/v1/responses", body, stream=stream)
    response = events(found.raw)[-1]["response"] if stream else found.body
    calls = response["output"]
    results = [{"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"} for call in calls]
    house.upstream.play(answer(TURN))
    again = house.ask("POST", "/v1/responses", {**body, "input": [QUESTION, *calls, *results]})
    assert again.status == 200, again.raw
    check_given_back(house)


def test_other_providers_get_none_and_the_caller_is_told(house: House) -> None:
    tools = [{"type": "function", "function": FUNCTION}]
    by_chat = {"messages": by_openai(house, stream=False), "tools": tools}
    by_message = {
        "messages": by_anthropic(house, stream=False),
        "max_tokens": 99,
        "tools": [{"name": "weather", "input_schema": SCHEMA}],
    }
    for path, body in (("/v1/chat/completions", by_chat), ("/v1/messages", by_message)):
        for model, play in (
            ("gpt-4o", answer(openai_answer())),
            ("claude-3-haiku", answer(anthropic_answer())),
            ("t-bedrock", answer({"output": {"message": {"content": [{"text": "Hi"}]}}, "stopReason": "end_turn"})),
        ):
            house.upstream.play(play)
            found = house.ask("POST", path, {**body, "model": model})
            assert found.status == 200, found.raw
            assert "thought_signature" in found.headers["x-gateway-dropped-params"].split(",")
            (sent,) = house.upstream.sent
            told = sent.raw.decode()
            assert "call_r1_0_0" in told
            for word in (SIGNATURE, "extra_content", "__thought__", signed_id("", SIGNATURE) or "thoughtSignature"):
                assert word not in told
        house.upstream.play(answer(openai_answer()))
        strict = house.ask("POST", path, {**body, "model": "gpt-4o"}, headers={"x-gateway-strict": "true"})
        assert strict.status == 400
        assert house.upstream.sent == []


def test_a_row_of_openais_dialect_carries_them(house: House) -> None:
    """Google's own layer of OpenAI's dialect, and gateways before it, know the field."""
    for path, turns in (
        ("/v1/chat/completions", by_openai(house, stream=False)),
        ("/v1/messages", by_anthropic(house, stream=False)),
    ):
        call = {
            "id": "c9",
            "type": "function",
            "function": {"name": "weather", "arguments": "{}"},
            "extra_content": {"google": {"thought_signature": "c2ln"}},
        }
        message = {"index": 0, "message": {"role": "assistant", "tool_calls": [call]}, "finish_reason": "tool_calls"}
        house.upstream.play(answer(openai_answer(choices=[message])))
        found = house.ask("POST", path, {"model": "t-mistral", "max_tokens": 99, "messages": turns})
        assert "x-gateway-dropped-params" not in found.headers
        (sent,) = house.upstream.sent
        calls = next(turn["tool_calls"] for turn in sent.body["messages"] if turn.get("tool_calls"))
        assert calls[0]["extra_content"] == {"google": {"thought_signature": SIGNATURE}}
        if path == "/v1/messages":
            assert split_id(found.body["content"][0]["id"]) == ("c9", "c2ln")
        else:
            assert found.body["choices"][0]["message"]["tool_calls"] == [call]


def test_no_guard_reads_or_changes_a_signature(house: House) -> None:
    """A number that base64 happens to hold is nobody's card."""
    card = "4111111111111111"
    turns = by_openai(house, stream=False)
    turns[1]["tool_calls"][0]["extra_content"]["google"]["thought_signature"] = card
    chat = openai.decode({"model": "t-mistral", "messages": turns}).chat
    assert card not in [found.text.text for found in texts_of(chat)]
    changed = walk_chat(chat, lambda *_given: "[REDACTED]")
    call = next(part for turn in changed.messages for part in turn.parts if isinstance(part, ToolUsePart))
    assert call.signature == card
    assert changed.native is not None
    assert changed.native["messages"][1]["tool_calls"][0]["extra_content"]["google"]["thought_signature"] == card


@given(st.text(min_size=1), st.text())
def test_an_id_gives_back_what_it_was_given(call_id: str, signature: str) -> None:
    assert split_id(signed_id(call_id, signature)) == ((call_id, signature) if signature else split_id(call_id))


@pytest.mark.parametrize(
    "call_id", ["call_1", "", "__thought__", "a__thought__", "__thought__YQ", "a__thought__!", "ä"]
)
def test_an_id_without_a_signature_is_left_as_it_is(call_id: str) -> None:
    assert split_id(call_id) == (call_id, "")
