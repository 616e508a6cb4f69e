"""The price path of an asset or of the whole portfolio, with intervals."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.errors import ValidationFailed
from gateway.models.ml_models import ModelVersion, RowPrediction
from gateway.risk.market_data import MarketData
from gateway.serving.predict import PredictAnswer
from gateway.workflows.context import StepContext
from gateway.workflows.market_input import load_market
from gateway.workflows.model_step import ask, told, whole_number

DEFAULT_HORIZON = 21
#: What the index of the whole portfolio is called, and where it starts.
PORTFOLIO = "portfolio"
_BASE = 100.0
_SHOWN_PAST = 252
_MOST_PAST = 2_000


async def forecast(ctx: StepContext, data: dict[str, Any]) -> dict[str, Any]:
    """Prices for ``horizon`` trading days (21 where left out) after the last day of ``data``.

    ``asset`` names one of the data's assets; left out, the daily rebalanced portfolio itself, as an
    index that starts at 100.
    """
    market = await load_market(ctx, data["data"], "input_data.data")
    horizon = whole_number(data.get("horizon", DEFAULT_HORIZON), "input_data.horizon", 1, 1_000)
    asset, prices = _series(market, data.get("asset"))
    past = prices[-_MOST_PAST:]
    ctx.progress(0.4, f"{len(past)} prices to the model")
    inputs = {"series": past.tolist(), "horizon": horizon}
    answer = await ask(ctx, "price_forecast", inputs, explain=True)
    version = await asyncio.to_thread(ctx.registry.resolve, answer.model, answer.version)
    rows = answer.prediction.predictions
    dates = following_days(market.dates[-1], len(rows))
    points = [
        {"step": step + 1, "date": date, **_point(row)}
        for step, (date, row) in enumerate(zip(dates, rows, strict=True))
    ]
    last, end = float(prices[-1]), points[-1]
    return {
        "forecast": {
            "asset": asset,
            "as_of": str(market.dates[-1]),
            "last_price": last,
            "horizon": len(rows),
            "coverage": rows[-1].coverage,
            "points": points,
            "components": [
                {"name": part.feature, "contribution": round(part.contribution, 8)}
                for part in rows[-1].contributions or ()
            ],
            "note": "dates are weekdays: holidays are not known here",
        },
        "backtest": dict(version.metrics),
        "model": answer.model,
        "version": answer.version,
        "facts": _facts(asset, last, end, rows[-1], answer, version),
        "plots": {"forecast": _plot(asset, market, prices, points)},
    }


def following_days(last: np.datetime64, count: int) -> list[str]:
    """The next ``count`` weekdays after ``last``, as ISO dates."""
    steps = np.arange(1, count + 1)
    return [str(day) for day in np.busday_offset(last.astype("datetime64[D]"), steps, roll="backward")]


def _series(market: MarketData, asset: Any) -> tuple[str, NDArray[np.float64]]:
    if asset is None or asset == PORTFOLIO:
        growth = np.concatenate([[1.0], np.cumprod(1.0 + market.portfolio_returns())])
        return PORTFOLIO, _BASE * growth
    if asset not in market.assets:
        raise ValidationFailed(
            "input_data.asset is none of the data's assets",
            mend=f"one of: {', '.join(market.assets[:40])}; leave it out for the whole portfolio",
            param="input_data.asset",
        )
    return str(asset), market.prices[:, market.assets.index(asset)]


def _point(row: RowPrediction) -> dict[str, float]:
    if row.value is None or row.lower is None or row.upper is None:
        raise ValidationFailed(
            "the model gives no value with an interval",
            mend="name a time_series model in model_config.name",
            param="model_config.name",
        )
    return {"value": round(row.value, 6), "lower": round(row.lower, 6), "upper": round(row.upper, 6)}


def _facts(
    asset: str, last: float, end: dict[str, Any], row: RowPrediction, answer: PredictAnswer, version: ModelVersion
) -> list[dict[str, Any]]:
    source = f"{answer.model} version {answer.version}"
    unit = "index" if asset == PORTFOLIO else "price"
    coverage = round(100 * (row.coverage or 0.0))
    found = [
        told(f"last value of {asset}", round(last, 4), unit),
        told(f"forecast of {asset} for {end['date']}", end["value"], unit, source),
        told(f"lower end of its {coverage} % interval", end["lower"], unit, source),
        told(f"upper end of its {coverage} % interval", end["upper"], unit, source),
        told("expected change over the horizon", round(100 * (end["value"] / last - 1), 3), "%", source),
    ]
    known = version.metrics
    if "mae" in known and "naive_mae" in known:
        found += [
            told("mean absolute log error in the backtest", known["mae"], "log price", source),
            told("the same of the last price as forecast", known["naive_mae"], "log price", source),
        ]
    if "coverage" in known:
        found.append(told("share of backtest prices in the interval", round(100 * known["coverage"], 2), "%", source))
    return found


def _plot(
    asset: str, market: MarketData, prices: NDArray[np.float64], points: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    past = min(_SHOWN_PAST, len(prices))
    gap: list[float | None] = [None] * (past - 1)
    last = round(float(prices[-1]), 6)
    ahead = points[: 500 - past]
    return {
        "kind": "band",
        "title": f"{asset}: the last {past} days and the forecast",
        "x": [str(date) for date in market.dates[-past:]] + [point["date"] for point in ahead],
        "series": {
            "past": [round(float(price), 6) for price in prices[-past:]] + [None] * len(ahead),
            "forecast": [*gap, last, *(point["value"] for point in ahead)],
            "lower": [*gap, last, *(point["lower"] for point in ahead)],
            "upper": [*gap, last, *(point["upper"] for point in ahead)],
        },
        "unit": "index" if asset == PORTFOLIO else "price",
    }
