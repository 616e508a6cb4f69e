"""What a call costs by a provider's batch API: as the operator states it, or as the price book knows it.

A row's ``price`` may say ``batch_discount`` (a share from 0 to 1 that every rate of tokens is lowered by) or
``batch_input_per_million`` and ``batch_output_per_million``. A row that states a price of its own for single
calls and says nothing of batches has no batch price: the book's would not be that of its contract.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from msgspec.structs import replace

from gateway.errors import ConfigurationInvalid, PriceUnknown
from gateway.ledger.price_book import book_card
from gateway.ledger.price_card import BATCH_FIELDS, BATCH_MARK, PriceCard, Rates, Tier
from gateway.ledger.pricing import card_for_llm, check_charges
from gateway.ledger.stated_prices import Stated, cards_of, check_stated, none_card, price_in_force, stated_card

_RATES = Rates.__struct_fields__


def batch_cards(
    model_name: str, provider_type: str, upstream_model: str, stated: Stated, at: int, *, known: int | None = None
) -> tuple[PriceCard, PriceCard] | None:
    """The prices of one request in a batch, and of the same request alone, at the time ``at``, as known at
    ``known`` (microseconds; the same, if left out).

    ``None`` where either is unknown, or where the time that a call takes is charged, which a batch does not
    tell. ``ConfigurationInvalid`` for a bad ``price``.
    """
    try:
        full = card_for_llm(model_name, provider_type, upstream_model, stated, at, known=known)
    except PriceUnknown:
        return None
    if full.per_second:
        return None
    written = price_in_force(model_name, stated, at, known) or {}
    if BATCH_FIELDS & written.keys():
        return _stated(model_name, written, full), full
    if full.name.startswith("models.yaml"):
        return None
    card = book_card(provider_type, upstream_model or model_name, at, batch=True)
    return None if card is None else (card, full)


def check_price(model_name: str, stated: Stated, *, predictive: bool) -> None:
    """``ConfigurationInvalid`` for a ``price`` that a call, alone or in a batch, could not be charged by, now or
    when it comes into force. ``predictive``: whether it is that of one of our own models, which count no tokens."""
    check_stated(model_name, stated)
    for written in cards_of(model_name, stated):
        card = stated_card(model_name, written)
        if card is not None:
            check_charges(model_name, card, predictive=predictive)
        if BATCH_FIELDS & written.keys():
            _stated(model_name, written, card or none_card())


def _stated(model_name: str, override: Mapping[str, Any], full: PriceCard) -> PriceCard:
    name = f"{full.name}{BATCH_MARK}"
    if "batch_discount" in override:
        if len(BATCH_FIELDS & override.keys()) > 1:
            raise _bad(model_name, "says batch_discount and batch prices: one of them is expected")
        discount = _number(model_name, "batch_discount", override["batch_discount"])
        if discount >= 1:
            raise _bad(model_name, "has a bad batch_discount: it is a share such as 0.5")
        tiers = tuple(Tier(tier.above_input_tokens, _lowered(tier.rates, discount)) for tier in full.tiers)
        return replace(full, name=name, tiers=tiers, **_fields(_lowered(full, discount)))
    rates = Rates(
        input_per_million=_number(model_name, "batch_input_per_million", override.get("batch_input_per_million")),
        output_per_million=_number(model_name, "batch_output_per_million", override.get("batch_output_per_million")),
    )
    return replace(full, name=name, tiers=(), **_fields(rates))


def _lowered(rates: Rates | PriceCard, discount: Decimal) -> Rates:
    share = 1 - discount
    return Rates(*(None if price is None else price * share for price in (getattr(rates, name) for name in _RATES)))


def _fields(rates: Rates) -> dict[str, Decimal | None]:
    return {name: getattr(rates, name) for name in _RATES}


def _number(model_name: str, name: str, value: Any) -> Decimal:
    try:
        number = Decimal(str(value)) if not isinstance(value, bool) else Decimal("NaN")
    except InvalidOperation:
        number = Decimal("NaN")
    exponent = number.as_tuple().exponent if number.is_finite() else 0
    if number.is_finite() and 0 <= number <= 10**9 and isinstance(exponent, int) and exponent >= -6:
        return number
    raise _bad(model_name, f"has a bad {name}: a number, 0 or more, with at most 6 decimals")


def _bad(model_name: str, what: str) -> ConfigurationInvalid:
    return ConfigurationInvalid(
        f"models.yaml: the price of {model_name!r} {what}",
        mend="write batch_discount: 0.5, or batch_input_per_million and batch_output_per_million",
    )
