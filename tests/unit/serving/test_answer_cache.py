"""Kept answers, by the doors: equal questions are asked once, and never answered across tenants."""

from __future__ import annotations

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from fixtures.house import Answer, House
from fixtures.upstream import Play, answer, anthropic_answer, anthropic_events, events, openai_answer, openai_chunks
from gateway.api.wire import openai as openai_wire
from gateway.serving import chat_order

PATH = "/v1/chat/completions"
KEEP = {"x-gateway-cache": "60"}


def body(question: str, **fields: Any) -> dict[str, Any]:
    return {"model": "gpt-4", "messages": [{"role": "user", "content": question}], **fields}


def ask(house: House, key: str, asked: dict[str, Any], headers: dict[str, str] | None = None) -> Answer:
    return house.ask("POST", PATH, asked, key=key, headers=KEEP if headers is None else headers)


def test_an_equal_question_is_answered_from_the_cache_for_nothing(house: House) -> None:
    key = house.key("developer")
    house.upstream.play(answer(openai_answer("Once.", system_fingerprint="fp_1")))
    first, again = ask(house, key, body("equal")), ask(house, key, body("equal"))
    assert [first.headers["x-gateway-cache"], again.headers["x-gateway-cache"]] == ["miss", "hit"]
    assert again.body == first.body
    assert again.headers["x-gateway-cost-usd"] == "0"
    assert len(house.upstream.sent) == 1
    entries = house.ask("GET", "/usage/entries?limit=2").body["entries"]
    assert [float(entry["cost"]) > 0 for entry in entries] == [False, True], "both are in the ledger"


@pytest.mark.parametrize("change", [{"temperature": 0.5}, {"seed": 1}, {"stream": True}, {"model": "gpt-4o"}])
def test_any_other_question_is_another_one(house: House, change: dict[str, Any]) -> None:
    key = house.key("developer")
    house.upstream.play(answer(openai_answer()))
    ask(house, key, body("other"))
    house.upstream.play(events(*openai_chunks("Hi")) if "stream" in change else answer(openai_answer()))
    assert ask(house, key, body("other", **change)).headers["x-gateway-cache"] == "miss"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("model", ["gpt-4", "claude-3-haiku"])
def test_an_answer_is_replayed_to_the_byte(
    house: House, monkeypatch: pytest.MonkeyPatch, model: str, stream: bool
) -> None:
    """Also what the provider left unsaid: when the answer was made, and by which id."""
    ticking = SimpleNamespace(time=itertools.count(1_800_000_000).__next__, perf_counter_ns=time.perf_counter_ns)
    monkeypatch.setattr(openai_wire, "time", ticking)
    monkeypatch.setattr(chat_order, "time", ticking)
    key = house.key("developer")
    if model == "gpt-4":
        whole = {name: value for name, value in openai_answer().items() if name != "created"}
        house.upstream.play(events(*openai_chunks("Hel", "lo")) if stream else answer(whole))
    else:
        house.upstream.play(
            events(*anthropic_events("Hel", "lo"), named=True) if stream else answer(anthropic_answer())
        )
    asked = body("replayed", model=model, max_tokens=9, stream=stream)
    first, again = ask(house, key, asked), ask(house, key, asked)
    assert again.headers["x-gateway-cache"] == "hit"
    assert again.raw == first.raw
    assert b"1800000000" in again.raw
    assert not stream or again.raw.endswith(b"data: [DONE]\n\n")
    assert len(house.upstream.sent) == 1


def test_nobody_is_answered_from_another_tenants_question(house: House) -> None:
    ours, theirs = house.key("developer", team="ours"), house.key("developer", team="theirs")
    mate, loner = house.key("developer", team="ours"), house.key("developer")
    for door, upstream in (
        (PATH, openai_answer("Ours.")),
        ("/v1/messages", anthropic_answer("Ours.")),
    ):
        asked = body("tenant", max_tokens=9, **({} if door == PATH else {"model": "claude-3-haiku"}))
        house.upstream.play(answer(upstream))
        found = [
            house.ask("POST", door, asked, key=key, headers=KEEP).headers["x-gateway-cache"]
            for key in (ours, mate, theirs, loner)
        ]
        assert found == ["miss", "hit", "miss", "miss"]


def test_a_hundred_equal_questions_at_once_are_one_upstream_call(house: House) -> None:
    key = house.key("developer")
    slow = answer(openai_answer("Together."))
    slow.hang = 0.5
    house.upstream.play(slow)
    with ThreadPoolExecutor(100) as pool:
        found = list(pool.map(lambda _: ask(house, key, body("crowd")), range(100)))
    assert {item.body["choices"][0]["message"]["content"] for item in found} == {"Together."}
    assert len(house.upstream.sent) == 1
    assert sorted({item.headers["x-gateway-cache"] for item in found}) == ["hit", "miss"]


def test_a_failure_is_not_kept_and_the_next_one_asks(house: House) -> None:
    key = house.key("developer")
    house.upstream.play(Play(400, [b'{"error": {"message": "no"}}']), answer(openai_answer("Now.")))
    assert ask(house, key, body("failing")).status == 400
    assert ask(house, key, body("failing")).headers["x-gateway-cache"] == "miss"
    broken = events(*openai_chunks("Half", finish=None, usage=False), done=False, break_off=True)
    house.upstream.play(broken, events(*openai_chunks("Whole")))
    assert b"error" in ask(house, key, body("breaking", stream=True)).raw
    assert b"Whole" in ask(house, key, body("breaking", stream=True)).raw


def test_off_unless_asked_and_a_caller_may_say_no(house: House) -> None:
    key = house.key("developer")
    house.upstream.play(answer(openai_answer()))
    assert [ask(house, key, body("off"), {}).headers["x-gateway-cache"] for _ in range(2)] == ["miss", "miss"]
    ask(house, key, body("off"))
    assert ask(house, key, body("off"), {"x-gateway-cache": "off"}).headers["x-gateway-cache"] == "miss"
    assert ask(house, key, body("off"), {"x-gateway-cache": "soon"}).status in (400, 422)
