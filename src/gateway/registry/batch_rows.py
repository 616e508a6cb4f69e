"""``batch`` of a model's row: whether requests of batches are handed to the provider's own batch API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from gateway.registry.catalogue import BATCH_PROVIDER_TYPES, BatchWay, ProviderSpec
from gateway.registry.yaml_lines import Document, Path_

_WAYS = ("auto", "provider", "inline")


def read_batch(document: Document, model: Path_, raw: Mapping[str, Any], provider: ProviderSpec) -> BatchWay:
    """The row's word, ``auto`` where it says nothing; ``ConfigurationInvalid`` where it cannot be."""
    word = raw.get("batch", "auto")
    if word not in _WAYS:
        raise document.wrong((*model, "batch"), "no such word", f"known here: {', '.join(_WAYS)}")
    if "batch" in raw and (raw.get("type") != "llm" or "route" in raw):
        raise document.wrong((*model, "batch"), "only a language model without a route has it", "leave it out")
    if word == "provider" and provider.type not in BATCH_PROVIDER_TYPES:
        what = f"no batch API is known of a provider of type {provider.type}"
        raise document.wrong((*model, "batch"), what, f"types that have one: {', '.join(sorted(BATCH_PROVIDER_TYPES))}")
    return cast(BatchWay, word)
