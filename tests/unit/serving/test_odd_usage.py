"""Usage that a provider tells wrongly, twice or not at all: the caller gets the answer, and a bill by the rules."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from fixtures.house import House
from fixtures.upstream import answer, events, openai_answer, openai_chunks

#: What ``t-good`` asks, in USD a token.
IN, OUT = Decimal(10) / 10**6, Decimal(30) / 10**6
ASK: dict[str, Any] = {"model": "t-good", "messages": [{"role": "user", "content": "Hello there"}], "max_tokens": 50}


def entry_of(house: House, **fields: Any) -> dict[str, Any]:
    """The entry of one call."""
    before = house.ask("GET", "/usage/entries?limit=1").body["entries"]
    answered = house.ask("POST", "/v1/chat/completions", ASK | fields, judged=False)
    assert answered.status == 200, answered.body

    def newest() -> dict[str, Any]:
        found: dict[str, Any] = house.ask("GET", "/usage/entries?limit=1").body["entries"][0]
        return found

    entry: dict[str, Any] = house.until(newest, lambda item: [item] != before)
    assert Decimal(str(entry["cost"])) >= 0
    return entry


def cost(entry: dict[str, Any]) -> Decimal:
    return Decimal(str(entry["cost"]))


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": 11, "completion_tokens": 3}, (11, 3)),
        ({"prompt_tokens": 11, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 15}}, (15, 3)),
        ({"prompt_tokens": 11, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": -5}}, (11, 3)),
        ({"prompt_tokens": 11, "completion_tokens": 3, "completion_tokens_details": {"reasoning_tokens": 9}}, (11, 9)),
        ({"prompt_tokens": 11, "completion_tokens": 3, "prompt_tokens_details": {"audio_tokens": 99}}, (11, 3)),
    ],
)
def test_what_cannot_be_is_mended_by_rule(house: House, usage: dict[str, Any], tokens: tuple[int, int]) -> None:
    house.upstream.play(answer(openai_answer("Hello.", usage=usage)))
    entry = entry_of(house)
    assert (entry["input_tokens"], entry["output_tokens"]) == tokens
    assert cost(entry) == tokens[0] * IN + tokens[1] * OUT
    plain = set(usage) == {"prompt_tokens", "completion_tokens"}
    assert entry["basis"] == ("provider" if plain else "estimated")


@pytest.mark.parametrize("usage", [None, {}, "many", {"prompt_tokens": "many"}, {"total_tokens": 14}])
def test_what_is_not_told_is_counted(house: House, usage: Any) -> None:
    house.upstream.play(answer(openai_answer("One two three four five six.", usage=usage)))
    entry = entry_of(house)
    assert entry["basis"] in ("counted", "estimated")
    assert entry["input_tokens"] > 0
    assert entry["output_tokens"] >= 5


def test_a_side_that_is_left_out_is_counted(house: House) -> None:
    house.upstream.play(answer(openai_answer("One two three four five six.", usage={"prompt_tokens": 11})))
    entry = entry_of(house)
    assert entry["input_tokens"] == 11
    assert entry["output_tokens"] >= 5


@pytest.mark.parametrize("count", [-11, -(10**30), 10**10, 10**30])
def test_a_count_that_cannot_be_is_counted_here(house: House, count: int) -> None:
    bad = {"prompt_tokens": count, "completion_tokens": count}
    house.upstream.play(answer(openai_answer("One two three four five six.", usage=bad)))
    entry = entry_of(house)
    assert 0 < entry["input_tokens"] < 100
    assert 5 <= entry["output_tokens"] < 20
    assert cost(entry) == entry["input_tokens"] * IN + entry["output_tokens"] * OUT


def test_an_empty_answer_is_told_as_it_is(house: House) -> None:
    house.upstream.play(answer(openai_answer("", usage={"prompt_tokens": 11, "completion_tokens": 0})))
    entry = entry_of(house)
    assert (entry["input_tokens"], entry["output_tokens"], entry["basis"]) == (11, 0, "provider")


def with_usage(pieces: list[dict[str, Any]], *usages: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The pieces, each beside the usage told with it."""
    return [piece | ({"usage": usage} if usage else {}) for piece, usage in zip(pieces, usages, strict=False)]


@pytest.mark.parametrize("last", [{"prompt_tokens": 11, "completion_tokens": 3}, {"prompt_tokens": 0}, {}, None])
def test_usage_told_twice_or_growing_in_a_stream_counts_once(house: House, last: Any) -> None:
    pieces = openai_chunks("Hel", "lo.", usage=False)
    grown = [{"prompt_tokens": 11, "completion_tokens": count} for count in (0, 1, 2, 3)]
    end = {"id": "chatcmpl-1", "model": "gpt-4-0613", "choices": [], "usage": last}
    house.upstream.play(events(*with_usage(pieces, *grown), end, end))
    entry = entry_of(house, stream=True)
    assert (entry["input_tokens"], entry["output_tokens"], entry["basis"]) == (11, 3, "provider")
    assert cost(entry) == 11 * IN + 3 * OUT


def test_a_count_that_sinks_in_a_stream_is_flagged(house: House) -> None:
    pieces = openai_chunks("Hel", "lo.", usage=False)
    told = [{"prompt_tokens": 11, "completion_tokens": count} for count in (7, 3)]
    house.upstream.play(events(*with_usage(pieces, *told)))
    entry = entry_of(house, stream=True)
    assert (entry["output_tokens"], entry["flags"]) == (3, "usage_sank")


def test_more_cached_than_input_is_no_negative_saving(house: House) -> None:
    odd = {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 1000}}
    house.upstream.play(answer(openai_answer("One.", usage=odd)))
    assert "cached_above_input" in entry_of(house)["flags"]
    methods = {item["method"]: item["saved_usd"] for item in house.ask("GET", "/savings").body["methods"]}
    assert methods["prompt_cache"] >= 0


def test_a_stream_that_tells_nothing_is_counted(house: House) -> None:
    house.upstream.play(events(*openai_chunks("One two three ", "four five six.", usage=False)))
    entry = entry_of(house, stream=True)
    assert entry["basis"] in ("counted", "estimated")
    assert entry["output_tokens"] >= 5


@pytest.mark.parametrize(
    ("usage", "flag"),
    [
        ({"prompt_tokens": -5}, "negative_input_tokens"),
        ({"prompt_tokens": 10**14}, "absurd_input_tokens"),
        ({"prompt_tokens": "many"}, "usage_missing"),
        ({}, "usage_missing"),
        (None, "usage_missing"),
        ({"prompt_tokens": 4, "total_tokens": 4}, ""),
    ],
)
def test_odd_usage_of_embeddings_is_estimated_and_flagged(house: House, usage: Any, flag: str) -> None:
    vectors = [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}]
    house.upstream.play(answer({"object": "list", "model": "m", "data": vectors, "usage": usage}))
    found = house.ask("POST", "/v1/embeddings", {"model": "t-embed", "input": "Hello there"})
    assert found.status == 200, found.body
    assert found.headers.get("x-gateway-usage-flags", "") == flag
    assert 0 < Decimal(found.headers["x-gateway-cost-usd"]) < Decimal("0.00001")
