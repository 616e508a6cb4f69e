"""A price card: what a provider asks for each class of token, call and second, on one date."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

#: Prices are held to 18 decimals of a dollar, so that a token's share of a million has 24.
PRICE_DECIMALS = 18
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


class Tier(Struct, frozen=True):
    """The rates of a call whose whole input is longer than ``above_input_tokens``."""

    above_input_tokens: int
    rates: Rates


class PriceCard(Struct, frozen=True):
    """Dated prices under a ``name`` that entries keep; ``source`` says who states them.

    Beside the token rates: USD a call, a second and a row. ``tiers`` go from short to long inputs.
    """

    name: str
    source: str
    input_per_million: Decimal | None = None
    output_per_million: Decimal | None = None
    cached_input_per_million: Decimal | None = None
    cache_write_per_million: Decimal | None = None
    cache_write_long_per_million: Decimal | None = None
    reasoning_per_million: Decimal | None = None
    per_call: Decimal | None = None
    per_second: Decimal | None = None
    per_row: Decimal | None = None
    tiers: tuple[Tier, ...] = ()

    def base(self) -> Rates:
        """The rates of a short input."""
        return Rates(
            self.input_per_million,
            self.output_per_million,
            self.cached_input_per_million,
            self.cache_write_per_million,
            self.cache_write_long_per_million,
            self.reasoning_per_million,
        )

    def rates_for(self, input_tokens: int) -> Rates:
        """The rates of a call with so long an input."""
        chosen = None
        for tier in self.tiers:
            if input_tokens > tier.above_input_tokens:
                chosen = tier.rates
        return chosen or self.base()

    def rates_up_to(self, input_tokens: int) -> tuple[Rates, ...]:
        """Every rate that an input of at most this length can meet."""
        return (self.base(), *(tier.rates for tier in self.tiers if input_tokens > tier.above_input_tokens))
