"""Public prices as genai-prices ships them: read from the installed package, never from the network.

The provider is always named, by identifier: the library would else guess it from the model's name,
and its own matching takes any name with "openai" in it for OpenAI.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType

import genai_prices
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, StartDateConstraint, TieredPrices
from msgspec import structs

from gateway.clock import SECOND
from gateway.ledger.price_card import BATCH_MARK, TIER_MARK, PriceCard, Rates, Tier

#: Our provider types → the identifiers of genai-prices. A type not here needs a ``price`` of its own.
PROVIDERS: Mapping[str, str] = MappingProxyType(
    {
        "openai": "openai",
        "anthropic": "anthropic",
        "azure": "azure",
        "azure_openai": "azure",
        "aws": "aws",
        "bedrock": "aws",
        "google": "google",
        "gemini": "google",
        "vertex": "google",
        "mistral": "mistral",
        "groq": "groq",
        "cohere": "cohere",
        "deepseek": "deepseek",
        "together": "together",
        "fireworks": "fireworks",
        "openrouter": "openrouter",
        "perplexity": "perplexity",
        "cerebras": "cerebras",
        "x-ai": "x-ai",
    }
)
#: How the data name the prices of a batch API.
_BATCH = {"processing": "batch"}
#: By what the data tell tiers apart; Anthropic's fast mode is one that is asked for in another field.
_TIERS = ("service_tier", "speed")
_KEYS = (
    "input_mtok",
    "output_mtok",
    "cache_read_mtok",
    "cache_write_mtok",
    "cache_write_1h_mtok",
    "output_reasoning_mtok",
    "input_audio_mtok",
    "output_audio_mtok",
    "cache_audio_read_mtok",
    "input_image_mtok",
    "output_image_mtok",
)


def book_card(
    provider_type: str, model: str, at: int, *, batch: bool = False, service_tier: str = ""
) -> PriceCard | None:
    """The public price of ``model`` at that provider at that time (microseconds), or (``batch``) that of its
    batch API; ``None``: unknown. A ``service_tier`` of which the data say nothing has the usual price."""
    provider_id = PROVIDERS.get(provider_type)
    if provider_id is None or not model:
        return None
    try:
        provider, info = get_snapshot().find_provider_model(model, None, provider_id, None)
    except LookupError:
        return None
    moment = datetime.fromtimestamp(at // SECOND, UTC)
    if batch and not _has_variant(info, moment, _BATCH):
        return None
    tiers = ({name: service_tier} for name in _TIERS) if service_tier else ()
    tier = next((when for when in tiers if _has_variant(info, moment, when)), None)
    asked = _BATCH if batch else tier
    prices = info.get_prices(moment, asked)
    base = _rates(prices, 0)
    if base.input_per_million is None:
        return None  # priced by the hour, page or picture: not by what we count
    since = _since(info, moment)
    calls, searches = (getattr(prices, name, None) for name in ("requests_kcount", "web_searches_kcount"))
    return PriceCard(
        name=f"genai-prices {genai_prices.__version__}: {provider.id}/{info.id}"
        + (f"@{since}" if since else "")
        + (BATCH_MARK if batch else "")
        + (f"{TIER_MARK}{service_tier}" if tier is not None and asked is tier else ""),
        source=(provider.pricing_urls or ["genai-prices"])[0],
        **structs.asdict(base),
        per_call=calls / 1000 if isinstance(calls, Decimal) else None,
        per_web_search=searches / 1000 if isinstance(searches, Decimal) else None,
        tiers=tuple(Tier(start, _rates(prices, start + 1)) for start in _starts(prices)),
    )


def _has_variant(info: ModelInfo, moment: datetime, when: Mapping[str, str]) -> bool:
    return any(
        variant.when == when and (variant.constraint is None or variant.constraint.active(moment))
        for variant in info.price_variants or ()
    )


def _rates(prices: ModelPrice, input_tokens: int) -> Rates:
    return Rates(*(_at(getattr(prices, key, None), input_tokens) for key in _KEYS))


def _at(price: object, input_tokens: int) -> Decimal | None:
    if isinstance(price, TieredPrices):
        chosen = price.base
        for tier in price.tiers:
            if input_tokens > tier.start:
                chosen = tier.price
        return chosen
    return price if isinstance(price, Decimal) else None


def _starts(prices: ModelPrice) -> list[int]:
    tiered = (getattr(prices, key, None) for key in _KEYS)
    return sorted({tier.start for price in tiered if isinstance(price, TieredPrices) for tier in price.tiers})


def _since(info: ModelInfo, moment: datetime) -> str:
    """The day from which, or the hours in which, the price in force counts, where the data say it."""
    if isinstance(info.prices, ModelPrice):
        return ""
    for dated in reversed(info.prices):
        constraint = dated.constraint
        if constraint is None:
            return ""
        if constraint.active(moment):
            if isinstance(constraint, StartDateConstraint):
                return constraint.start_date.isoformat()
            return f"{constraint.start_time:%H:%M}-{constraint.end_time:%H:%M}"
    return ""
