"""``data_preprocessing``: whatever prices come in, one aligned table goes out, with a report of what was done."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from gateway.errors import ValidationFailed
from gateway.risk.features import YEAR, risk_table
from gateway.risk.market_data import MarketData, Report, parse_market_data, to_parquet
from gateway.workflows.context import StepContext
from gateway.workflows.market_input import fact, load_market, plain, thinned

#: Daily returns beyond these quantiles of their asset are counted (and cut in the winsorised figures).
_WINSOR = 0.001


async def preprocess(context: StepContext, data: dict[str, Any]) -> dict[str, Any]:
    """``processed_data`` (an artifact and its description), ``report``, ``facts`` and ``plots``.

    Missing prices take the price before; days before every asset has one are left out; nothing else
    is changed. Options: ``winsorise`` (a quantile, default 0.001) for the report's winsorised figures.
    """
    options = data.get("options") or {}
    quantile = _quantile(options)
    raw = data["data"]
    if isinstance(raw, Mapping) and "artifact" in raw:
        market = await load_market(context, raw, "input_data.data")
        report = Report(len(market.dates), 0, {}, {}, ())
    else:
        market, report = await asyncio.to_thread(parse_market_data, raw, "input_data.data")
    context.progress(0.4, f"{len(market.assets)} assets, {len(market.dates)} days")
    context.raise_if_cancelled()
    made = await asyncio.to_thread(_describe, market, report, quantile)
    context.progress(0.8, "storing the table")
    reference = await asyncio.to_thread(context.artifacts.put, to_parquet(market), "application/vnd.apache.parquet")
    made["processed_data"]["artifact"] = msgspec.to_builtins(reference)
    described: dict[str, Any] = plain(made)
    return described


def _describe(market: MarketData, report: Report, quantile: float) -> dict[str, Any]:
    returns = market.simple_returns()
    portfolio = market.portfolio_returns()
    low, high = np.quantile(returns, [quantile, 1 - quantile], axis=0)
    cut = ((returns < low) | (returns > high)).sum(axis=0)
    growth = np.concatenate([[1.0], np.cumprod(1 + portfolio)])
    drawdown = growth / np.maximum.accumulate(growth) - 1
    shown = thinned(len(growth))
    features = risk_table(market)
    start, end = str(market.dates[0]), str(market.dates[-1])
    years = len(portfolio) / YEAR
    worst = int(np.argmin(portfolio))
    return {
        "processed_data": {
            "artifact": {},
            "dataset": market.name,
            "start": start,
            "end": end,
            "assets": list(market.assets),
            "rows": len(market.dates),
            "weights": dict(zip(market.assets, market.weights.tolist(), strict=True)),
            "features": list(features.names),
            "feature_rows": len(features.index),
            "returns": "simple and log, daily; computed from the prices in the artifact",
        },
        "report": {
            "rows": report.rows,
            "dropped_rows": report.dropped_rows,
            "filled": dict(report.filled),
            "stale_days": dict(report.stale),
            "winsorised": {"quantile": quantile, "cut": dict(zip(market.assets, cut.tolist(), strict=True))},
            "volatility": {
                "raw": dict(zip(market.assets, (returns.std(axis=0, ddof=1) * np.sqrt(YEAR)).tolist(), strict=True)),
                "winsorised": dict(
                    zip(
                        market.assets,
                        (np.clip(returns, low, high).std(axis=0, ddof=1) * np.sqrt(YEAR)).tolist(),
                        strict=True,
                    )
                ),
            },
            "notes": list(report.notes),
        },
        "facts": [
            fact("annual return of the portfolio", 100 * (growth[-1] ** (1 / years) - 1), "%"),
            fact("annual volatility of the portfolio", 100 * portfolio.std(ddof=1) * np.sqrt(YEAR), "%"),
            fact("largest drawdown", 100 * drawdown.min(), "%"),
            fact("worst day", str(market.dates[worst + 1]), "date"),
            fact("return on the worst day", 100 * portfolio[worst], "%"),
            fact("first day", start, "date"),
            fact("last day", end, "date"),
            fact("assets", len(market.assets)),
            fact("trading days", len(market.dates)),
        ],
        "plots": {
            "growth": {
                "kind": "line",
                "title": "Growth of 1 invested (rebalanced daily)",
                "x": [str(market.dates[at]) for at in shown],
                "series": {"portfolio": growth[shown]},
                "unit": "×",
                "log": True,
            },
            "drawdown": {
                "kind": "line",
                "title": "Loss from the highest level so far",
                "x": [str(market.dates[at]) for at in shown],
                "series": {"drawdown": 100 * drawdown[shown]},
                "unit": "%",
            },
        },
    }


def _quantile(options: Any) -> float:
    if not isinstance(options, Mapping) or any(name != "winsorise" for name in options):
        raise ValidationFailed("input_data.options: an object that may hold winsorise", param="input_data.options")
    value = options.get("winsorise", _WINSOR)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 0.25:
        raise ValidationFailed("input_data.options.winsorise: from 0 to 0.25", param="input_data.options.winsorise")
    return float(value)
