"""What a call costs: dated price cards and pure arithmetic on integers.

A card comes from the operator's ``price`` in models.yaml, or else from genai-prices' shipped data,
asked always for one provider. What neither knows is unknown, and unknown is refused: never zero.

Rules for usage that cannot be (``repaired`` applies them and names each in a flag):
a negative count is 0; a count above a billion is a billion; cached plus cache-written input beyond
the input raises the input to their sum; reasoning beyond the output raises the output to it.
A class of tokens without a price of its own takes the price of the class that holds it: cached and
cache-written input that of input, reasoning that of output; output, where the card prices none
(embeddings), that of input.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from msgspec.structs import replace

from gateway.clock import SECOND
from gateway.errors import ConfigurationInvalid, PriceUnknown
from gateway.ledger.price_book import book_card
from gateway.ledger.price_card import BATCH_FIELDS, PRICE_DECIMALS, PriceCard
from gateway.models.llm_models import Usage

__all__ = [
    "PriceCard",
    "card_for_llm",
    "card_for_ml",
    "cost_llm",
    "cost_ml",
    "local_card",
    "repaired",
    "worst_case",
    "worst_case_ml",
]

#: Provider types whose models run on this machine and bill nobody.
LOCAL_TYPES = frozenset({"llama_cpp", "local", "local_embedding"})
MOST_TOKENS = 10**9
_FIELDS = frozenset(
    {
        "input_per_million",
        "output_per_million",
        "cached_input_per_million",
        "cache_write_per_million",
        "cache_write_long_per_million",
        "reasoning_per_million",
        "per_call",
        "per_second",
        "per_row",
        "source",
        "valid_from",
        *BATCH_FIELDS,
    }
)
#: A price of nothing else leaves the price of single calls to the book.
_BATCH_ONLY = BATCH_FIELDS | {"source", "valid_from"}
_SCALE: int = 10**PRICE_DECIMALS
#: A token count times a scaled price, in 10⁻²⁴ USD, to units of 10⁻¹⁰ USD.
_TOKENS_TO_UNITS: int = 10 ** (PRICE_DECIMALS + 6 - 10)
#: A count of microseconds times a scaled price a second is on the same scale.
_MICROS = 10**6


def card_for_llm(
    model_name: str, provider_type: str, upstream_model: str, override: Mapping[str, Any] | None, at: int
) -> PriceCard:
    """The price of a language model at the time ``at`` (microseconds).

    ``override`` is the model's ``price`` in models.yaml; before its ``valid_from`` it does not count.
    Raises ``PriceUnknown`` where nobody states a price, ``ConfigurationInvalid`` for a bad override.
    """
    card = _override_card(model_name, override, at)
    if card is not None:
        if card.input_per_million is None and card.per_call is None and card.per_second is None:
            raise _bad(model_name, "names no input_per_million, per_call or per_second")
        return card
    if provider_type in LOCAL_TYPES:
        return local_card()
    card = book_card(provider_type, upstream_model or model_name, at)
    if card is None:
        raise _unknown(model_name)
    return card


def card_for_ml(model_name: str, provider_type: str, override: Mapping[str, Any] | None, at: int) -> PriceCard:
    """The price of a predictive model at the time ``at``: the operator's, or zero for our own machine."""
    card = _override_card(model_name, override, at)
    if card is not None:
        if card.per_call is None and card.per_second is None and card.per_row is None:
            raise _bad(model_name, "names no per_call, per_second or per_row")
        return card
    if provider_type in LOCAL_TYPES:
        return local_card()
    raise _unknown(model_name)


def local_card() -> PriceCard:
    """The card of models that run here: stated to be zero, not unknown."""
    zero = Decimal(0)
    return PriceCard(
        name="local compute, not charged",
        source="gateway",
        input_per_million=zero,
        output_per_million=zero,
        per_call=zero,
        per_second=zero,
    )


def worst_case(
    card: PriceCard,
    *,
    input_tokens: int,
    max_output_tokens: int,
    n: int = 1,
    cache_write: bool = True,
    max_seconds: float = 0,
) -> int:
    """The most a call can cost, in units, rounded up.

    ``max_output_tokens`` bounds each of the ``n`` answers, reasoning included. With ``cache_write``
    (the caller may ask for prompt caching) all input is taken at the dearest cache-writing price
    where that is higher. A card that charges by the second needs ``max_seconds``.
    """
    dearest = 0
    tokens_in, tokens_out = max(input_tokens, 0), max(max_output_tokens, 0) * max(n, 1)
    for rates in card.rates_up_to(input_tokens):
        price_in = rates.worst_input if cache_write else rates.worst_input_unwritten
        dearest = max(dearest, tokens_in * price_in + tokens_out * rates.worst_output)
    return _ceil(dearest + _fixed(card, _bounded(card, max_seconds), 0))


def worst_case_ml(card: PriceCard, *, max_seconds: float = 0, rows: int = 0) -> int:
    """The most a prediction of ``rows`` rows can cost, in units, rounded up."""
    return _ceil(_fixed(card, _bounded(card, max_seconds), rows))


def cost_llm(card: PriceCard, usage: Usage, *, seconds_micros: int = 0) -> int:
    """What the usage costs, in units, rounded half to even; never negative (see ``repaired``).

    ``usage.input_tokens`` holds the cached and cache-written ones, ``output_tokens`` the reasoning.
    """
    sound, _ = repaired(usage)
    rates = card.rates_for(sound.input_tokens)
    fresh = sound.input_tokens - sound.cached_tokens - sound.cache_write_tokens
    total = (
        fresh * rates.input
        + sound.cached_tokens * rates.cached
        + sound.cache_write_tokens * rates.cache_write
        + (sound.output_tokens - sound.reasoning_tokens) * rates.output
        + sound.reasoning_tokens * rates.reasoning
    )
    return _round(total + _fixed(card, max(seconds_micros, 0), 0))


def cost_ml(card: PriceCard, seconds_micros: int, rows: int) -> int:
    """What a prediction costs, in units, rounded half to even."""
    return _round(_fixed(card, max(seconds_micros, 0), max(rows, 0)))


def repaired(usage: Usage) -> tuple[Usage, tuple[str, ...]]:
    """The usage made possible by the rules above, and a flag for each rule that was needed."""
    if (
        0 <= usage.cached_tokens + usage.cache_write_tokens <= usage.input_tokens <= MOST_TOKENS
        and 0 <= usage.reasoning_tokens <= usage.output_tokens <= MOST_TOKENS
        and usage.cached_tokens >= 0
        and usage.cache_write_tokens >= 0
    ):
        return usage, ()
    flags: list[str] = []
    counts = {}
    for name in ("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens"):
        count = getattr(usage, name)
        if count < 0:
            flags.append(f"negative_{name}")
        elif count > MOST_TOKENS:
            flags.append(f"absurd_{name}")
        counts[name] = min(max(count, 0), MOST_TOKENS)
    if counts["cached_tokens"] + counts["cache_write_tokens"] > counts["input_tokens"]:
        flags.append("cached_above_input")
        counts["input_tokens"] = counts["cached_tokens"] + counts["cache_write_tokens"]
    if counts["reasoning_tokens"] > counts["output_tokens"]:
        flags.append("reasoning_above_output")
        counts["output_tokens"] = counts["reasoning_tokens"]
    return (replace(usage, **counts), tuple(flags)) if flags else (usage, ())


def _override_card(model_name: str, override: Mapping[str, Any] | None, at: int) -> PriceCard | None:
    if override is None:
        return None
    unknown = sorted(str(name) for name in set(override) - _FIELDS)
    if unknown:
        raise _bad(model_name, f"has an unknown field {unknown[0]!r}")
    valid_from = _moment(model_name, override.get("valid_from"))
    if valid_from is not None and at < int(valid_from.timestamp()) * SECOND:
        return None
    if not BATCH_FIELDS.isdisjoint(override) and override.keys() <= _BATCH_ONLY:
        return None  # it speaks of batches alone: the price itself is the book's
    source = str(override.get("source") or "models.yaml")

    def price(name: str) -> Decimal | None:
        return _price(model_name, name, override.get(name))

    return PriceCard(
        name=f"models.yaml: {source}" + (f"@{valid_from.date().isoformat()}" if valid_from else ""),
        source=source,
        input_per_million=price("input_per_million"),
        output_per_million=price("output_per_million"),
        cached_input_per_million=price("cached_input_per_million"),
        cache_write_per_million=price("cache_write_per_million"),
        cache_write_long_per_million=price("cache_write_long_per_million"),
        reasoning_per_million=price("reasoning_per_million"),
        per_call=price("per_call"),
        per_second=price("per_second"),
        per_row=price("per_row"),
    )


def _price(model_name: str, name: str, value: Any) -> Decimal | None:
    if value is None:
        return None
    try:
        price = Decimal(str(value)) if not isinstance(value, bool) else Decimal("NaN")
    except InvalidOperation:
        price = Decimal("NaN")
    if price.is_finite() and 0 <= price <= 10**9 and price * _SCALE == int(price * _SCALE):
        return price
    raise _bad(model_name, f"has a bad {name}: it is USD, 0 or more, with at most {PRICE_DECIMALS} decimals")


def _moment(model_name: str, value: Any) -> datetime | None:
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise _bad(model_name, "has a bad valid_from: it is a date such as 2026-01-01") from None
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    raise _bad(model_name, "has a bad valid_from: it is a date such as 2026-01-01")


def _bad(model_name: str, what: str) -> ConfigurationInvalid:
    return ConfigurationInvalid(
        f"models.yaml: the price of {model_name!r} {what}",
        mend="a price has input_per_million and output_per_million, or per_call or per_second, and a source",
    )


def _unknown(model_name: str) -> PriceUnknown:
    return PriceUnknown(
        f"no price is known for the model {model_name!r}, so it is refused rather than counted as free",
        mend="give it a price in models.yaml: price: {input_per_million, output_per_million, source, valid_from}",
        param="model",
        model=model_name,
    )


def _fixed(card: PriceCard, seconds_micros: int, rows: int) -> int:
    """What does not depend on tokens, in 10⁻²⁴ USD."""
    call, second, row = card.fixed
    return call * _MICROS + second * seconds_micros + row * rows * _MICROS


def _bounded(card: PriceCard, max_seconds: float) -> int:
    if card.per_second and max_seconds <= 0:
        raise ValueError("a card that charges by the second needs max_seconds for its worst case")
    return int(Decimal(str(max_seconds)) * _MICROS) if card.per_second else 0


def _ceil(total: int) -> int:
    return -(-total // _TOKENS_TO_UNITS)


def _round(total: int) -> int:
    whole, rest = divmod(total, _TOKENS_TO_UNITS)
    double = rest * 2
    return whole + (double > _TOKENS_TO_UNITS or (double == _TOKENS_TO_UNITS and whole % 2 == 1))
