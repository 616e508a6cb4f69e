"""A price card: what a provider asks for each class of token, call and second, on one date."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct
from msgspec.structs import force_setattr

#: Prices are held to 18 decimals of a dollar, so that a token's share of a million has 24.
PRICE_DECIMALS = 18
#: What a card's name ends with where it is that of a batch API, or of a service tier.
BATCH_MARK, TIER_MARK = " batch", " tier="
#: What the ``price`` of a row may say of the provider's batch API; see ``ledger.batch_price``.
BATCH_FIELDS = frozenset({"batch_discount", "batch_input_per_million", "batch_output_per_million"})


class Rates(Struct, frozen=True):
    """USD for a million tokens of each class; ``None`` where the class has no price of its own.

    ``cache_write_long`` is a cache entry kept for an hour rather than minutes.
    """

    input_per_million: Decimal | None = None
    output_per_million: Decimal | None = None
    cached_input_per_million: Decimal | None = None
    cache_write_per_million: Decimal | None = None
    cache_write_long_per_million: Decimal | None = None
    reasoning_per_million: Decimal | None = None
    input_audio_per_million: Decimal | None = None
    output_audio_per_million: Decimal | None = None
    cached_audio_per_million: Decimal | None = None
    input_image_per_million: Decimal | None = None
    output_image_per_million: Decimal | None = None


class Scaled(Struct, frozen=True):
    """``Rates`` as whole numbers of 10⁻¹⁸ USD, ready to multiply: a class without a price of its own has
    that of the class that holds it. ``worst_*`` bound what a token of input or output can cost."""

    above_input_tokens: int
    input: int
    output: int
    cached: int
    cache_write: int
    reasoning: int
    worst_input: int
    worst_input_unwritten: int
    worst_output: int
    cache_write_long: int
    input_audio: int
    output_audio: int
    cached_audio: int
    input_image: int
    output_image: int
    #: What bounds a token of input that may be sound or image.
    worst_media: int


class Tier(Struct, frozen=True):
    """The rates of a call whose whole input is longer than ``above_input_tokens``."""

    above_input_tokens: int
    rates: Rates


class PriceCard(Struct, frozen=True):
    """Dated prices under a ``name`` that entries keep; ``source`` says who states them.

    Beside the token rates: USD a call, a second, a row and a search of the web by the provider. ``tiers`` go from
    short to long inputs.
    """

    name: str
    source: str
    input_per_million: Decimal | None = None
    output_per_million: Decimal | None = None
    cached_input_per_million: Decimal | None = None
    cache_write_per_million: Decimal | None = None
    cache_write_long_per_million: Decimal | None = None
    reasoning_per_million: Decimal | None = None
    input_audio_per_million: Decimal | None = None
    output_audio_per_million: Decimal | None = None
    cached_audio_per_million: Decimal | None = None
    input_image_per_million: Decimal | None = None
    output_image_per_million: Decimal | None = None
    per_call: Decimal | None = None
    per_second: Decimal | None = None
    per_row: Decimal | None = None
    per_web_search: Decimal | None = None
    tiers: tuple[Tier, ...] = ()

    #: The rates of each tier as whole numbers, the first for every input; made of the rest.
    table: tuple[Scaled, ...] = ()
    #: A call, a second and a row in 10⁻¹⁸ USD.
    fixed: tuple[int, int, int] = (0, 0, 0)
    #: A search in 10⁻¹⁸ USD.
    search: int = 0
    #: Whether sound or images of the input may cost more than its text.
    media: bool = False

    def __post_init__(self) -> None:
        base = self.base()
        tiers = (scaled(-1, base), *(scaled(tier.above_input_tokens, tier.rates) for tier in self.tiers))
        force_setattr(self, "table", tiers)
        force_setattr(self, "media", any(item.worst_media > item.worst_input for item in tiers))
        force_setattr(self, "search", _whole(self.per_web_search))
        force_setattr(self, "fixed", (_whole(self.per_call), _whole(self.per_second), _whole(self.per_row)))

    def base(self) -> Rates:
        """The rates of a call with the shortest input."""
        return Rates(*(getattr(self, name) for name in Rates.__struct_fields__))

    def rates_for(self, input_tokens: int) -> Scaled:
        """The rates of a call with so long an input."""
        chosen = self.table[0]
        for rates in self.table:
            if input_tokens > rates.above_input_tokens:
                chosen = rates
        return chosen

    def rates_up_to(self, input_tokens: int) -> tuple[Scaled, ...]:
        """Every rate that an input of at most this length can meet."""
        if len(self.table) == 1:
            return self.table
        return tuple(rates for rates in self.table if input_tokens > rates.above_input_tokens)


def variant_of(name: str) -> tuple[str, bool, str]:
    """What a card's name says: the name of the usual card, whether it is that of batches, and the service tier."""
    usual, _, tier = name.partition(TIER_MARK)
    return usual.removesuffix(BATCH_MARK), usual.endswith(BATCH_MARK), tier


def scaled(above_input_tokens: int, rates: Rates) -> Scaled:
    """The rates of one tier as whole numbers."""
    price_in = _whole(rates.input_per_million)
    price_out = _or(rates.output_per_million, price_in)
    cached = _or(rates.cached_input_per_million, price_in)
    written = _or(rates.cache_write_per_million, price_in)
    written_long = _or(rates.cache_write_long_per_million, written)
    reasoning = _or(rates.reasoning_per_million, price_out)
    sound_in, image_in = _or(rates.input_audio_per_million, price_in), _or(rates.input_image_per_million, price_in)
    sound_out, image_out = (
        _or(rates.output_audio_per_million, price_out),
        _or(rates.output_image_per_million, price_out),
    )
    cached_sound = _or(rates.cached_audio_per_million, cached)
    stated_writes = max(_whole(rates.cache_write_per_million), _whole(rates.cache_write_long_per_million))
    return Scaled(
        above_input_tokens=above_input_tokens,
        input=price_in,
        output=price_out,
        cached=cached,
        cache_write=written,
        reasoning=reasoning,
        worst_input=max(price_in, stated_writes, cached),
        worst_input_unwritten=max(price_in, cached),
        worst_output=max(price_out, reasoning, sound_out, image_out),
        cache_write_long=written_long,
        input_audio=sound_in,
        output_audio=sound_out,
        cached_audio=cached_sound,
        input_image=image_in,
        output_image=image_out,
        worst_media=max(price_in, stated_writes, cached, sound_in, image_in, cached_sound),
    )


def _whole(price: Decimal | None) -> int:
    return 0 if price is None else int(price.scaleb(PRICE_DECIMALS))


def _or(price: Decimal | None, otherwise: int) -> int:
    return otherwise if price is None else _whole(price)
