"""Forty-eight models × random usages, priced from their providers' own bytes, against a table typed by hand.

The table holds USD a million tokens as the providers' price pages stated them on the day below, and the
arithmetic here is another than the gateway's: fractions of a dollar, class by class.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any, NamedTuple

import pytest

from gateway.ledger.pricing import card_for_llm, cost_llm
from gateway.models.llm_models import Usage
from gateway.money import UNITS_PER_USD
from gateway.providers import anthropic_wire, bedrock_wire, gemini_wire, openai_wire

DAY = int(datetime(2026, 2, 1, 12, tzinfo=UTC).timestamp()) * 10**6
TABLE = """
openai     gpt-4                          30      60     -       -       -
openai     gpt-4-turbo                    10      30     -       -       -
openai     gpt-4o                         2.50    10     1.25    -       -
openai     gpt-4o-mini                    0.15    0.60   0.075   -       -
openai     gpt-3.5-turbo                  0.50    1.50   -       -       -
openai     gpt-4.1                        2       8      0.50    -       -
openai     gpt-4.1-mini                   0.40    1.60   0.10    -       -
openai     gpt-4.1-nano                   0.10    0.40   0.025   -       -
openai     o1                             15      60     7.50    -       -
openai     o1-mini                        1.10    4.40   0.55    -       -
openai     o3                             2       8      0.50    -       -
openai     o3-mini                        1.10    4.40   0.55    -       -
openai     o4-mini                        1.10    4.40   0.275   -       -
openai     gpt-5                          1.25    10     0.125   -       -
openai     gpt-5-mini                     0.25    2      0.025   -       -
openai     gpt-5-nano                     0.05    0.40   0.005   -       -
anthropic  claude-3-haiku-20240307        0.25    1.25   0.03    0.30    0.50
anthropic  claude-3-opus-20240229         15      75     1.50    18.75   30
anthropic  claude-3-sonnet-20240229       3       15     0.30    3.75    6
anthropic  claude-3-5-sonnet-20241022     3       15     0.30    3.75    6
anthropic  claude-3-5-haiku-20241022      0.80    4      0.08    1       1.60
anthropic  claude-3-7-sonnet-20250219     3       15     0.30    3.75    6
anthropic  claude-sonnet-4-20250514       3       15     0.30    3.75    6
anthropic  claude-opus-4-20250514         15      75     1.50    18.75   30
anthropic  claude-opus-4-1-20250805       15      75     1.50    18.75   30
anthropic  claude-sonnet-4-5-20250929     3       15     0.30    3.75    6     200000:6:22.50:0.60:7.50:12
anthropic  claude-haiku-4-5-20251001      1       5      0.10    1.25    2
anthropic  claude-opus-4-5-20251101       5       25     0.50    6.25    10
gemini     gemini-1.5-pro                 1.25    5      -       -       -     128000:2.50:10:-:-:-
gemini     gemini-1.5-flash               0.075   0.30   0.01875 -       -     128000:0.15:0.60:0.0375:-:-
gemini     gemini-2.0-flash               0.10    0.40   0.025   -       -
gemini     gemini-2.0-flash-lite          0.075   0.30   -       -       -
gemini     gemini-2.5-pro                 1.25    10     0.125   -       -     200000:2.50:15:0.25:-:-
gemini     gemini-2.5-flash               0.30    2.50   0.03    -       -
gemini     gemini-2.5-flash-lite          0.10    0.40   0.01    -       -
mistral    mistral-small-latest           0.10    0.30   -       -       -
mistral    codestral-latest               0.30    0.90   -       -       -
groq       llama-3.3-70b-versatile        0.59    0.79   -       -       -
groq       llama-3.1-8b-instant           0.05    0.08   -       -       -
x-ai       grok-3                         3       15     0.75    -       -
x-ai       grok-4-0709                    3       15     0.75    -       -
x-ai       grok-3-mini                    0.30    0.50   0.075   -       -
cohere     command-r                      0.15    0.60   -       -       -
cohere     command-r-plus                 2.50    10     -       -       -
cohere     command-r7b-12-2024            0.0375  0.15   -       -       -
bedrock    amazon.nova-pro-v1:0           0.80    3.20   0.20    -       -
bedrock    amazon.nova-lite-v1:0          0.06    0.24   0.015   -       -
bedrock    amazon.nova-micro-v1:0         0.035   0.14   0.00875 -       -
"""
#: USD a million of sound in the input, where it costs other than text.
SOUND = {"gemini-2.0-flash": "0.70", "gemini-2.5-flash": "1", "gemini-2.5-flash-lite": "0.30"}
ROWS = [line.split() for line in TABLE.strip().splitlines()]


class Used(NamedTuple):
    """Tokens as they truly were, no token in two of them; ``sound`` is part of ``fresh``."""

    fresh: int
    cached: int
    written: int
    written_long: int
    text: int
    thought: int
    sound: int = 0


def drawn(chance: random.Random, provider: str) -> Used:
    most = 250_000 if chance.random() < 0.25 else 60_000

    def count() -> int:
        return chance.choice([0, 1, 7, chance.randrange(1_000), chance.randrange(most)])

    anthropic = provider == "anthropic"
    fresh = count() + 1
    return Used(
        fresh=fresh,
        cached=count(),
        written=count() if anthropic else 0,
        written_long=count() if anthropic else 0,
        text=count() + 1,
        thought=0 if anthropic or provider == "bedrock" else count(),
        sound=chance.randrange(fresh + 1) if provider == "gemini" else 0,
    )


def told(provider: str, used: Used) -> Usage:
    """The usage, written as the provider does and read as the gateway does."""
    raw: dict[str, Any]
    if provider == "anthropic":
        raw = {
            "input_tokens": used.fresh,
            "cache_read_input_tokens": used.cached,
            "cache_creation_input_tokens": used.written + used.written_long,
            "cache_creation": {
                "ephemeral_5m_input_tokens": used.written,
                "ephemeral_1h_input_tokens": used.written_long,
            },
            "output_tokens": used.text,
        }
        return anthropic_wire.decode_usage(raw)
    if provider == "gemini":
        raw = {
            "promptTokenCount": used.fresh + used.cached,
            "cachedContentTokenCount": used.cached,
            "candidatesTokenCount": used.text,
            "thoughtsTokenCount": used.thought,
            "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": used.sound}],
        }
        return gemini_wire.decode_usage(raw)
    if provider == "bedrock":
        raw = {"inputTokens": used.fresh, "cacheReadInputTokens": used.cached, "outputTokens": used.text}
        return bedrock_wire.decode_usage(raw)
    raw = {
        "prompt_tokens": used.fresh + used.cached,
        "completion_tokens": used.text + used.thought,
        "prompt_tokens_details": {"cached_tokens": used.cached},
        "completion_tokens_details": {"reasoning_tokens": used.thought},
    }
    return openai_wire.decode_usage(raw)


def by_hand(row: list[str], used: Used) -> int:
    """The cost in units, from the table alone."""
    prices = row[2:7]
    whole = used.fresh + used.cached + used.written + used.written_long
    for tier in row[7:]:
        above, *dearer = tier.split(":")
        if whole > int(above):
            prices = dearer
    text_in, out = Fraction(prices[0]), Fraction(prices[1])
    read, write, write_long = (text_in if price == "-" else Fraction(price) for price in prices[2:5])
    total = read * used.cached + write * used.written + write_long * used.written_long
    total += out * (used.text + used.thought)
    sound = Fraction(SOUND[row[1]]) if row[1] in SOUND else text_in
    total += text_in * (used.fresh - used.sound) + sound * used.sound
    return round(total / 10**6 * UNITS_PER_USD)


@pytest.mark.parametrize("row", ROWS, ids=[row[1] for row in ROWS])
def test_every_call_costs_what_the_table_says(row: list[str]) -> None:
    provider, model = row[:2]
    chance = random.Random(model)
    for _ in range(200):
        used = drawn(chance, provider)
        card = card_for_llm("house", provider, model, None, DAY)
        assert cost_llm(card, told(provider, used)) == by_hand(row, used), (used, card)


def test_the_table_has_forty_models() -> None:
    assert len({row[1] for row in ROWS}) >= 40
