"""What was saved and what could be: the ledger's own figures, callers' feedback, and the price cards of now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
from msgspec import Struct

from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.ledger.advice import Advice, Rated, advised
from gateway.ledger.pricing import card_for_llm, cost_llm
from gateway.ledger.savings import METHODS, Saving
from gateway.ledger.usage import UsageService
from gateway.ledger.usage_ask import UsageAsk
from gateway.models.llm_models import Usage
from gateway.registry.catalogue import Catalogue


class Ratings(Protocol):
    """Feedback with the calls that it is about; see ``store.rating_store``."""

    def ratings(self, ask: UsageAsk) -> list[Rated]: ...


class SavingReport(Struct, frozen=True):
    """What was spent, and what each way saved; units."""

    spent: int
    calls: int
    savings: tuple[Saving, ...]
    advice: tuple[Advice, ...]


class SavingService:
    """Reports. Every method blocks on the database."""

    def __init__(self, usage: UsageService, ratings: Ratings, catalogue: Callable[[], Catalogue], clock: Clock) -> None:
        self._usage = usage
        self._ratings = ratings
        self._catalogue = catalogue
        self._clock = clock

    def report(self, ask: UsageAsk) -> SavingReport:
        """The savings over the time and calls of ``ask``, a row for every way, and the advice on those calls."""
        by = msgspec.structs.replace(ask, by=("model", "team", "workflow_id"))
        llm = msgspec.structs.replace(by, where={**ask.where, "kind": "llm"})
        (total,) = self._usage.summary(msgspec.structs.replace(ask, by=()))
        told = {item.method: item for item in self._usage.savings(ask)}
        savings = [told.get(method) or Saving(method, 0, 0, 0) for method in METHODS]
        advice = advised(self._usage.summary(llm), self.ratings(ask), self._price)
        return SavingReport(total.sums["cost"], total.sums["calls"], tuple(savings), tuple(advice))

    def ratings(self, ask: UsageAsk) -> Sequence[Rated]:
        """The scores of these calls by model, team and workflow."""
        return self._ratings.ratings(ask)

    def _price(self, model: str, usage: Usage) -> tuple[int, str] | None:
        catalogue = self._catalogue()
        spec = catalogue.models.get(model)
        if spec is None or spec.type != "llm" or spec.route is not None:
            return None
        provider = catalogue.provider(spec.provider)
        try:
            card = card_for_llm(spec.name, provider.price_list, spec.upstream_model, spec.price, self._clock.now())
        except GatewayError:
            return None
        return cost_llm(card, usage), card.name
