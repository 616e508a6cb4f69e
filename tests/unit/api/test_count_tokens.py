"""Tokens counted by Bedrock and OpenAI themselves: asked as their references say, estimated where they refuse."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures.house import Answer, House
from fixtures.upstream import answer

PATH = "/v1/messages/count_tokens"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
BODY: dict[str, Any] = {
    "system": "Be brief.",
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "Weather?"}, IMAGE]},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "I will ask."},
                {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Rome"}},
            ],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "sunny"}]},
    ],
    "tools": [{"name": "weather", "description": "The weather", "input_schema": SCHEMA}],
    "tool_choice": {"type": "tool", "name": "weather"},
}


def count(house: House, model: str, **fields: Any) -> Answer:
    return house.ask("POST", PATH, {**BODY, "model": model, **fields})


def basis(found: Answer) -> str:
    assert found.status == 200, found.body
    assert found.body["input_tokens"] > 0
    return found.headers["x-gateway-count"]


def test_bedrock_counts_what_converse_would_be_sent(house: House) -> None:
    house.upstream.play(answer({"inputTokens": 41}))
    found = count(house, "t-bedrock")
    assert (found.body, found.headers["x-gateway-count"]) == ({"input_tokens": 41}, "provider")
    (sent,) = house.upstream.sent
    assert sent.raw_path == "/bedrock/model/anthropic.claude-3-haiku-20240307-v1%3A0/count-tokens"
    assert sent.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert sent.body == {
        "input": {
            "converse": {
                "system": [{"text": "Be brief."}],
                "messages": [
                    {
                        "role": "user",
                        "content": [{"text": "Weather?"}, {"image": {"format": "png", "source": {"bytes": "aGk="}}}],
                    },
                    {
                        "role": "assistant",
                        "content": [
                            {"text": "I will ask."},
                            {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {"city": "Rome"}}},
                        ],
                    },
                    {"role": "user", "content": [{"toolResult": {"toolUseId": "t1", "content": [{"text": "sunny"}]}}]},
                ],
                "toolConfig": {
                    "tools": [
                        {
                            "toolSpec": {
                                "name": "weather",
                                "description": "The weather",
                                "inputSchema": {"json": SCHEMA},
                            }
                        }
                    ],
                    "toolChoice": {"tool": {"name": "weather"}},
                },
            }
        }
    }


def test_a_profile_over_regions_is_counted_as_its_model(house: House) -> None:
    house.upstream.play(answer({"inputTokens": 41}))
    assert basis(count(house, "t-bedrock-native")) == "provider"
    assert house.upstream.sent[0].raw_path == "/bedrock/model/anthropic.claude-haiku-4-5-20251001-v1%3A0/count-tokens"


def test_what_bedrock_has_no_counter_for_is_not_asked(house: House) -> None:
    house.upstream.play(answer({"inputTokens": 41}))
    form = {"format": {"type": "json_schema", "schema": SCHEMA}}
    assert basis(count(house, "t-bedrock-native", output_config=form)) == "estimated"
    assert house.upstream.sent == []


@pytest.mark.parametrize(
    ("status", "message"),
    [(400, "The provided model doesn't support counting tokens."), (403, "not authorized to perform CountTokens")],
)
def test_a_refusal_to_count_is_an_estimate(house: House, status: int, message: str) -> None:
    house.upstream.play(answer({"message": message}, status=status))
    assert basis(count(house, "t-bedrock")) == "estimated"
    assert len(house.upstream.sent) == 1


def test_what_goes_wrong_there_is_told(house: House) -> None:
    house.upstream.play(answer({"tokens": 41}))
    assert count(house, "t-bedrock").status == 502
    house.upstream.play(answer({"message": "Too many requests"}, status=429))
    assert count(house, "t-bedrock").status == 429


def test_openai_counts_what_the_table_does_not_know_exactly(house: House) -> None:
    house.upstream.play(answer({"object": "response.input_tokens", "input_tokens": 117}))
    found = count(house, "gpt-4o")
    assert (found.body, found.headers["x-gateway-count"]) == ({"input_tokens": 117}, "provider")
    (sent,) = house.upstream.sent
    assert sent.path == "/v1/responses/input_tokens"
    assert sent.headers["authorization"].startswith("Bearer ")
    assert sent.body == {
        "model": "gpt-4o",
        "input": [
            {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "Be brief."}]},
            {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "Weather?"},
                    {"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "auto"},
                ],
            },
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I will ask."}]},
            {"type": "function_call", "call_id": "t1", "name": "weather", "arguments": '{"city":"Rome"}'},
            {"type": "function_call_output", "call_id": "t1", "output": "sunny"},
        ],
        "tools": [
            {
                "type": "function",
                "name": "weather",
                "description": "The weather",
                "parameters": SCHEMA,
                "strict": False,
            }
        ],
        "tool_choice": {"type": "function", "name": "weather"},
    }


def test_openai_counts_the_schema_of_an_answer_too(house: House) -> None:
    house.upstream.play(answer({"object": "response.input_tokens", "input_tokens": 30}))
    form = {"format": {"type": "json_schema", "schema": SCHEMA}}
    plain = [{"role": "user", "content": "Hi"}]
    body = {"model": "gpt-4o", "messages": plain, "output_config": form}
    assert house.ask("POST", PATH, body).body == {"input_tokens": 30}
    assert house.upstream.sent[0].body["text"] == {
        "format": {"type": "json_schema", "name": "answer", "schema": SCHEMA, "strict": True}
    }
    exact = house.ask("POST", PATH, {"model": "gpt-4o", "messages": plain})
    assert basis(exact) == "counted"
    assert len(house.upstream.sent) == 1, "what is known exactly is asked of nobody"


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
def test_without_openai_the_table_estimates(house: House, status: int) -> None:
    house.upstream.play(answer({"error": {"message": "no"}}, status=status))
    assert basis(count(house, "gpt-4o")) == "estimated"


def test_what_openai_has_no_words_for_is_estimated_unasked(house: House) -> None:
    document = {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}}
    messages = [{"role": "user", "content": [document, {"type": "text", "text": "Which?"}]}]
    house.upstream.play(answer({"object": "response.input_tokens", "input_tokens": 30}))
    assert basis(house.ask("POST", PATH, {"model": "gpt-4o", "messages": messages})) == "estimated"
    assert house.upstream.sent == []
