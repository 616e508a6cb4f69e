"""What a call costs: dated price cards and pure arithmetic on integers.

A card comes from the operator's ``price`` in models.yaml, or else from genai-prices' shipped data,
asked always for one provider. What neither knows is unknown, and unknown is refused: never zero.

Rules for usage that cannot be (``repaired`` applies them and names each in a flag):
a negative count is 0; a count above a billion is a billion; cached plus cache-written input beyond
the input raises the input to their sum; reasoning beyond the output raises the output to it; finer
counts (sound, images, long cache writes) that are no parts of the whole are left out.
A class of tokens without a price of its own takes the price of the class that holds it: cached and
cache-written input that of input, reasoning that of output; output, where the card prices none
(embeddings), that of input.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from msgspec import structs
from msgspec.structs import replace

from gateway.errors import PriceUnknown
from gateway.ledger.price_book import book_card
from gateway.ledger.price_card import PRICE_DECIMALS, PriceCard, Scaled
from gateway.ledger.stated_prices import NONE, Stated, bad, none_card, price_in_force, stated_card
from gateway.models.llm_models import Usage, UsageDetail

__all__ = [
    "PriceCard",
    "card_for_llm",
    "card_for_ml",
    "charged_by",
    "check_charges",
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
_MOST_SEARCHES = 10_000
#: What providers call the tier of the usual price, and what leaves the choice to them.
_USUAL_TIERS = frozenset({"", "auto", "default", "standard", "standard_only", "on_demand"})
#: A token count times a scaled price, in 10⁻²⁴ USD, to units of 10⁻¹⁰ USD.
_TOKENS_TO_UNITS: int = 10 ** (PRICE_DECIMALS + 6 - 10)
#: What a card charges beside tokens, where it is nothing.
_TOKENS_ONLY = (0, 0, 0)
#: A count of microseconds times a scaled price a second is on the same scale.
_MICROS = 10**6


def card_for_llm(
    model_name: str,
    provider_type: str,
    upstream_model: str,
    stated: Stated,
    at: int,
    *,
    known: int | None = None,
    service_tier: str = "",
) -> PriceCard:
    """The price of a language model at the time ``at``, as known at ``known`` (microseconds; now, if left out).

    ``stated`` is the model's ``price`` in models.yaml; before its ``valid_from`` it does not count.
    ``service_tier`` is what the caller asks the provider for; a tier without a price of its own has the usual.
    Raises ``PriceUnknown`` where nobody states a price, ``ConfigurationInvalid`` for a bad one.
    """
    card = _stated(model_name, stated, at, known, service_tier)
    if card is not None:
        check_charges(model_name, card, predictive=False)
        return card
    if provider_type in LOCAL_TYPES:
        return local_card()
    card = book_card(provider_type, upstream_model or model_name, at, service_tier=service_tier)
    if card is None:
        raise _unknown(model_name)
    return card


def charged_by(card: PriceCard, asked: str, by_tier: Callable[[str], PriceCard], usage: Usage) -> PriceCard:
    """The price of an answer: by the service tier that its provider says it was given by, where that is another than
    the one that was ``asked`` for, which ``card`` is the price of."""
    told = usage.tier
    if not told or told == asked or (told in _USUAL_TIERS and asked in _USUAL_TIERS):
        return card
    return by_tier("" if told in _USUAL_TIERS else told)


def card_for_ml(model_name: str, provider_type: str, stated: Stated, at: int, *, known: int | None = None) -> PriceCard:
    """The price of a predictive model at the time ``at``: the operator's, or zero for our own machine."""
    card = _stated(model_name, stated, at, known, "")
    if card is not None:
        check_charges(model_name, card, predictive=True)
        return card
    if provider_type in LOCAL_TYPES:
        return local_card()
    raise _unknown(model_name)


def check_charges(model_name: str, card: PriceCard, *, predictive: bool) -> None:
    """``ConfigurationInvalid`` for a stated card that says nothing of what calls of such a model are charged by."""
    if predictive and card.per_call is None and card.per_second is None and card.per_row is None:
        raise bad(model_name, "names no per_call, per_second or per_row")
    if not predictive and card.input_per_million is None and card.per_call is None and card.per_second is None:
        raise bad(model_name, "names no input_per_million, per_call or per_second")


def _stated(model_name: str, stated: Stated, at: int, known: int | None, service_tier: str) -> PriceCard | None:
    if stated is None:
        return None
    if stated == NONE:
        return none_card()
    written = price_in_force(model_name, stated, at, known)
    return None if written is None else stated_card(model_name, written, service_tier)


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
    media: bool = False,
    max_seconds: float = 0,
    searches: int = 0,
) -> int:
    """The most a call can cost, in units, rounded up.

    ``max_output_tokens`` bounds each of the ``n`` answers, reasoning included. With ``cache_write``
    (the caller may ask for prompt caching) all input is taken at the dearest cache-writing price
    where that is higher, with ``media`` at that of sound or images. The provider may search the web
    ``searches`` times. A card that charges by the second needs ``max_seconds``.
    """
    dearest = 0
    tokens_in, tokens_out = max(input_tokens, 0), max(max_output_tokens, 0) * max(n, 1)
    for rates in card.table if len(card.table) == 1 else card.rates_up_to(input_tokens):
        price_in = rates.worst_input if cache_write else rates.worst_input_unwritten
        if media:
            price_in = rates.worst_media
        dearest = max(dearest, tokens_in * price_in + tokens_out * rates.worst_output)
    if searches:
        dearest += searches * card.search * _MICROS
    return _ceil(dearest if card.fixed == _TOKENS_ONLY else dearest + _fixed(card, _bounded(card, max_seconds), 0))


def worst_case_ml(card: PriceCard, *, max_seconds: float = 0, rows: int = 0) -> int:
    """The most a prediction of ``rows`` rows can cost, in units, rounded up."""
    return _ceil(_fixed(card, _bounded(card, max_seconds), rows))


def cost_llm(card: PriceCard, usage: Usage, *, seconds_micros: int = 0) -> int:
    """What the usage costs, in units, rounded half to even; never negative (see ``repaired``).

    ``usage.input_tokens`` holds the cached and cache-written ones, ``output_tokens`` the reasoning.
    """
    sound, _ = repaired(usage)
    rates = card.rates_for(sound.input_tokens) if card.tiers else card.table[0]
    fresh = sound.input_tokens - sound.cached_tokens - sound.cache_write_tokens
    total = (
        fresh * rates.input
        + sound.cached_tokens * rates.cached
        + sound.cache_write_tokens * rates.cache_write
        + (sound.output_tokens - sound.reasoning_tokens) * rates.output
        + sound.reasoning_tokens * rates.reasoning
    )
    if sound.detail is not None:
        total += _beside(rates, sound, sound.detail, fresh) + sound.detail.web_searches * card.search * _MICROS
    return _round(total if card.fixed == _TOKENS_ONLY else total + _fixed(card, max(seconds_micros, 0), 0))


def cost_ml(card: PriceCard, seconds_micros: int, rows: int) -> int:
    """What a prediction costs, in units, rounded half to even."""
    return _round(_fixed(card, max(seconds_micros, 0), max(rows, 0)))


def repaired(usage: Usage) -> tuple[Usage, tuple[str, ...]]:
    """The usage made possible by the rules above, and a flag for each rule that was needed."""
    cached, written = usage.cached_tokens, usage.cache_write_tokens
    if (
        cached >= 0
        and written >= 0
        and cached + written <= usage.input_tokens <= MOST_TOKENS
        and 0 <= usage.reasoning_tokens <= usage.output_tokens <= MOST_TOKENS
        and (usage.detail is None or _fits(usage, usage.detail))
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
    sound = replace(usage, **counts, detail=None)
    if usage.detail is not None:
        whole = UsageDetail(*(max(count, 0) for count in structs.astuple(usage.detail)))
        sound = replace(sound, detail=whole if _fits(sound, whole) else None)
        if sound.detail != usage.detail:
            flags.append("detail_above_its_whole")
    return (sound, tuple(flags)) if flags else (usage, ())


def _fits(usage: Usage, detail: UsageDetail) -> bool:
    """Whether the finer counts are parts of the whole ones."""
    return (
        min(structs.astuple(detail)) >= 0
        and detail.input_audio + detail.input_image <= usage.input_tokens
        and detail.cached_audio <= min(detail.input_audio, usage.cached_tokens)
        and detail.output_audio + detail.output_image <= usage.output_tokens
        and detail.cache_write_long <= usage.cache_write_tokens
        and detail.web_searches <= _MOST_SEARCHES
    )


def _beside(rates: Scaled, usage: Usage, detail: UsageDetail, fresh: int) -> int:
    """What finer counts add to the cost by the whole ones (or take from it), in 10⁻²⁴ USD. Cached input whose
    kind nobody tells is taken to be text as far as it can be."""
    sound = min(detail.input_audio - detail.cached_audio, fresh)
    images = min(detail.input_image, fresh - sound)
    plain = usage.output_tokens - usage.reasoning_tokens
    spoken = min(detail.output_audio, plain)
    drawn = min(detail.output_image, plain - spoken)
    return (
        sound * (rates.input_audio - rates.input)
        + images * (rates.input_image - rates.input)
        + detail.cached_audio * (rates.cached_audio - rates.cached)
        + spoken * (rates.output_audio - rates.output)
        + drawn * (rates.output_image - rates.output)
        + detail.cache_write_long * (rates.cache_write_long - rates.cache_write)
    )


def _unknown(model_name: str) -> PriceUnknown:
    return PriceUnknown(
        f"no price is known for the model {model_name!r}, so it is refused rather than counted as free",
        mend="give it a price in models.yaml: price: {input_per_million, output_per_million, source, valid_from}, or "
        "price: none if its calls are not to be charged",
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
