"""Groups a portfolio's assets by how they behaved over the last years."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np

from gateway.errors import ValidationFailed
from gateway.governance.explanation import reasons
from gateway.models.ml_models import RowPrediction
from gateway.risk.features import FeatureTable
from gateway.risk.market_data import MarketData
from gateway.serving.predict import PredictAnswer
from gateway.workflows.context import StepContext
from gateway.workflows.market_input import load_market
from gateway.workflows.model_step import ask, named_rows, options_of, told
from gateway.workflows.training_data import segment_features, specs

_REASONS = 2


async def segment(ctx: StepContext, data: dict[str, Any]) -> dict[str, Any]:
    """The segments of ``data`` (market data): their assets, joint weight and mean features."""
    options_of(data)
    market = await load_market(ctx, data["data"], "input_data.data")
    ctx.progress(0.3, "features")
    features = await asyncio.to_thread(segment_features, market)
    answer = await ask(ctx, "portfolio_segmentation", named_rows(features), explain=True)
    ctx.progress(0.8, "segments")
    rows = answer.prediction.predictions
    if any(row.cluster is None for row in rows):
        raise ValidationFailed(
            f"the model {answer.model} gives no clusters",
            mend="name a clustering model in model_config.name",
            param="model_config.name",
        )
    segments = [_segment(cluster, market, features, rows) for cluster in sorted({row.cluster or 0 for row in rows})]
    return {
        "segments": segments,
        "as_of": str(market.dates[-1]),
        "model": answer.model,
        "version": answer.version,
        "facts": _facts(segments, answer),
        "plots": {"map": _plot(features, rows)},
    }


def _segment(
    cluster: int, market: MarketData, features: FeatureTable, rows: tuple[RowPrediction, ...]
) -> dict[str, Any]:
    members = [place for place, row in enumerate(rows) if row.cluster == cluster]
    name = rows[members[0]].label or f"segment {cluster}"
    weight = {asset: float(share) for asset, share in zip(market.assets, market.weights, strict=True)}
    means = features.values[members].mean(axis=0).tolist()
    columns = specs(features)
    assets: list[dict[str, Any]] = []
    for place in sorted(members, key=lambda place: (rows[place].distance or 0.0, features.index[place])):
        row = rows[place]
        found = reasons(
            row.contributions or (), columns, raises=f"fits {name}", lowers="fits the next group", most=_REASONS
        )
        assets.append(
            {
                "asset": features.index[place],
                "weight": round(weight[features.index[place]], 6),
                "distance": round(row.distance or 0.0, 4),
                "reasons": [reason.text for reason in found],
            }
        )
    return {
        "segment": cluster,
        "name": name,
        "assets": assets,
        "weight": round(sum(one["weight"] for one in assets), 6),
        "profile": {column: round(mean, 6) for column, mean in zip(features.names, means, strict=True)},
    }


def _facts(segments: list[dict[str, Any]], answer: PredictAnswer) -> list[dict[str, Any]]:
    source = f"{answer.model} version {answer.version}"
    found = [told("segments", len(segments), "groups", source)]
    for one in segments[:5]:
        found.append(told(f"assets in the segment {one['name']}", len(one["assets"]), "assets", source))
        found.append(told(f"weight of the segment {one['name']}", round(100 * one["weight"], 2), "%", source))
    return found


def _plot(features: FeatureTable, rows: tuple[RowPrediction, ...]) -> dict[str, Any]:
    """Volatility across, each segment a series of the other feature that tells the assets apart most."""
    across = features.names.index("volatility") if "volatility" in features.names else 0
    up = features.names.index("beta") if "beta" in features.names else len(features.names) - 1
    order = np.argsort(features.values[:, across], kind="stable").tolist()
    labels = sorted({row.label or str(row.cluster) for row in rows})
    return {
        "kind": "scatter",
        "title": f"Assets by {features.names[across]} and {features.names[up]}",
        "x": [round(float(features.values[place, across]), 6) for place in order],
        "labels": [features.index[place] for place in order],
        "series": {
            label: [
                round(float(features.values[place, up]), 6)
                if (rows[place].label or str(rows[place].cluster)) == label
                else None
                for place in order
            ]
            for label in labels
        },
        "unit": features.names[up],
    }
