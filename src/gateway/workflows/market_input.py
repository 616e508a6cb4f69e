"""Market data for a step, in every form: a data set, records, CSV, columns, or what preprocessing made."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from gateway.errors import NotFound, ValidationFailed
from gateway.risk.market_data import MarketData, from_parquet, parse_market_data
from gateway.workflows.context import StepContext


async def load_market(context: StepContext, value: Any, place: str) -> MarketData:
    """The market data that ``value`` is or points at. ``ValidationFailed`` names the place."""
    if isinstance(value, Mapping) and isinstance(value.get("processed_data"), Mapping):
        value = value["processed_data"]
    if isinstance(value, Mapping) and "artifact" in value:
        return await asyncio.to_thread(_from_artifact, context, value["artifact"], place)
    data, _report = await asyncio.to_thread(parse_market_data, value, place)
    return data


def plain(value: Any) -> Any:
    """The value as JSON can hold it: numpy's numbers become Python's, what is not finite becomes null."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if isinstance(value, msgspec.Struct):
        return plain(msgspec.to_builtins(value))
    return value


def fact(name: str, value: Any, unit: str = "") -> dict[str, Any]:
    """A value that later texts may speak of; numbers keep six significant digits."""
    shown = float(f"{value:.6g}") if isinstance(value, (float, np.floating)) else value
    return {"name": name, "value": shown, "unit": unit}


def thinned(count: int, most: int = 400) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Positions of at most ``most`` points, the last one among them."""
    if count <= most:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, most).round().astype(np.intp))


def _from_artifact(context: StepContext, reference: Any, place: str) -> MarketData:
    name = reference.get("sha256") if isinstance(reference, Mapping) else None
    if not isinstance(name, str) or len(name) != 64:
        raise ValidationFailed(f"{place}.artifact.sha256: the hash of an artifact is expected", param=place)
    try:
        return from_parquet(context.artifacts.get(name))
    except NotFound:
        raise ValidationFailed(f"{place}.artifact: there is no such artifact", param=place) from None
