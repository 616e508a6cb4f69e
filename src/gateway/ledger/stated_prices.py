"""Prices that the operator states: the ``price`` of a row of models.yaml as dated price cards.

A ``price`` is one card, a list of them, or ``none`` (the operator says that calls of this model are not
charged). ``valid_from`` is when a price begins to count, ``known_from`` when it was made known here: the card
in force at a time, as known at another, is the one known by then that began last; of two that began together
the one made known last. So a price that was put right later stands beside the one that was charged by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

from gateway.clock import SECOND
from gateway.errors import ConfigurationInvalid
from gateway.ledger.price_card import BATCH_FIELDS, PRICE_DECIMALS, TIER_MARK, PriceCard, Rates, Tier

#: What a row may hold: nothing, a card, cards, or ``none``.
Stated: TypeAlias = Mapping[str, Any] | Sequence[Mapping[str, Any]] | str | None

NONE = "none"
NONE_CARD = "models.yaml: none"
_RATES = Rates.__struct_fields__
_WHOLE_CALL = ("per_call", "per_second", "per_row", "per_web_search")
_NOT_PRICES = frozenset({"source", "currency", "valid_from", "known_from"})
_FIELDS = frozenset({*_RATES, *_WHOLE_CALL, "tiers", "service_tiers", *_NOT_PRICES, *BATCH_FIELDS})
#: A price of nothing else leaves the price of single calls to the book.
_BATCH_ONLY = BATCH_FIELDS | _NOT_PRICES
_SCALE: int = 10**PRICE_DECIMALS
_MOST_CARDS = 1000


def price_in_force(model_name: str, stated: Stated, at: int, known: int | None = None) -> Mapping[str, Any] | None:
    """The card of ``stated`` that counts at the time ``at`` as known at ``known`` (microseconds; the same
    where it is left out); ``None`` where none does. ``ConfigurationInvalid`` for a date that is none."""
    best: Mapping[str, Any] | None = None
    rank = (-1, -1)
    known = at if known is None else known
    for card in cards_of(model_name, stated):
        begins, told = moment(model_name, card, "valid_from") or 0, moment(model_name, card, "known_from") or 0
        if begins <= at and told <= known and (begins, told) >= rank:
            best, rank = card, (begins, told)
    return best


def cards_of(model_name: str, stated: Stated) -> tuple[Mapping[str, Any], ...]:
    """The cards as they are written; ``none`` has none."""
    if stated is None or stated == NONE:
        return ()
    if isinstance(stated, str):
        raise bad(model_name, "is a word that is not known here: only none is")
    return (stated,) if isinstance(stated, Mapping) else tuple(stated)


def check_stated(model_name: str, stated: Stated) -> None:
    """``ConfigurationInvalid`` for a price that could not be charged by, whenever it came into force."""
    cards = cards_of(model_name, stated)
    if len(cards) > _MOST_CARDS:
        raise bad(model_name, f"has more than {_MOST_CARDS} cards")
    seen: set[tuple[int, int]] = set()
    for card in cards:
        stated_card(model_name, card)
        dates = moment(model_name, card, "valid_from") or 0, moment(model_name, card, "known_from") or 0
        if dates in seen:
            raise bad(model_name, "has two cards of the same valid_from and known_from")
        seen.add(dates)


def none_card() -> PriceCard:
    """The card of a model whose operator says ``price: none``: stated not to be charged, not unknown."""
    zero = Decimal(0)
    return PriceCard(NONE_CARD, "models.yaml", zero, zero, per_call=zero, per_second=zero, per_row=zero)


def stated_card(model_name: str, written: Mapping[str, Any], service_tier: str = "") -> PriceCard | None:
    """The card as written, or that of a service tier it names; ``None`` where it speaks of batches alone."""
    if not isinstance(written, Mapping):
        raise bad(model_name, "is no object of prices")
    unknown = sorted(str(name) for name in set(written) - _FIELDS)
    if unknown:
        raise bad(model_name, f"has an unknown field {unknown[0]!r}")
    if written.get("currency", "USD") != "USD":
        raise bad(model_name, "is in a currency that is not kept here: the ledger counts USD (currency: USD)")
    valid, known = moment(model_name, written, "valid_from"), moment(model_name, written, "known_from")
    if written.keys() <= _BATCH_ONLY and written.keys() & BATCH_FIELDS:
        return None
    source = str(written.get("source") or "models.yaml")
    name = f"models.yaml: {source}" + (f"@{_day(valid)}" if valid else "") + (f" known {_day(known)}" if known else "")
    base, tiers = _rates(model_name, written), _tiers(model_name, written)
    for each in tiers:
        _check_whole(model_name, base, each.rates, f"the tier above {each.above_input_tokens} tokens")
    by_tier = written.get("service_tiers", {})
    if not isinstance(by_tier, Mapping):
        raise bad(model_name, "has bad service_tiers: prices by the tier's name are expected")
    usual = base
    for tier, prices in by_tier.items():
        of_tier = _rates(model_name, _only_rates(model_name, prices, f"service_tiers.{tier}"))
        _check_whole(model_name, usual, of_tier, f"service_tiers.{tier}")
        if tier == service_tier:
            base, tiers, name = of_tier, (), f"{name}{TIER_MARK}{tier}"
    fixed = {each: price(model_name, each, written.get(each)) for each in _WHOLE_CALL}
    return PriceCard(
        name,
        source,
        tiers=tiers,
        **{each: getattr(base, each) for each in _RATES},
        **fixed,  # type: ignore[arg-type]
    )


def price(model_name: str, name: str, value: Any) -> Decimal | None:
    """An amount of USD as written. ``ConfigurationInvalid`` for what is none."""
    if value is None:
        return None
    try:
        amount = Decimal(str(value)) if not isinstance(value, bool) else Decimal("NaN")
    except InvalidOperation:
        amount = Decimal("NaN")
    if amount.is_finite() and 0 <= amount <= 10**9 and amount * _SCALE == int(amount * _SCALE):
        return amount
    raise bad(model_name, f"has a bad {name}: it is USD, 0 or more, with at most {PRICE_DECIMALS} decimals")


def moment(model_name: str, written: Mapping[str, Any], name: str) -> int | None:
    """The date of that name, in microseconds; ``None`` where there is none."""
    value = written.get(name) if isinstance(written, Mapping) else None
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise bad(model_name, f"has a bad {name}: it is a date such as 2026-01-01") from None
    if isinstance(value, datetime):
        whole = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    elif isinstance(value, date):
        whole = datetime(value.year, value.month, value.day, tzinfo=UTC)
    else:
        raise bad(model_name, f"has a bad {name}: it is a date such as 2026-01-01")
    return int(whole.timestamp()) * SECOND


def bad(model_name: str, what: str) -> ConfigurationInvalid:
    """The refusal of a price, which it names by its model."""
    return ConfigurationInvalid(
        f"models.yaml: the price of {model_name!r} {what}",
        mend="a price has input_per_million and output_per_million, or per_call or per_second, and a source; "
        "or it is none",
    )


def _rates(model_name: str, written: Mapping[str, Any]) -> Rates:
    return Rates(*(price(model_name, name, written.get(name)) for name in _RATES))


def _tiers(model_name: str, written: Mapping[str, Any]) -> tuple[Tier, ...]:
    listed = written.get("tiers", [])
    if not isinstance(listed, (list, tuple)):
        raise bad(model_name, "has bad tiers: a list is expected")
    tiers: list[Tier] = []
    for item in listed:
        start = item.get("above_input_tokens") if isinstance(item, Mapping) else None
        if isinstance(start, bool) or not isinstance(start, int) or not 0 <= start <= 10**9:
            raise bad(model_name, "has a tier without above_input_tokens, a whole number")
        if tiers and start <= tiers[-1].above_input_tokens:
            raise bad(model_name, "has tiers that do not go from short to long inputs")
        rest = {name: value for name, value in item.items() if name != "above_input_tokens"}
        tiers.append(Tier(start, _rates(model_name, _only_rates(model_name, rest, "tiers"))))
    return tuple(tiers)


def _check_whole(model_name: str, base: Rates, rates: Rates, where: str) -> None:
    """Refuses rates that leave out a class which the card prices: it would cost what its text costs."""
    missing = [name for name in _RATES if getattr(base, name) is not None and getattr(rates, name) is None]
    if missing:
        raise bad(model_name, f"has no {missing[0]} in {where}, though the card has one")


def _only_rates(model_name: str, written: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(written, Mapping) or not set(written) <= set(_RATES) or "input_per_million" not in written:
        raise bad(model_name, f"has bad {where}: input_per_million and other prices of a million tokens are expected")
    return written


def _day(micros: int) -> str:
    return datetime.fromtimestamp(micros // SECOND, UTC).date().isoformat()
