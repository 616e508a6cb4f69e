"""What a call cost less than it would have, each against a baseline that is stated. Pure.

Each is worked out when the call is settled, with the price card that the call was priced by, and kept with
its entry; nothing of it is guessed later. An amount is below zero where a thing cost more than it saved: that
is counted too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from gateway.ledger.price_card import PriceCard
from gateway.ledger.pricing import cost_llm, repaired
from gateway.models.llm_models import Usage

#: Each way of saving, and what it is measured against.
METHODS: Mapping[str, str] = MappingProxyType(
    {
        "exact_cache": "the price now of what the kept answer used when it was made, at the model that made it",
        "semantic_cache": "the same; what its embeddings cost stands in the entries of their own model",
        "prompt_cache": "the same call with all of its input at the price of input that is not cached",
        "batch_discount": "the same request at the price of a single call",
        "compaction": "the same call with the tokens that were left out of its input, at the price of plain input",
        "selection": "the same tokens at the candidate that fitted and was expected to be the best",
    }
)


class Saving(Struct, frozen=True):
    """What one way saved of one call, or of several: units, and the tokens it is about."""

    method: str
    amount: int
    tokens: int = 0
    calls: int = 1


def savings_of_note(note: Mapping[str, Any]) -> Iterator[Saving]:
    """What the record of a call says was saved; see ``note_of``."""
    for method, told in note.get("saved", {}).items():
        yield Saving(method, int(told["units"]), int(told["tokens"]))


def note_of(saved: list[Saving]) -> dict[str, Any]:
    """The savings as the record of the call has them; nothing where there are none."""
    if not saved:
        return {}
    return {"saved": {item.method: {"units": item.amount, "tokens": item.tokens} for item in saved}}


def saved_by_prompt_cache(card: PriceCard, usage: Usage, cost: int, micros: int = 0) -> list[Saving]:
    """What the provider's own cache saved, less what writing to it cost."""
    if not usage.cached_tokens and not usage.cache_write_tokens:
        return []
    plain = replace(usage, cached_tokens=0, cache_write_tokens=0)
    return [Saving("prompt_cache", cost_llm(card, plain, seconds_micros=micros) - cost, usage.cached_tokens)]


def saved_by_compaction(card: PriceCard, usage: Usage, cost: int, tokens: int, micros: int = 0) -> list[Saving]:
    """What ``tokens`` fewer of input saved; they would have been read at the price of input."""
    if tokens <= 0:
        return []
    longer = replace(usage, input_tokens=usage.input_tokens + tokens)
    return [Saving("compaction", cost_llm(card, longer, seconds_micros=micros) - cost, tokens)]


def saved_by_call(
    card_of: Callable[[Usage], PriceCard],
    best: PriceCard | None,
    left_out: int,
    usage: Usage,
    cost: int,
    micros: int = 0,
) -> list[Saving]:
    """All that a call to a provider saved: ``card_of`` is what it was charged by, ``left_out`` tokens were left out of
    its input, and ``best`` is the card of the candidate that was passed over."""
    if best is None and not (left_out or usage.cached_tokens or usage.cache_write_tokens):
        return []
    card = card_of(usage)
    usage, _ = repaired(usage)  # as it was charged
    return [
        *saved_by_prompt_cache(card, usage, cost, micros),
        *saved_by_compaction(card, usage, cost, left_out, micros),
        *saved_by_selection(best, usage, cost, micros),
    ]


def saved_by_selection(best: PriceCard | None, usage: Usage, cost: int, micros: int = 0) -> list[Saving]:
    """What the choice saved against the card of the best candidate; ``None`` where it was that one."""
    if best is None:
        return []
    return [Saving("selection", cost_llm(best, usage, seconds_micros=micros) - cost, usage.total_tokens)]


def saved_by_answer_cache(card: PriceCard, used: Usage, *, alike: bool) -> list[Saving]:
    """What an answer from this gateway's cache saved: all of what making it again would have cost."""
    method = "semantic_cache" if alike else "exact_cache"
    return [Saving(method, cost_llm(card, used), used.total_tokens)]
