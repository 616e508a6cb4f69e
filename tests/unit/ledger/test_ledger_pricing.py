"""Prices: against figures typed in by hand from the providers' public lists, and the rules around them."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.money_kit import NOON
from gateway.errors import ConfigurationInvalid, PriceUnknown
from gateway.ledger.price_card import PriceCard, Rates, Tier
from gateway.ledger.pricing import (
    card_for_llm,
    card_for_ml,
    cost_llm,
    cost_ml,
    local_card,
    repaired,
    worst_case,
    worst_case_ml,
)
from gateway.models.llm_models import Usage
from gateway.money import units

# provider, model as it is called upstream, USD a million: input, output, cached input (None: no own price)
PUBLIC_PRICES = [
    ("openai", "gpt-4", "30", "60", None),
    ("openai", "gpt-4-0613", "30", "60", None),
    ("openai", "gpt-4-turbo", "10", "30", None),
    ("openai", "gpt-3.5-turbo", "0.50", "1.50", None),
    ("openai", "gpt-4o", "2.50", "10", "1.25"),
    ("openai", "gpt-4o-mini", "0.15", "0.60", "0.075"),
    ("openai", "gpt-4.1", "2", "8", "0.50"),
    ("openai", "gpt-4.1-mini", "0.40", "1.60", "0.10"),
    ("openai", "o1", "15", "60", "7.50"),
    ("openai", "o3-mini", "1.10", "4.40", "0.55"),
    ("openai", "gpt-5", "1.25", "10", "0.125"),
    ("anthropic", "claude-3-sonnet-20240229", "3", "15", None),
    ("anthropic", "claude-3-haiku-20240307", "0.25", "1.25", "0.03"),
    ("anthropic", "claude-3-opus-20240229", "15", "75", "1.50"),
    ("anthropic", "claude-3-5-sonnet-20241022", "3", "15", "0.30"),
    ("anthropic", "claude-3-5-haiku-20241022", "0.80", "4", "0.08"),
    ("anthropic", "claude-sonnet-4-20250514", "3", "15", "0.30"),
    ("google", "gemini-2.0-flash", "0.10", "0.40", "0.025"),
]


@pytest.mark.parametrize(("provider", "model", "price_in", "price_out", "price_cached"), PUBLIC_PRICES)
def test_public_prices(provider: str, model: str, price_in: str, price_out: str, price_cached: str | None) -> None:
    card = card_for_llm(model, provider, model, None, NOON)
    expected = Decimal(price_in) * 7_001 + Decimal(price_out) * 3_003
    assert cost_llm(card, Usage(input_tokens=7_001, output_tokens=3_003)) == units(expected / 10**6)
    if price_cached is not None:
        expected = Decimal(price_in) * 6_001 + Decimal(price_cached) * 1_000
        assert cost_llm(card, Usage(input_tokens=7_001, cached_tokens=1_000)) == units(expected / 10**6)
    assert card.name.startswith(f"genai-prices 0.2.3: {provider}/")


def test_embedding_and_cache_writes() -> None:
    embedding = card_for_llm("e", "openai", "text-embedding-3-small", None, NOON)
    assert cost_llm(embedding, Usage(input_tokens=1_000_000)) == units("0.02")
    haiku = card_for_llm("h", "anthropic", "claude-3-5-haiku-20241022", None, NOON)
    assert cost_llm(haiku, Usage(input_tokens=1_000_000, cache_write_tokens=1_000_000)) == units("1")


def test_long_inputs_meet_the_next_tier() -> None:
    card = card_for_llm("gemini", "google", "gemini-1.5-flash", None, NOON)
    assert cost_llm(card, Usage(input_tokens=128_000)) == units("0.0096")
    assert cost_llm(card, Usage(input_tokens=128_001)) == units(Decimal("0.15") * 128_001 / 10**6)


def test_price_in_force_on_the_day() -> None:
    """o3 fell from 10 and 40 to 2 and 8 USD a million on 10 June 2025."""
    eve, day = 1_749_513_599_000_000, 1_749_513_600_000_000
    before, after = (card_for_llm("o3", "openai", "o3", None, at) for at in (eve, day))
    assert [before.input_per_million, before.output_per_million] == [10, 40]
    assert [after.input_per_million, after.output_per_million] == [2, 8]
    assert after.name == "genai-prices 0.2.3: openai/o3@2025-06-10"


@pytest.mark.parametrize(
    ("provider_type", "model"),
    [
        ("openai", "gpt-4-nonsense"),
        ("openai_compatible", "gpt-4"),
        ("anthropic", "gpt-4"),
        ("", "gpt-4"),
        ("vllm", "x"),
    ],
)
def test_unknown_price_is_refused(provider_type: str, model: str) -> None:
    with pytest.raises(PriceUnknown) as caught:
        card_for_llm("house", provider_type, model, None, NOON)
    assert caught.value.details["model"] == "house"
    with pytest.raises(PriceUnknown):
        card_for_ml("scorer", "sagemaker", None, NOON)


@pytest.mark.parametrize("provider_type", ["local", "llama_cpp"])
def test_own_models_have_a_stated_price_of_zero(provider_type: str) -> None:
    card = card_for_llm("smollm2", provider_type, "", None, NOON)
    assert card == local_card() == card_for_ml("risk-classifier", provider_type, None, NOON)
    assert worst_case(card, input_tokens=10**6, max_output_tokens=10**6) == 0
    assert cost_llm(card, Usage(input_tokens=5, output_tokens=5)) == cost_ml(card, 10**6, 10) == 0


def test_operators_price_wins_from_its_day_on() -> None:
    price = {"input_per_million": 0.20, "output_per_million": "0.60", "source": "cost centre 17"}
    card = card_for_llm("house-llm", "vllm", "mixtral", price | {"valid_from": date(2026, 1, 1)}, NOON)
    assert card.name == "models.yaml: cost centre 17@2026-01-01"
    assert cost_llm(card, Usage(input_tokens=3, output_tokens=2)) == 3 * 2_000 + 2 * 6_000
    with pytest.raises(PriceUnknown):
        card_for_llm("house-llm", "vllm", "mixtral", price | {"valid_from": "2026-03-05"}, NOON)
    local = card_for_llm("smollm2", "llama_cpp", "", price, NOON)
    assert local.input_per_million == Decimal("0.2")


@pytest.mark.parametrize(
    "price",
    [
        {},
        {"output_per_million": 1},
        {"input_per_million": -1},
        {"input_per_million": "NaN"},
        {"input_per_million": "cheap"},
        {"input_per_million": True},
        {"input_per_million": "1e-30"},
        {"input_per_milion": 1},
        {"input_per_million": 1, "valid_from": "soon"},
        {"input_per_million": 1, "valid_from": 3},
    ],
)
def test_bad_override_is_refused(price: dict[str, object]) -> None:
    with pytest.raises(ConfigurationInvalid, match="house-llm"):
        card_for_llm("house-llm", "vllm", "mixtral", price, NOON)


def test_calls_seconds_and_rows() -> None:
    card = card_for_ml(
        "endpoint", "sagemaker", {"per_call": "0.0001", "per_second": "0.0002", "per_row": "0.00001"}, NOON
    )
    assert cost_ml(card, 2_500_000, 3) == units("0.0001") + units("0.0005") + units("0.00003")
    assert worst_case_ml(card, max_seconds=2.5, rows=3) == cost_ml(card, 2_500_000, 3)
    with pytest.raises(ValueError, match="max_seconds"):
        worst_case_ml(card, rows=3)


@pytest.mark.parametrize(
    ("usage", "sound", "flags"),
    [
        (Usage(10, 5), Usage(10, 5), ()),
        (Usage(-3, 5), Usage(0, 5), ("negative_input_tokens",)),
        (Usage(10, 5, cached_tokens=12), Usage(12, 5, cached_tokens=12), ("cached_above_input",)),
        (Usage(10, 5, 6, 6), Usage(12, 5, 6, 6), ("cached_above_input",)),
        (Usage(10, 5, reasoning_tokens=9), Usage(10, 9, reasoning_tokens=9), ("reasoning_above_output",)),
        (Usage(10**15, 0), Usage(10**9, 0), ("absurd_input_tokens",)),
    ],
)
def test_impossible_usage_is_repaired_by_rule(usage: Usage, sound: Usage, flags: tuple[str, ...]) -> None:
    assert repaired(usage) == (sound, flags)


def test_worst_case_names_every_part() -> None:
    card = card_for_llm("c", "anthropic", "claude-3-5-haiku-20241022", None, NOON)
    # 1,000 input tokens written to the one-hour cache at 1.60 a million, two answers of 500 tokens at 4
    assert worst_case(card, input_tokens=1_000, max_output_tokens=500, n=2) == units("0.0016") + units("0.004")
    plain = worst_case(card, input_tokens=1_000, max_output_tokens=500, n=2, cache_write=False)
    assert plain == units("0.0008") + units("0.004")


_price = st.decimals(min_value=0, max_value=1000, places=6)
_rates = st.builds(
    Rates,
    input_per_million=_price,
    output_per_million=st.none() | _price,
    cached_input_per_million=st.none() | _price,
    cache_write_per_million=st.none() | _price,
    cache_write_long_per_million=st.none() | _price,
    reasoning_per_million=st.none() | _price,
)


def _card(base: Rates, tiers: list[tuple[int, Rates]]) -> PriceCard:
    return PriceCard(
        name="drawn",
        source="test",
        input_per_million=base.input_per_million,
        output_per_million=base.output_per_million,
        cached_input_per_million=base.cached_input_per_million,
        cache_write_per_million=base.cache_write_per_million,
        cache_write_long_per_million=base.cache_write_long_per_million,
        reasoning_per_million=base.reasoning_per_million,
        tiers=tuple(Tier(start, rates) for start, rates in sorted(tiers, key=lambda item: item[0])),
    )


_cards = st.builds(_card, _rates, st.lists(st.tuples(st.integers(0, 5000), _rates), max_size=2))


@given(
    card=_cards,
    tokens=st.tuples(*[st.integers(0, 4000)] * 5),
    room=st.tuples(st.integers(0, 50), st.integers(0, 50)),
)
def test_no_usage_within_bounds_costs_more_than_the_worst_case(
    card: PriceCard, tokens: tuple[int, ...], room: tuple[int, int]
) -> None:
    fresh, cached, written, text, reasoning = tokens
    usage = Usage(fresh + cached + written, text + reasoning, cached, written, reasoning)
    bound = worst_case(card, input_tokens=usage.input_tokens + room[0], max_output_tokens=usage.output_tokens + room[1])
    assert 0 <= cost_llm(card, usage) <= bound


@given(card=_cards, counts=st.lists(st.integers(-(10**12), 10**12), min_size=5, max_size=5))
def test_no_usage_costs_less_than_nothing(card: PriceCard, counts: list[int]) -> None:
    fresh, output, cached, written, reasoning = counts
    assert cost_llm(card, Usage(fresh, output, cached, written, reasoning)) >= 0
