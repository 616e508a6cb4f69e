"""Every door to every backend: Azure, Gemini, Bedrock and rows of OpenAI's dialect, over real HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fixtures.aws import converse_events, event, exception
from fixtures.house import Answer, House
from fixtures.upstream import Play, answer, anthropic_answer, events, openai_answer, openai_chunks

OPENAI, ANTHROPIC, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
#: How a whole answer says at each door that it came to its end.
_ENDS = {OPENAI: "stop", ANTHROPIC: "end_turn", RESPONSES: "completed"}
GEMINI: dict[str, Any] = {
    "candidates": [{"content": {"role": "model", "parts": [{"text": "Hello."}]}, "finishReason": "STOP", "index": 0}],
    "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 3, "totalTokenCount": 10},
    "modelVersion": "gemini-2.5-flash",
    "responseId": "r1",
}
CONVERSE = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Hello."}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 7, "outputTokens": 3, "totalTokens": 10},
}


def gemini_chunks(*texts: str) -> Play:
    pieces: list[dict[str, Any]] = [
        {"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}]} for text in texts
    ]
    pieces[-1]["candidates"][0]["finishReason"] = "STOP"
    pieces[-1]["usageMetadata"] = GEMINI["usageMetadata"]
    return events(*pieces, done=False)


def bedrock_stream(*chunks: bytes) -> Play:
    return Play(200, chunks, {"content-type": "application/vnd.amazon.eventstream"})


def ask(house: House, door: str, model: str, **fields: Any) -> Answer:
    body = {"model": model, "max_tokens": 20, "messages": [{"role": "user", "content": "Hello"}], **fields}
    return house.ask("POST", door, body)


def text(found: Answer) -> str:
    """The text of an answer of any door."""
    if "choices" in found.body:
        return str(found.body["choices"][0]["message"]["content"])
    if "output" in found.body:
        return "".join(block["text"] for item in found.body["output"] for block in item["content"])
    return "".join(block["text"] for block in found.body["content"])


def streamed(found: Answer) -> str:
    """The text of a stream of any door."""
    told = [json.loads(line[6:]) for line in found.raw.decode().splitlines() if line.startswith("data: {")]
    assert not any("error" in item for item in told), told
    pieces = [choice["delta"].get("content") or "" for item in told for choice in item.get("choices", ())]
    pieces += [item["delta"].get("text", "") for item in told if item.get("type") == _PIECE]
    return "".join([*pieces, *(item["delta"] for item in told if item.get("type") == "response.output_text.delta")])


def ended(body: dict[str, Any]) -> str:
    """How an answer of any door says that it ended."""
    return str(body["choices"][0]["finish_reason"] if "choices" in body else body.get("stop_reason") or body["status"])


_PIECE = "content_block_delta"


@pytest.mark.parametrize("door", [OPENAI, ANTHROPIC])
@pytest.mark.parametrize(
    ("model", "whole", "pieces"),
    [
        ("gpt-4", answer(openai_answer()), events(*openai_chunks("Hel", "lo."))),
        ("t-azure", answer(openai_answer()), events(*openai_chunks("Hel", "lo."))),
        ("t-mistral", answer(openai_answer()), events(*openai_chunks("Hel", "lo."))),
        ("t-gemini", answer(GEMINI), gemini_chunks("Hel", "lo.")),
        ("t-bedrock", answer(CONVERSE), bedrock_stream(*converse_events("Hel", "lo."))),
    ],
)
def test_any_door_to_any_backend(house: House, door: str, model: str, whole: Play, pieces: Play) -> None:
    house.upstream.play(whole)
    found = ask(house, door, model)
    assert found.status == 200, found.body
    assert text(found) == "Hello."
    assert float(found.headers["x-gateway-cost-usd"]) > 0
    house.upstream.play(pieces)
    assert streamed(ask(house, door, model, stream=True)) == "Hello."


def test_azure_is_called_as_its_reference_says(house: House) -> None:
    house.upstream.play(answer(openai_answer()))
    ask(house, OPENAI, "t-azure")
    (sent,) = house.upstream.sent
    assert sent.path == "/azure/openai/deployments/gpt-4o/chat/completions"
    assert sent.query == {"api-version": "2024-10-21"}
    assert sent.headers["api-key"] == "azure-test-key"
    assert "authorization" not in sent.headers


def test_gemini_is_called_as_its_reference_says(house: House) -> None:
    house.upstream.play(answer(GEMINI), gemini_chunks("Hi"))
    ask(house, OPENAI, "t-gemini")
    ask(house, OPENAI, "t-gemini", stream=True)
    whole, stream = house.upstream.sent
    assert whole.path == "/v1beta/models/gemini-2.5-flash:generateContent"
    assert stream.path == "/v1beta/models/gemini-2.5-flash:streamGenerateContent"
    assert stream.query == {"alt": "sse"}
    assert whole.headers["x-goog-api-key"] == "gemini-test-key"
    assert whole.body == stream.body
    assert whole.body["contents"] == [{"role": "user", "parts": [{"text": "Hello"}]}]


def test_bedrock_is_called_as_its_reference_says(house: House) -> None:
    house.upstream.play(answer(CONVERSE), bedrock_stream(*converse_events("Hi")))
    ask(house, OPENAI, "t-bedrock")
    ask(house, OPENAI, "t-bedrock", stream=True)
    whole, stream = house.upstream.sent
    assert whole.raw_path == "/bedrock/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse", "sent as signed"
    assert stream.path.endswith("/converse-stream")
    assert whole.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "/eu-west-1/bedrock/aws4_request" in whole.headers["authorization"]
    assert whole.body == {
        "messages": [{"role": "user", "content": [{"text": "Hello"}]}],
        "inferenceConfig": {"maxTokens": 20},
    }


RISK = {"type": "object", "properties": {"risk": {"type": "string"}}, "required": ["risk"]}
#: The same wish in the words of each door.
FORMS: dict[str, dict[str, Any]] = {
    OPENAI: {"response_format": {"type": "json_schema", "json_schema": {"name": "risk", "schema": RISK}}},
    ANTHROPIC: {"output_config": {"format": {"type": "json_schema", "schema": RISK}}},
    RESPONSES: {"text": {"format": {"type": "json_schema", "name": "risk", "schema": RISK}}},
}


@pytest.mark.parametrize("door", FORMS)
def test_bedrock_holds_answers_to_a_schema_by_a_forced_tool(house: House, door: str) -> None:
    use = {"toolUseId": "t1", "name": "json_answer"}
    whole = {"output": {"message": {"content": [{"toolUse": {**use, "input": {"risk": "low"}}}]}}}
    pieces = [
        event("messageStart", {"role": "assistant"}),
        event("contentBlockStart", {"contentBlockIndex": 0, "start": {"toolUse": use}}),
        *(
            event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"toolUse": {"input": piece}}})
            for piece in ('{"risk":', '"low"}')
        ),
        event("contentBlockStop", {"contentBlockIndex": 0}),
        event("messageStop", {"stopReason": "tool_use"}),
        event("metadata", {"usage": CONVERSE["usage"]}),
    ]
    house.upstream.play(
        answer({**whole, "stopReason": "tool_use", "usage": CONVERSE["usage"]}), bedrock_stream(*pieces)
    )
    body = {"model": "t-bedrock", "max_tokens": 20, "messages": [{"role": "user", "content": "Hello"}], **FORMS[door]}
    if door == RESPONSES:
        del body["max_tokens"]
        body["input"] = body.pop("messages")
    found = house.ask("POST", door, body)
    assert found.status == 200, found.body
    assert (text(found), ended(found.body)) == ('{"risk":"low"}', _ENDS[door])
    assert house.upstream.sent[0].body["toolConfig"]["tools"][0]["toolSpec"]["inputSchema"] == {"json": RISK}
    told = house.ask("POST", door, {**body, "stream": True})
    assert streamed(told) == '{"risk":"low"}'
    assert f'"{_ENDS[door]}"' in told.raw.decode()
    assert "json_answer" not in told.raw.decode()


@pytest.mark.parametrize("door", FORMS)
def test_bedrocks_own_structured_output_where_the_row_says_so(house: House, door: str) -> None:
    house.upstream.play(answer({**CONVERSE, "output": {"message": {"content": [{"text": '{"risk":"low"}'}]}}}))
    body = {"model": "t-bedrock-native", "max_tokens": 20, "messages": [{"role": "user", "content": "Hello"}]}
    if door == RESPONSES:
        body = {"model": "t-bedrock-native", "input": "Hello"}
    found = house.ask("POST", door, {**body, **FORMS[door]})
    assert text(found) == '{"risk":"low"}'
    (sent,) = house.upstream.sent
    form = sent.body["outputConfig"]["textFormat"]
    assert json.loads(form["structure"]["jsonSchema"]["schema"]) == RISK
    assert "toolConfig" not in sent.body


def test_an_error_in_the_middle_of_bedrocks_stream_is_told(house: House) -> None:
    begun = converse_events("Hel")[:2]
    house.upstream.play(bedrock_stream(*begun, exception("modelStreamErrorException", "The model stopped.")))
    assert "The model stopped." in ask(house, OPENAI, "t-bedrock", stream=True).raw.decode()
    house.upstream.play(bedrock_stream(*begun, converse_events("lo")[0][:7]))
    cut = ask(house, ANTHROPIC, "t-bedrock", stream=True).raw.decode()
    assert "event: error" in cut
    assert "message_stop" not in cut


def test_what_a_backend_cannot_do_is_refused_by_name(house: House) -> None:
    house.upstream.play(answer(CONVERSE))
    refused = ask(house, OPENAI, "t-bedrock", n=2)
    assert (refused.status, refused.body["error"]["param"]) == (400, "n")
    told = ask(house, OPENAI, "t-bedrock", seed=4, user="u")
    assert told.headers["x-gateway-dropped-params"] == "seed,user"


def test_tokens_are_counted_by_the_provider_where_it_can(house: House) -> None:
    house.upstream.play(answer({"input_tokens": 14}))
    body = {"model": "claude-3-haiku", "messages": [{"role": "user", "content": "Hi"}], "system": "Be brief."}
    found = house.ask("POST", "/v1/messages/count_tokens", body)
    assert (found.body, found.headers["x-gateway-count"]) == ({"input_tokens": 14}, "provider")
    (sent,) = house.upstream.sent
    assert sent.path == "/v1/messages/count_tokens"
    assert sent.body == {**body, "model": "claude-3-haiku-20240307"}
    other = house.ask("POST", "/v1/messages/count_tokens", {**body, "model": "gpt-4"})
    assert (other.body, other.headers["x-gateway-count"]) == ({"input_tokens": 15}, "counted")
    unknown = house.ask("POST", "/v1/messages/count_tokens", {**body, "model": "t-mistral"})
    assert unknown.headers["x-gateway-count"] == "estimated"
    assert unknown.body["input_tokens"] > 0


def test_google_counts_the_system_and_the_tools_too(house: House) -> None:
    house.upstream.play(answer({"totalTokens": 9, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 9}]}))
    tool = {"name": "f", "description": "F", "input_schema": {"type": "object", "properties": {}}}
    body = {
        "model": "t-gemini",
        "messages": [{"role": "user", "content": "Hi"}],
        "system": "Be brief.",
        "tools": [tool],
    }
    found = house.ask("POST", "/v1/messages/count_tokens", body)
    assert (found.body, found.headers["x-gateway-count"]) == ({"input_tokens": 9}, "provider")
    (sent,) = house.upstream.sent
    assert sent.path == "/v1beta/models/gemini-2.5-flash:countTokens"
    assert sent.headers["x-goog-api-key"] == "gemini-test-key"
    (asked,) = sent.body.values()
    assert set(sent.body) == {"generateContentRequest"}
    assert set(asked) == {"model", "contents", "systemInstruction", "tools"}
    assert asked["model"] == "models/gemini-2.5-flash"
    house.upstream.play(answer({"tokens": 9}))
    assert house.ask("POST", "/v1/messages/count_tokens", body).status == 502


VECTORS = [[0.5, -0.25], [1.0, 0.0]]
BASE64 = ["AAAAPwAAgL4=", "AACAPwAAAAA="]


def embedded(vectors: list[Any]) -> Play:
    data = [{"object": "embedding", "index": at, "embedding": vector} for at, vector in enumerate(vectors)]
    usage = {"prompt_tokens": 4, "total_tokens": 4}
    return answer({"object": "list", "data": data[::-1], "model": "text-embedding-3-small", "usage": usage})


@pytest.mark.parametrize("upstream", [VECTORS, BASE64], ids=["floats upstream", "base64 upstream"])
@pytest.mark.parametrize(("encoding", "expected"), [("float", VECTORS), ("base64", BASE64)])
def test_embeddings_in_either_encoding(house: House, upstream: list[Any], encoding: str, expected: list[Any]) -> None:
    house.upstream.play(embedded(upstream))
    asked = {"model": "t-embed", "input": ["a", "b"], "encoding_format": encoding, "dimensions": 2, "user": "u"}
    found = house.ask("POST", "/v1/embeddings", asked)
    assert found.status == 200, found.body
    assert [item["embedding"] for item in found.body["data"]] == expected
    assert [item["index"] for item in found.body["data"]] == [0, 1]
    assert found.body["usage"] == {"prompt_tokens": 4, "total_tokens": 4}
    assert found.body["model"] == "t-embed"
    assert float(found.headers["x-gateway-cost-usd"]) > 0
    (sent,) = house.upstream.sent
    assert sent.path == "/v1/embeddings"
    assert sent.body["model"] == "text-embedding-3-small"
    assert sent.body["input"] == ["a", "b"]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"input": []}, "input"),
        ({"input": ["a", 3]}, "input"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
        ({"colour": 1}, "colour"),
        ({"model": "gpt-4"}, "model"),
    ],
)
def test_a_wrong_embedding_request_is_told(house: House, change: dict[str, Any], param: str) -> None:
    refused = house.ask("POST", "/v1/embeddings", {"model": "t-embed", "input": "a", **change})
    assert refused.status in (400, 422)
    assert refused.body["error"]["param"] == param


def test_an_embedding_is_tried_again_but_never_elsewhere(house: House) -> None:
    house.upstream.play(Play(500, [b"{}"]), embedded(VECTORS))
    found = house.ask("POST", "/v1/embeddings", {"model": "t-embed", "input": [[1, 2], [3]]})
    assert (found.status, found.headers["x-gateway-attempts"]) == (200, "2")
    house.upstream.play(embedded(VECTORS[:1]))
    short = house.ask("POST", "/v1/embeddings", {"model": "t-embed", "input": ["a", "b"]})
    assert short.status == 502, "one vector for two inputs is no answer"


def test_the_other_dialects_anthropic(house: House) -> None:
    house.upstream.play(answer(anthropic_answer()))
    assert text(ask(house, OPENAI, "claude-3-haiku")) == "Hello."
