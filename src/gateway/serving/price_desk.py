"""What every model asks, now or at another time, and what of it needs somebody's eye.

Joins the catalogue (which models there are) with the price cards of the ledger and its newest entries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from gateway.clock import Clock
from gateway.errors import ModelNotFound, PriceUnknown
from gateway.ledger.batch_price import batch_cards
from gateway.ledger.cost_tracker import Ledger
from gateway.ledger.entry import Entry, UsageFilter
from gateway.ledger.price_card import PriceCard, variant_of
from gateway.ledger.pricing import LOCAL_TYPES, card_for_llm, card_for_ml
from gateway.ledger.rerating import cost_again, left_out
from gateway.ledger.stated_prices import NONE_CARD, cards_of, moment
from gateway.registry.catalogue import Catalogue, ModelSpec
from gateway.security.access import Caller

#: What is asked of a language model's price: the others are priced by call, second and row.
TOKEN_TYPES = frozenset({"llm", "embedding", "moderation"})
State = Literal["priced", "local", "none", "unknown"]


class ModelPrice(Struct, frozen=True):
    """The price of one model: its ``card`` at the time that was asked for, ``None`` where nobody states one.

    ``next_from`` is when (microseconds) the operator's next card comes into force. ``charged_by`` is the card
    of the newest entry, ``changed`` whether that call would cost something else by the card of now.
    """

    model: str
    type: str
    provider: str
    state: State
    card: PriceCard | None
    next_from: int | None = None
    charged_by: str = ""
    changed: bool = False


class PriceDesk:
    """Every method blocks on the database or reads files: call it from a thread."""

    def __init__(self, catalogue: Callable[[], Catalogue], ledger: Ledger, clock: Clock) -> None:
        self._catalogue = catalogue
        self._ledger = ledger
        self._clock = clock

    def prices(
        self, caller: Caller, *, model: str | None = None, at: int | None = None, known: int | None = None
    ) -> list[ModelPrice]:
        """What the models that the caller may use ask at the time ``at``, as known at ``known`` (microseconds;
        now, where they are left out). ``ModelNotFound`` for a model that is none, or is not theirs."""
        catalogue, now = self._catalogue(), self._clock.now()
        at = now if at is None else at
        known = at if known is None else known
        if model is not None:
            caller.require_model(model)
            if catalogue.model(model).route is not None:
                raise ModelNotFound(
                    f"{model} is a route: each of its deployments has a price of its own",
                    mend="ask for one of them: GET /models names them",
                    param="model",
                )
        return [
            _price(catalogue, spec, at, known)
            for spec in catalogue.models.values()
            if spec.route is None and caller.may_use_model(spec.name) and model in (None, spec.name)
        ]

    def check(self, caller: Caller) -> list[ModelPrice]:
        """The same as of now, beside what each model was charged by last."""
        caller.require("usage:read_all")
        return [self._beside_last(price) for price in self.prices(caller)]

    def _beside_last(self, price: ModelPrice) -> ModelPrice:
        found, _ = self._ledger.entries(UsageFilter(model=price.model), limit=1)
        if not found:
            return price
        last = found[0]
        return ModelPrice(
            price.model,
            price.type,
            price.provider,
            price.state,
            price.card,
            price.next_from,
            last.price_card,
            price.card is not None and _changed(price.card, last),
        )


def _price(catalogue: Catalogue, spec: ModelSpec, at: int, known: int) -> ModelPrice:
    card, state = card_of(catalogue, spec, at, known), "priced"
    if card is None:
        state = "unknown"
    elif card.name == NONE_CARD:
        state = "none"
    elif spec.price is None and catalogue.provider(spec.provider).type in LOCAL_TYPES:
        state = "local"
    starts = [moment(spec.name, item, "valid_from") or 0 for item in cards_of(spec.name, spec.price)]
    coming = min((start for start in starts if start > at), default=None)
    return ModelPrice(spec.name, spec.type, spec.provider, state, card, coming)  # type: ignore[arg-type]


def card_of(
    catalogue: Catalogue,
    spec: ModelSpec,
    at: int,
    known: int | None = None,
    service_tier: str = "",
    *,
    batch: bool = False,
) -> PriceCard | None:
    """What a call of the model asks at that time, alone or in a ``batch``; ``None`` where nobody states it."""
    provider = catalogue.provider(spec.provider)
    if batch:
        cards = batch_cards(spec.name, provider.price_list, spec.upstream_model, spec.price, at, known=known)
        return None if cards is None else cards[0]
    try:
        if spec.type in TOKEN_TYPES:
            named = (spec.name, provider.price_list, spec.upstream_model, spec.price, at)
            return card_for_llm(*named, known=known, service_tier=service_tier)
        return card_for_ml(spec.name, provider.type, spec.price, at, known=known)
    except PriceUnknown:
        return None


def _changed(card: PriceCard, last: Entry) -> bool:
    name, batch, tier = variant_of(last.price_card)
    if name != card.name:
        return True
    if batch or tier or last.kind == "correction" or left_out(last, card):
        return False
    return cost_again(last, card) != last.cost
