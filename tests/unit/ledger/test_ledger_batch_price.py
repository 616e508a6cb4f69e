"""The price of a batch API: as a row states it, or as the price book knows it, and never a guess."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from fixtures.money_kit import DAY, NOON
from gateway.errors import ConfigurationInvalid
from gateway.ledger.batch_price import batch_cards, check_price
from gateway.ledger.pricing import card_for_llm, cost_llm
from gateway.models.llm_models import Usage
from gateway.money import units

#: A day of which the price book knows batch prices.
LATER = NOON + 250 * DAY
USAGE = Usage(input_tokens=1_000, output_tokens=100, cached_tokens=400)
STATED = {"input_per_million": "10", "output_per_million": "30", "cached_input_per_million": "4"}


@pytest.mark.parametrize(
    ("provider", "model", "price"),
    [  # USD a million: input and output by the providers' public lists of batch prices
        ("openai", "gpt-4o-mini", "0.075 0.30"),
        ("openai", "gpt-5", "0.625 5"),
        ("anthropic", "claude-sonnet-4-5", "1.50 7.50"),
    ],
)
def test_public_prices(provider: str, model: str, price: str) -> None:
    cards = batch_cards(model, provider, model, None, LATER)
    assert cards is not None
    card, full = cards
    assert (card.input_per_million, card.output_per_million) == tuple(Decimal(text) for text in price.split())
    assert (full.input_per_million, full.output_per_million) == tuple(Decimal(text) * 2 for text in price.split())
    assert card.name == f"{full.name} batch"


def test_a_discount_lowers_every_rate() -> None:
    cards = batch_cards("m", "openai", "m", {**STATED, "batch_discount": "0.4"}, NOON)
    assert cards is not None
    assert cost_llm(cards[0], USAGE) == units((600 * Decimal(10) + 400 * 4 + 100 * 30) * Decimal("0.6") / 10**6)
    assert cost_llm(cards[1], USAGE) == units((600 * Decimal(10) + 400 * 4 + 100 * 30) / 10**6)


def test_prices_of_its_own() -> None:
    row = {**STATED, "batch_input_per_million": "3", "batch_output_per_million": "9"}
    cards = batch_cards("m", "openai", "m", row, NOON)
    assert cards is not None
    assert cost_llm(cards[0], USAGE) == units((1_000 * Decimal(3) + 100 * 9) / 10**6)


def test_a_row_may_say_only_what_a_batch_costs() -> None:
    row = {"batch_discount": "0.25"}
    cards = batch_cards("gpt-4o", "openai", "gpt-4o", row, NOON)
    assert cards is not None
    assert cards[1] == card_for_llm("gpt-4o", "openai", "gpt-4o", None, NOON)
    assert cards[0].input_per_million == Decimal("2.50") * Decimal("0.75")


@pytest.mark.parametrize(
    ("provider", "model", "row"),
    [
        ("openai", "unheard-of", None),
        ("openai", "gpt-4o-mini", STATED),  # a price of its own, and not a word of batches
        ("openai", "m", {**STATED, "per_second": "1", "batch_discount": "0.5"}),
        ("nobody", "gpt-4o-mini", None),
    ],
)
def test_what_nobody_states_is_unknown(provider: str, model: str, row: dict[str, Any] | None) -> None:
    assert batch_cards(model, provider, model, row, LATER) is None


@pytest.mark.parametrize(
    "more",
    [
        {"batch_discount": "1"},
        {"batch_discount": -1},
        {"batch_discount": True},
        {"batch_discount": "half"},
        {"batch_discount": "0.5", "batch_input_per_million": "1"},
        {"batch_input_per_million": "1"},
    ],
)
def test_bad_prices_are_named(more: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationInvalid, match="batch"):
        batch_cards("m", "openai", "m", {**STATED, **more}, NOON)


@pytest.mark.parametrize(
    ("price", "predictive", "says"),
    [
        ({}, False, "names no input_per_million"),
        ({"output_per_million": "1"}, False, "names no input_per_million"),
        ({"per_row": "1"}, False, "names no input_per_million"),
        ({"input_per_million": "1"}, True, "names no per_call"),
        ({"input_per_million": "1", "batch_discount": "2"}, False, "batch_discount"),
        ({"batch_discount": "-1"}, False, "batch_discount"),
        ({"input_per_million": "1", "batch_input_per_million": "1"}, False, "batch_output_per_million"),
        (
            {"input_per_million": "1", "input_audio_per_million": "9",
             "tiers": [{"above_input_tokens": 5, "input_per_million": "2"}]},
            False, "no input_audio_per_million in the tier above 5",
        ),
        (
            {"input_per_million": "1", "cached_input_per_million": "0.1",
             "service_tiers": {"flex": {"input_per_million": "2"}, "other": {"input_per_million": "2"}}},
            False, "no cached_input_per_million in service_tiers.flex",
        ),
        ([{"input_per_million": "1"}, {"output_per_million": "1", "valid_from": "2999-01-01"}], False, "names no"),
    ],
)  # fmt: skip
def test_a_price_that_nothing_could_be_charged_by_is_refused(price: Any, predictive: bool, says: str) -> None:
    with pytest.raises(ConfigurationInvalid, match=says):
        check_price("m", price, predictive=predictive)


@pytest.mark.parametrize(
    ("price", "predictive"),
    [(None, False), ("none", True), ({"batch_discount": "0.5"}, False), ({"per_second": "1"}, False),
     ({"per_row": "1"}, True), ({"input_per_million": "1", "batch_discount": "0.5"}, False)],
)  # fmt: skip
def test_a_price_that_can_be_charged_by_is_taken(price: Any, predictive: bool) -> None:
    check_price("m", price, predictive=predictive)
