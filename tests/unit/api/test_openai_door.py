"""``/v1/chat/completions``: OpenAI's dialect in and out, whichever provider answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fixtures.house import Answer, House
from fixtures.upstream import (
    answer,
    anthropic_answer,
    anthropic_events,
    events,
    openai_answer,
    openai_chunks,
)

PATH = "/v1/chat/completions"
HELLO: dict[str, Any] = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hello"}]}


def chunks(found: Answer) -> list[dict[str, Any]]:
    lines = [line[6:] for line in found.raw.decode().split("\n") if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def text(found: Answer) -> str:
    return "".join(choice["delta"].get("content") or "" for chunk in chunks(found) for choice in chunk["choices"])


def test_an_answer_in_openais_words(house: House) -> None:
    house.upstream.play(answer(openai_answer("Hello yourself.")))
    found = house.ask("POST", PATH, {**HELLO, "temperature": 0.1, "seed": 3, "logit_bias": {"5": 1}})
    assert found.status == 200, found.body
    assert found.body["object"] == "chat.completion"
    assert found.body["model"] == "gpt-4"
    assert found.body["choices"][0]["message"] == {"role": "assistant", "content": "Hello yourself."}
    assert found.body["choices"][0]["finish_reason"] == "stop"
    assert found.body["usage"]["total_tokens"] == 14
    assert found.body["usage"]["prompt_tokens_details"]["cached_tokens"] == 4
    (sent,) = house.upstream.sent
    assert sent.body["temperature"] == 0.1
    assert sent.body["seed"] == 3
    assert sent.body["logit_bias"] == {"5": 1}, "a field of the dialect goes through"
    assert sent.headers["authorization"].startswith("Bearer sk-test-openai")
    for header in ("x-request-id", "x-gateway-model", "x-gateway-provider", "x-gateway-cost-usd"):
        assert header in found.headers, found.headers


def test_what_the_provider_says_in_this_dialect_goes_on_whole(house: House) -> None:
    """Log probabilities, annotations, fingerprints: nothing that the gateway has no word for is lost."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": None, "refusal": "No.", "annotations": []},
        "logprobs": {"content": [], "refusal": [{"token": "No", "logprob": -0.1, "bytes": None, "top_logprobs": []}]},
        "finish_reason": "stop",
    }
    house.upstream.play(answer(openai_answer(choices=[choice], system_fingerprint="fp_1", service_tier="flex")))
    asked = {**HELLO, "logprobs": True, "metadata": {"team": "risk"}, "user": "u"}
    asked["messages"] = [{"role": "developer", "content": [{"type": "text", "text": "Be brief."}], "name": "ops"}]
    found = house.ask("POST", PATH, asked)
    assert found.body["choices"] == [choice]
    assert (found.body["system_fingerprint"], found.body["service_tier"]) == ("fp_1", "flex")
    assert found.body["model"] == "gpt-4", "the name that the caller knows"
    sent = house.upstream.sent[0].body
    assert {name: sent[name] for name in asked} == asked
    assert "x-gateway-dropped-params" not in found.headers


def test_a_streams_own_chunks_go_on_whole(house: House) -> None:
    pieces = openai_chunks("Hel", "lo")
    pieces[1]["choices"][0]["logprobs"] = {"content": [{"token": "Hel", "logprob": -0.5}]}
    pieces[1]["system_fingerprint"] = "fp_1"
    house.upstream.play(events(*pieces))
    found = chunks(house.ask("POST", PATH, {**HELLO, "stream": True, "logprobs": True}))
    assert [{**piece, "model": "gpt-4"} for piece in pieces if piece["choices"]] == [
        {name: value for name, value in chunk.items() if name != "created"} for chunk in found
    ]


def test_what_the_answer_depends_on_is_refused_elsewhere(house: House) -> None:
    house.upstream.play(answer(anthropic_answer()))
    refused = house.ask("POST", PATH, {**HELLO, "model": "claude-3-sonnet", "logprobs": True})
    assert refused.status == 400
    assert refused.body["error"]["param"] == "logprobs"
    assert not house.upstream.sent, "refused before any call"
    told = house.ask("POST", PATH, {**HELLO, "model": "claude-3-sonnet", "store": True, "seed": 4})
    assert told.headers["x-gateway-dropped-params"] == "store,seed"
    strict = {"x-gateway-strict": "true"}
    held = house.ask("POST", PATH, {**HELLO, "model": "claude-3-sonnet", "seed": 4}, headers=strict)
    assert (held.status, held.body["error"]["param"]) == (400, "seed")


def test_pieces_as_they_come(house: House) -> None:
    house.upstream.play(events(*openai_chunks("Hel", "lo")))
    body = {**HELLO, "stream": True, "stream_options": {"include_usage": True}}
    found = house.ask("POST", PATH, body)
    assert found.headers["content-type"].startswith("text/event-stream")
    assert text(found) == "Hello"
    last = chunks(found)
    assert last[-1]["usage"]["total_tokens"] == 14
    assert last[-1]["choices"] == []
    assert [c["finish_reason"] for one in last for c in one["choices"] if c["finish_reason"]] == ["stop"]
    house.upstream.play(events(*openai_chunks("Hel", "lo")))
    assert all("usage" not in chunk for chunk in chunks(house.ask("POST", PATH, {**HELLO, "stream": True})))


def test_an_anthropic_model_by_the_openai_door(house: House) -> None:
    house.upstream.play(answer(anthropic_answer("Bonjour")))
    found = house.ask("POST", PATH, {**HELLO, "model": "claude-3-sonnet"})
    assert found.body["choices"][0]["message"]["content"] == "Bonjour"
    assert found.body["usage"]["prompt_tokens"] == 10
    assert house.upstream.sent[0].path == "/v1/messages"
    house.upstream.play(events(*anthropic_events("Bon", "jour"), named=True))
    assert text(house.ask("POST", PATH, {**HELLO, "model": "claude-3-sonnet", "stream": True})) == "Bonjour"


def test_tools_there_and_back(house: House) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "price", "arguments": '{"asset":"JPM"}'}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    given = openai_answer(choices=[{"index": 0, "message": message, "finish_reason": "tool_calls"}])
    house.upstream.play(answer(given))
    tools = [{"type": "function", "function": {"name": "price", "parameters": {"type": "object"}}}]
    found = house.ask("POST", PATH, {**HELLO, "tools": tools, "tool_choice": "required"})
    assert found.body["choices"][0]["message"]["tool_calls"] == [call]
    assert found.body["choices"][0]["finish_reason"] == "tool_calls"
    assert house.upstream.sent[0].body["tool_choice"] == "required"
    house.upstream.play(answer(openai_answer("It is 120.")))
    turns = [*HELLO["messages"], message, {"role": "tool", "tool_call_id": "call_1", "content": "120"}]
    found = house.ask("POST", PATH, {**HELLO, "messages": turns, "tools": tools})
    assert found.status == 200, found.body
    assert house.upstream.sent[0].body["messages"][2] == {"role": "tool", "tool_call_id": "call_1", "content": "120"}


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"model": "gpt-9"}, 404, "model"),
        ({"model": None}, 400, "model"),
        ({"messages": []}, 400, "messages"),
        ({"messages": "hi"}, 400, "messages"),
        ({"messages": [{"role": "king", "content": "x"}]}, 400, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 3}]}, 400, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "video"}]}]}, 400, "messages[0].content[0]"),
        ({"temperature": 9}, 400, "temperature"),
        ({"max_tokens": -1}, 400, "max_tokens"),
        ({"n": 100}, 400, "n"),
        ({"stream": "yes"}, 400, "stream"),
        ({"tools": [{"type": "function"}]}, 400, "tools[0]"),
    ],
)
def test_a_wrong_field_is_named(house: House, change: dict[str, Any], status: int, param: str) -> None:
    house.upstream.play(answer(openai_answer()))
    found = house.ask("POST", PATH, {**HELLO, **change})
    assert found.status == status, found.body
    assert found.body["error"]["param"] == param
    assert house.upstream.sent == []


def test_errors_of_the_provider_are_told_in_this_dialect(house: House) -> None:
    house.upstream.play(answer({"error": {"message": "max context length", "code": "context_length_exceeded"}}, 400))
    found = house.ask("POST", PATH, HELLO)
    assert found.status == 400
    assert found.body["error"]["code"] == "context_length_exceeded"
    assert found.headers["x-should-retry"] == "false"
    house.upstream.play(answer({"error": {"message": "bad key sk-live-abcdefghijklmnop"}}, 401))
    found = house.ask("POST", PATH, HELLO)
    assert found.status == 502
    assert b"sk-live" not in found.raw


def test_a_refusal_that_cost_nothing_may_be_sent_again(house: House) -> None:
    """The official SDKs go by this header before anything else."""
    busy = answer({"error": {"message": "slow down", "type": "requests"}}, 429, **{"retry-after": "20"})
    for path, body in ((PATH, HELLO), ("/v1/messages", {**HELLO, "max_tokens": 9})):
        house.upstream.play(busy)
        found = house.ask("POST", path, body)
        told = {name: found.headers[name] for name in ("retry-after", "x-should-retry")}
        assert (found.status, told) == (429, {"retry-after": "20", "x-should-retry": "true"})
    house.upstream.play(answer({"no": "answer"}))
    found = house.ask("POST", PATH, HELLO)
    assert (found.status, found.headers["x-should-retry"]) == (502, "false"), "it was worked on, and charged"


def test_a_wait_that_never_ends_is_none(house: House) -> None:
    limited = answer({"error": {"message": "slow down"}}, 429, **{"retry-after-ms": "inf"})
    house.upstream.play(limited, limited, limited)
    found = house.ask("POST", PATH, HELLO)
    assert (found.status, found.headers["retry-after"], found.body["error"]["type"]) == (429, "1", "rate_limit_error")


def test_what_a_server_leaves_empty_is_filled_in(house: House) -> None:
    house.upstream.play(answer({**openai_answer(), "id": None, "object": None, "created": None}))
    found = house.ask("POST", PATH, HELLO)
    assert found.body["id"].startswith("chatcmpl")
    assert (found.body["object"], found.body["created"] > 0) == ("chat.completion", True)


def test_a_passing_failure_is_tried_again(house: House) -> None:
    failing = answer({"error": {"message": "busy"}}, 503)
    house.upstream.play(failing, answer(openai_answer("At last")))
    found = house.ask("POST", PATH, HELLO)
    assert found.body["choices"][0]["message"]["content"] == "At last"
    assert len(house.upstream.sent) == 2
    assert found.headers["x-gateway-attempts"] == "2"


def test_a_stream_that_breaks_ends_with_an_error_event(house: House) -> None:
    house.upstream.play(events(*openai_chunks("Hel", finish=None, usage=False), done=False))
    found = house.ask("POST", PATH, {**HELLO, "stream": True})
    assert b'"error"' in found.raw
    assert b"stream_incomplete" in found.raw
    assert b"[DONE]" not in found.raw


def test_a_reader_who_leaves_is_accounted_for(house: House) -> None:
    import http.client  # noqa: PLC0415 - the raw socket is wanted here alone

    house.upstream.play(events(*openai_chunks("Hel", "lo", finish=None), hang=30, done=False))
    key = house.key("developer", principal="leaver")
    connection = http.client.HTTPConnection(house.url.removeprefix("http://"), timeout=10)
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    connection.request("POST", PATH, json.dumps({**HELLO, "stream": True}), headers)
    response = connection.getresponse()
    told = b""
    while b"Hel" not in told:
        told += response.read1()
    connection.close()
    response.close()
    assert house.upstream.hung_up.wait(10), "the upstream call is ended too"
    entries = House.until(lambda: house.ask("GET", "/usage/entries?principal=leaver").body["entries"], bool)
    assert entries[0]["outcome"] == "cancelled"


def test_the_models_of_a_key(house: House) -> None:
    narrow = house.key("developer", models=("smollm2", "gpt-4"))
    assert [row["id"] for row in house.ask("GET", "/v1/models", key=narrow).body["data"]] == ["gpt-4", "smollm2"]
    assert house.ask("GET", "/v1/models/smollm2", key=narrow).body["id"] == "smollm2"
    assert house.ask("GET", "/v1/models/claude-3-sonnet", key=narrow).status == 404
    everything = {row["id"] for row in house.ask("GET", "/v1/models").body["data"]}
    assert {"gpt-4", "minilm", "omni-moderation-latest", "auto", "t-route"} <= everything, "all that /v1 can be asked"
    assert "risk-classifier" not in everything
    refused = house.ask("POST", PATH, {**HELLO, "model": "claude-3-sonnet"}, key=narrow)
    assert refused.status == 404


def test_another_method_is_a_wrong_request(house: House) -> None:
    found = house.ask("GET", PATH)
    assert (found.status, found.body["error"]["type"]) == (405, "invalid_request_error")
    assert found.headers["allow"] == "POST"


def test_a_budget_holds(house: House) -> None:
    key = house.key("developer", principal="poor")
    budget = {"scope": "user", "subject": "poor", "limit_usd": "0.0001", "window": "day"}
    assert house.ask("POST", "/budgets", budget).status == 201
    house.upstream.play(answer(openai_answer()))
    found = house.ask("POST", PATH, HELLO, key=key)
    assert found.status == 402, found.body
    assert found.body["error"]["code"] == "budget_exceeded"
    assert house.upstream.sent == []


def test_a_rate_limit_holds(house: House) -> None:
    key = house.key("developer", requests_per_minute=1)
    house.upstream.play(answer(openai_answer()))
    first = house.ask("POST", PATH, HELLO, key=key)
    assert first.headers["x-ratelimit-remaining-requests"] == "0"
    found = house.ask("POST", PATH, HELLO, key=key)
    assert found.status == 429
    assert 0 < int(found.headers["retry-after"]) <= 60


def test_every_call_is_in_the_ledger(house: House) -> None:
    key = house.key("developer", principal="payer")
    house.upstream.play(answer(openai_answer()))
    found = house.ask("POST", PATH, HELLO, key=key)
    (entry,) = house.ask("GET", "/usage/entries?principal=payer").body["entries"]
    assert (entry["model"], entry["provider"], entry["outcome"]) == ("gpt-4", "openai", "completed")
    assert (entry["input_tokens"], entry["output_tokens"]) == (11, 3)
    assert entry["cost"] == float(found.headers["x-gateway-cost-usd"]) > 0
    usage = house.ask("GET", "/usage?by=model", key=key).body
    assert [row["model"] for row in usage["rows"]] == ["gpt-4"]
