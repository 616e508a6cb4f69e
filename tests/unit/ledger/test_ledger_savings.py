"""What is said to be saved is worked out from the usage as it was charged."""

from __future__ import annotations

from datetime import UTC, datetime

from gateway.ledger.pricing import card_for_llm, cost_llm
from gateway.ledger.savings import saved_by_call
from gateway.models.llm_models import Usage

NOON = int(datetime(2026, 2, 1, 12, tzinfo=UTC).timestamp()) * 10**6
STATED = {"input_per_million": "1", "cached_input_per_million": "0.5", "output_per_million": "2", "source": "contract"}


def test_usage_that_cannot_be_saves_what_its_repaired_form_does() -> None:
    card = card_for_llm("m", "openai", "m", STATED, NOON)
    impossible, repaired = Usage(10, 5, 500), Usage(500, 5, 500)
    assert cost_llm(card, impossible) == cost_llm(card, repaired)
    (told,) = saved_by_call(lambda _: card, None, 0, impossible, cost_llm(card, impossible))
    assert told.amount == cost_llm(card, Usage(500, 5)) - cost_llm(card, repaired) > 0
