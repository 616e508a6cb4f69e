"""Tokens on every door: counted, saved, trimmed, recorded; off unless asked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fixtures.house import Answer, House
from fixtures.upstream import answer, anthropic_answer, anthropic_events, events, openai_answer, openai_chunks

POSITIONS = [{"isin": f"US00{number:04}", "weight": 0.5, "sector": "Utilities"} for number in range(12)]
PRETTY = json.dumps(POSITIONS, indent=2)
ASK = f"Which weighs most?\n\n{PRETTY}\n"
LONG = "A paragraph of a report that says the same thing over and over again, at length. " * 12
COMPACT = {"x-gateway-optimise": "compact"}


def chat(house: House, content: Any = ASK, headers: dict[str, str] | None = None, **fields: Any) -> Answer:
    house.upstream.play(answer(openai_answer()))
    turns = content if isinstance(content, list) else [{"role": "user", "content": content}]
    return house.ask("POST", "/v1/chat/completions", {"model": "gpt-4o", "messages": turns, **fields}, headers=headers)


def recorded(house: House, found: Answer) -> dict[str, Any]:
    records = house.ask("GET", "/audit?limit=20").body["records"]
    (record,) = [item for item in records if item["request_id"] == found.headers["x-request-id"]]
    detail: dict[str, Any] = record["detail"]
    return detail


def test_nothing_is_changed_unless_asked(house: House) -> None:
    found = chat(house)
    assert house.upstream.sent[0].body["messages"] == [{"role": "user", "content": ASK}]
    assert "x-gateway-tokens-saved" not in found.headers
    assert "tokens" not in recorded(house, found)


def test_a_call_that_asks_is_sent_shorter_and_recorded(house: House) -> None:
    found = chat(house, headers=COMPACT, logit_bias={"5": -1}, metadata={"a": "b"})
    assert found.status == 200, found.body
    (sent,) = house.upstream.sent
    text = sent.body["messages"][0]["content"]
    assert text.startswith('Which weighs most?\n\n{"columns":["isin","weight","sector"],"rows":[["US000000",0.5,')
    assert sent.body["logit_bias"] == {"5": -1}, "what only this dialect has still goes with it"
    note = recorded(house, found)["tokens"]
    assert note["methods"] == ["json", "tables"]
    assert (note["basis"], note["saved"]) == ("counted", note["before"] - note["after"])
    assert found.headers["x-gateway-tokens-saved"] == str(note["saved"])
    assert note["saved"] > note["before"] // 2
    for count, content in ((note["before"], ASK), (note["after"], text)):
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": content}]}
        assert house.ask("POST", "/tokens/count", body).body["tokens"] == count


def test_a_call_with_nothing_to_save_goes_as_it_is(house: House) -> None:
    found = chat(house, "Hello", COMPACT)
    assert house.upstream.sent[0].body["messages"] == [{"role": "user", "content": "Hello"}]
    assert found.headers["x-gateway-tokens-saved"] == "0"
    assert recorded(house, found)["tokens"]["methods"] == []


@pytest.mark.parametrize("model", ["claude-3-haiku", "gpt-4o", "t-gemini"])
def test_the_door_of_anthropic_to_any_backend(house: House, model: str) -> None:
    gemini = {"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}]}
    plays = {"claude-3-haiku": anthropic_answer(), "gpt-4o": openai_answer(), "t-gemini": gemini}
    house.upstream.play(answer(plays[model]))
    body = {"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": ASK}]}
    found = house.ask("POST", "/v1/messages", body, headers=COMPACT)
    assert found.status == 200, found.body
    assert '{\\"columns\\":[\\"isin\\"' in house.upstream.sent[0].raw.decode()
    assert int(found.headers["x-gateway-tokens-saved"]) > 100
    assert recorded(house, found)["tokens"]["basis"] == ("counted" if model == "gpt-4o" else "estimated")


def test_streams_and_responses_too(house: House) -> None:
    house.upstream.play(events(*openai_chunks("Hi")))
    body = {"model": "gpt-4o", "stream": True, "messages": [{"role": "user", "content": ASK}]}
    found = house.ask("POST", "/v1/chat/completions", body, headers=COMPACT)
    assert int(found.headers["x-gateway-tokens-saved"]) > 100
    house.upstream.play(answer(openai_answer()))
    found = house.ask("POST", "/v1/responses", {"model": "gpt-4o", "input": ASK}, headers=COMPACT)
    assert int(found.headers["x-gateway-tokens-saved"]) > 100
    assert '{"columns"' in house.upstream.sent[0].body["messages"][0]["content"]


def test_repeated_context_is_told_once(house: House) -> None:
    turns = [
        {"role": "user", "content": f"{LONG}\n\nWhat does it say?"},
        {"role": "assistant", "content": "Much."},
        {"role": "user", "content": f"{LONG}\n\nAnd what not?"},
    ]
    found = chat(house, turns, {"x-gateway-optimise": "repeats"})
    first, answered, second = (turn["content"] for turn in house.upstream.sent[0].body["messages"])
    label = first.splitlines()[0].removeprefix("[block ").removesuffix("]")
    assert first == f"[block {label}]\n{LONG}\n[end of block {label}]\n\nWhat does it say?"
    assert second == f"[the same as block {label} above]\n\nAnd what not?"
    assert answered == "Much."
    assert recorded(house, found)["tokens"]["methods"] == ["repeats"]


def talk(turns: int) -> list[dict[str, Any]]:
    roles = ("user", "assistant")
    return [{"role": roles[at % 2], "content": f"{at}: {LONG}"} for at in range(turns)]


def test_a_long_talk_is_trimmed_to_its_budget(house: House) -> None:
    turns = [{"role": "system", "content": "Be brief."}, *talk(9)]
    found = chat(house, turns, {"x-gateway-optimise": "trim=1200,keep-first=1"})
    assert found.status == 200, found.body
    sent = house.upstream.sent[0].body["messages"]
    assert [turn["content"][:2] for turn in sent] == ["Be", "0:", "1:", "6:", "7:", "8:"]
    note = recorded(house, found)["tokens"]
    assert (note["methods"], note["dropped_turns"]) == (["trim"], 4)
    assert note["after"] <= 1200 < note["before"]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/chat/completions", {"model": "gpt-4o", "messages": talk(3)}, "error"),
        ("/v1/messages", {"model": "claude-3-haiku", "max_tokens": 5, "messages": talk(3)}, "error"),
        ("/execute/llm", {"model_config": {"name": "gpt-4o"}, "input_data": {"messages": talk(3)}}, "detail"),
    ],
)
def test_what_cannot_fit_is_refused_in_the_doors_own_format(
    house: House, path: str, body: dict[str, Any], field: str
) -> None:
    house.upstream.play(answer(openai_answer()))
    found = house.ask("POST", path, body, headers={"x-gateway-optimise": "trim=20"})
    assert 400 <= found.status < 500, found.body
    said = found.body["error"]["message"] if field == "error" else found.body["detail"]
    assert "the budget is 20" in said
    assert house.upstream.sent == []


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/execute/llm"])
def test_a_word_nobody_knows_is_refused(house: House, path: str) -> None:
    body: dict[str, Any] = {"model": "gpt-4o", "messages": talk(1)}
    if path == "/v1/messages":
        body["max_tokens"] = 5
    if path == "/execute/llm":
        body = {"model_config": {"name": "gpt-4o"}, "input_data": {"messages": talk(1)}}
    found = house.ask("POST", path, body, headers={"x-gateway-optimise": "shrink"})
    assert 400 <= found.status < 500
    assert "x-gateway-optimise" in json.dumps(found.body)


def test_a_row_asks_for_all_its_calls_and_a_call_may_refuse(house: House) -> None:
    house.upstream.play(answer(openai_answer()))
    body = {"model_config": {"name": "t-compact"}, "input_data": {"prompt": ASK}}
    session = {"x-gateway-session": "s-1"}
    found = house.ask("POST", "/execute/llm", body, headers=session)
    assert int(found.headers["x-gateway-tokens-saved"]) > 100
    assert '{"columns"' in house.upstream.sent[0].body["messages"][0]["content"]
    house.upstream.play(answer(openai_answer()))
    found = house.ask("POST", "/execute/llm", body, headers={"x-gateway-optimise": "off"})
    assert house.upstream.sent[0].body["messages"][0]["content"] == ASK
    assert "x-gateway-tokens-saved" not in found.headers
    chat(house, ASK, session, model="t-compact")
    assert house.upstream.sent[0].body["prompt_cache_key"] == "s-1"


def test_a_task_of_such_a_row_saves_and_records_too(house: House) -> None:
    house.upstream.play(answer(openai_answer()))
    body = {"task_type": "llm_analysis", "model_config": {"name": "t-compact"}, "input_data": {"prompt": ASK}}
    task = house.ask("POST", "/tasks", body).body["task_id"]
    assert house.ended(f"/tasks/{task}")["status"] == "completed"
    assert '{\\"columns\\"' in house.upstream.sent[0].raw.decode()
    records = house.ask("GET", "/audit?limit=50").body["records"]
    (record,) = [
        item for item in records if (item["detail"] or {}).get("task_id") == task and "tokens" in item["detail"]
    ]
    assert record["detail"]["tokens"]["saved"] > 100


def test_prompt_cache_marks_are_set_where_asked(house: House) -> None:
    system = "A stable instruction. " * 800
    body = {
        "model": "claude-3-haiku",
        "max_tokens": 5,
        "system": system,
        "messages": [{"role": "user", "content": "Hi"}],
    }
    for headers, marked in (({}, False), ({"x-gateway-optimise": "prompt-cache"}, True)):
        house.upstream.play(answer(anthropic_answer()))
        found = house.ask("POST", "/v1/messages", body, headers=headers)
        block = {"type": "text", "text": system, "cache_control": {"type": "ephemeral"}}
        assert house.upstream.sent[0].body["system"] == ([block] if marked else system)
        assert recorded(house, found).get("prompt_cache") == ("auto" if marked else None)


def test_an_exact_bound_reserves_less(house: House) -> None:
    """About 1,000 tokens of 5,000 bytes: a budget between the two bounds lets only the exact one pass."""
    text = "The weather in San Francisco is usually quite mild. " * 100
    key = house.key("developer", principal="exact")
    budget = {"scope": "user", "subject": "exact", "limit_usd": "0.006", "window": "day"}
    assert house.ask("POST", "/budgets", budget).status == 201
    house.upstream.play(answer(openai_answer()))
    body = {"model": "gpt-4o", "max_tokens": 5, "messages": [{"role": "user", "content": text}]}
    assert house.ask("POST", "/v1/chat/completions", body, key=key).status in (402, 429)
    found = house.ask("POST", "/v1/chat/completions", {**body, "model": "t-compact"}, key=key)
    assert found.status == 200, found.body


def test_a_cut_stream_of_a_provider_without_a_table_keeps_what_was_told(house: House) -> None:
    """Anthropic tells the input at the start and a first token or so; what came after is estimated."""
    house.upstream.play(events(*anthropic_events("x" * 400, end=False), named=True))
    key = house.key("developer", principal="cut")
    body = {
        "model": "claude-3-haiku",
        "max_tokens": 500,
        "stream": True,
        "messages": [{"role": "user", "content": "x"}],
    }
    assert b"event: error" in house.ask("POST", "/v1/messages", body, key=key).raw
    usage = house.ask("GET", "/usage/entries?principal=cut").body["entries"]
    assert [(item["basis"], item["output_tokens"]) for item in usage] == [("estimated", 100)]
    assert usage[0]["input_tokens"] > 0


COUNTED = {"model": "gpt-4o", "tokens": 3, "basis": "counted", "encoding": "o200k_base"}


def test_texts_and_talks_are_counted(house: House) -> None:
    assert house.ask("POST", "/tokens/count", {"model": "gpt-4o", "text": "Hello there!"}).body == COUNTED
    talked = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello there!"}]}
    assert house.ask("POST", "/tokens/count", talked).body == {**COUNTED, "tokens": 10}
    other = house.ask("POST", "/tokens/count", {"model": "t-mistral", "text": "Hello there!"}).body
    assert (other["basis"], other["encoding"], other["tokens"]) == ("estimated", None, 4)
    ask = {"model": "gpt-4o", "messages": [{"role": "user", "content": ASK}], "optimise": "compact"}
    found = house.ask("POST", "/tokens/count", ask).body
    assert found["optimised"]["before"] == found["tokens"]
    assert found["optimised"]["saved"] > 100
    assert house.upstream.sent == [] or house.upstream.sent[-1].path != "/tokens/count"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "model"),
        ({"model": "gpt-4o"}, "text"),
        ({"model": "gpt-4o", "text": "a", "messages": []}, "text"),
        ({"model": "gpt-4o", "text": 7}, "text"),
        ({"model": "gpt-4o", "messages": "a"}, "messages"),
        ({"model": "gpt-4o", "messages": [{"role": "robot", "content": "a"}]}, "messages[0]"),
        ({"model": "gpt-4o", "messages": [{"role": "user", "content": "a"}], "optimise": "x"}, "x-gateway-optimise"),
        ({"model": "gpt-4o", "text": "a", "more": 1}, "more"),
        ({"model": "gpt-9", "text": "a"}, "model"),
        ({"model": "risk-classifier", "text": "a"}, "model"),
    ],
)
def test_bad_counts_are_refused_by_field(house: House, body: dict[str, Any], param: str) -> None:
    found = house.ask("POST", "/tokens/count", body)
    assert 400 <= found.status < 500, found.body
    assert found.body["param"] == param
