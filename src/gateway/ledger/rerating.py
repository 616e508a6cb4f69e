"""Charging again what was charged by a price that was wrong: the difference, as correction entries.

Nothing that was entered changes. An entry's usage is priced by the card that counts, as known now, for the
time of the call; what that differs from the entry and its corrections so far becomes one more correction,
entered now. So the sums of a month that is over stay what they were, digit by digit, and the difference is
in the month that found it. Doing it again finds no difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from gateway.ledger.entry import Entry
from gateway.ledger.price_card import PriceCard
from gateway.ledger.pricing import cost_llm, cost_ml
from gateway.models.llm_models import Usage, UsageDetail

#: What the correction of a re-rated entry has for an outcome.
RERATED = "rerated"


class Charged(Struct, frozen=True):
    """An entry, and what its corrections so far sum to (units)."""

    entry: Entry
    corrected: int = 0
    corrections: int = 0

    @property
    def cost(self) -> int:
        return self.entry.cost + self.corrected


class RerateStore(Protocol):
    """The entries of calls and their corrections; see ``store.rerate_store``."""

    def charged(
        self, since: int, until: int, team: str | None, model: str | None, after: tuple[int, str], limit: int
    ) -> list[Charged]:
        """Calls charged in that time, oldest first, beginning after the one of (time, entry id) ``after``."""
        ...

    def book(self, corrections: Sequence[Entry]) -> None:
        """Enters them, all or none. ``Conflict`` where somebody else did so meanwhile."""
        ...


def usage_of(entry: Entry) -> Usage:
    """What an entry says that its call used."""
    return Usage(
        entry.input_tokens,
        entry.output_tokens,
        entry.cached_tokens,
        entry.cache_write_tokens,
        entry.reasoning_tokens,
        detail=msgspec.json.decode(entry.usage_detail, type=UsageDetail) if entry.usage_detail else None,
    )


def left_out(entry: Entry, card: PriceCard | None) -> str:
    """Why an entry cannot be priced again; empty where it can."""
    if entry.outcome == "unresolved":
        return "nobody knows what it used: charged at its reservation"
    if card is None:
        return "no price is known for it now"
    if entry.kind == "llm" and card.per_second and not entry.inference_micros:
        return "charged by time now, which its entry does not keep: its price then counted none"
    return ""


def cost_again(entry: Entry, card: PriceCard) -> int:
    """What the call costs by that card, in units."""
    if entry.kind == "ml":
        return cost_ml(card, entry.inference_micros, entry.rows)
    return cost_llm(card, usage_of(entry), seconds_micros=entry.inference_micros)


def correction_of(charged: Charged, card: str, cost: int, *, entry_id: str, at: int) -> Entry:
    """The entry over the difference to ``cost``, beside the same usage: it has none of its own."""
    first = charged.entry
    return replace(
        first,
        entry_id=entry_id,
        cause=f"{first.cause}#rerated{charged.corrections + 1}",
        kind="correction",
        cost=cost - charged.cost,
        price_card=card,
        outcome=RERATED,
        input_tokens=0,
        output_tokens=0,
        cached_tokens=0,
        cache_write_tokens=0,
        reasoning_tokens=0,
        inference_micros=0,
        rows=0,
        flags="",
        usage_detail="",
        at=at,
    )
