"""What an answer says of how it was made is what is charged: its service tier, the fast mode, searches."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from fixtures.house import House, running_house
from fixtures.price_kit import MARK, card, edit, entry, money, usage
from fixtures.upstream import answer, anthropic_answer, anthropic_events, events, openai_answer, openai_chunks
from gateway.ledger.entry import UsageFilter

MODELS = """
  p-tiers:
    type: llm
    provider: openai
    upstream_model: tiers
    price:
      input_per_million: "10"
      output_per_million: "20"
      source: contract
      service_tiers: {flex: {input_per_million: "5", output_per_million: "10"}}
  p-claude:
    type: llm
    provider: anthropic
    upstream_model: claude-x
    max_output_tokens: 9
    price: {input_per_million: "10", output_per_million: "20", source: contract,
             service_tiers: {flex: {input_per_million: "5", output_per_million: "10"}}}
  p-fast: {type: llm, provider: anthropic, upstream_model: claude-opus-4-8, max_output_tokens: 9}
  p-search:
    type: llm
    provider: anthropic
    upstream_model: claude-x
    max_output_tokens: 9
    price: {input_per_million: "10", output_per_million: "20", per_web_search: "0.5", source: contract}
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_house(tmp_path_factory.mktemp("tiers")) as running:
        edit(running, MARK, MODELS.lstrip("\n") + MARK)
        yield running


@pytest.mark.parametrize("relayed", [True, False])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("asked", "told", "cost", "card"),
    [
        ("flex", "default", "0.0012", "models.yaml: contract"),
        ("flex", "flex", "0.0006", "models.yaml: contract tier=flex"),
        ("flex", None, "0.0006", "models.yaml: contract tier=flex"),
        ("auto", "default", "0.0012", "models.yaml: contract"),
        (None, "flex", "0.0006", "models.yaml: contract tier=flex"),
        (None, "scale", "0.0012", "models.yaml: contract"),
    ],
)
def test_the_tier_of_the_answer_is_charged(
    house: House, asked: str | None, told: str | None, cost: str, card: str, stream: bool, relayed: bool
) -> None:
    tier: dict[str, Any] = {} if told is None else {"service_tier": told}
    odd: dict[str, Any] = {} if relayed else {"odd": {"nested": []}, "system_fingerprint": None}
    if stream:
        chunks = [{**chunk, **tier, **odd} for chunk in openai_chunks("Hi.")]
        chunks[-1]["usage"] = usage(100, 10)
        house.upstream.play(events(*chunks))
    else:
        house.upstream.play(answer(openai_answer(usage=usage(100, 10), **tier, **odd)))
    asking = {} if asked is None else {"service_tier": asked}
    made = entry(house, "p-tiers", stream=stream, **asking)
    assert (money(made["cost"]), made["price_card"]) == (Decimal(cost), card)


def test_a_tier_that_the_provider_is_not_asked_for_is_not_charged(house: House) -> None:
    house.upstream.play(answer(anthropic_answer()))
    plain = entry(house, "p-claude")
    house.upstream.play(answer(anthropic_answer()))
    flex = entry(house, "p-claude", service_tier="flex")
    assert (flex["price_card"], flex["cost"]) == (plain["price_card"], plain["cost"])


@pytest.mark.parametrize("told", ["fast", "standard"])
def test_the_fast_mode_of_anthropic_is_priced_by_what_was_done(house: House, told: str) -> None:
    used = {"input_tokens": 100, "output_tokens": 10, "service_tier": "standard", "speed": told}
    house.upstream.play(answer(anthropic_answer(usage=used)))
    made = entry(house, "p-fast", path="/v1/messages", speed="fast")
    assert made["price_card"].endswith(" tier=fast") == (told == "fast")
    assert money(made["cost"]) == (Decimal("0.0015") if told == "fast" else Decimal("0.00075"))


SEARCH = {"type": "web_search_20250305", "name": "web_search"}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("model", "a_search"), [("p-fast", "0.01"), ("p-search", "0.5")])
def test_searches_of_the_provider_are_charged(house: House, stream: bool, model: str, a_search: str) -> None:
    def cost(searches: int, **tool: Any) -> tuple[Decimal, str]:
        used = {"input_tokens": 100, "output_tokens": 10, "server_tool_use": {"web_search_requests": searches}}
        if stream:
            told = anthropic_events("Hi.")
            told[-2]["usage"] = used
            house.upstream.play(events(*told, named=True, done=False))
        else:
            house.upstream.play(answer(anthropic_answer(usage=used)))
        made = entry(house, model, path="/v1/messages", stream=stream, tools=[SEARCH | tool])
        (kept,) = house.core.ledger.entries(UsageFilter(request_id=made["request_id"]))[0]
        return money(made["cost"]), kept.flags

    nothing, _ = cost(0)
    assert cost(3, max_uses=3) == (nothing + 3 * Decimal(a_search), "")
    assert cost(10) == (nothing + 10 * Decimal(a_search), ""), "ten are set aside where nobody names a bound"
    above, flags = cost(40, max_uses=3)
    assert (above, flags) == (nothing + 40 * Decimal(a_search), "over_reservation")
    assert card(house, model)["card"]["per_web_search"] == float(a_search)
