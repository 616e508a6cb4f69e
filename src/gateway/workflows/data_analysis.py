"""``data_analysis``: what the history of a portfolio says, and the parameters that scenarios are drawn with."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np

from gateway.errors import ValidationFailed
from gateway.risk import analysis
from gateway.risk.calibration import calibrate
from gateway.risk.features import YEAR
from gateway.risk.market_data import MarketData
from gateway.workflows.context import StepContext
from gateway.workflows.market_input import fact, load_market, plain, thinned

_LEAST_DAYS = 250


async def analyse(context: StepContext, data: dict[str, Any]) -> dict[str, Any]:
    """The whole analysis; its ``calibration`` is what ``scenario_generation`` needs."""
    market = await load_market(context, data["market_data"], "input_data.market_data")
    if len(market.dates) < _LEAST_DAYS:
        raise ValidationFailed(
            f"an analysis needs {_LEAST_DAYS} days, there are {len(market.dates)}", param="input_data.market_data"
        )
    context.progress(0.2, "moments and tails")
    made = await asyncio.to_thread(_analyse, market, context)
    described: dict[str, Any] = plain(made)
    return described


def _analyse(market: MarketData, context: StepContext) -> dict[str, Any]:
    portfolio = market.portfolio_returns()
    days = market.dates[1:]
    moments, tails = analysis.moments(portfolio), analysis.tails(portfolio)
    context.progress(0.4, "fitting volatility")
    volatility, fit, ewma = analysis.volatility(portfolio)
    context.raise_if_cancelled()
    context.progress(0.7, "dependence and regimes")
    matrix, shrinkage = analysis.shrunk_correlation(market.simple_returns())
    high, low = analysis.most_correlated(market, matrix) if len(market.assets) > 1 else (None, None)
    regimes = analysis.regimes(portfolio, days)
    falls = analysis.drawdowns(portfolio, market.dates)
    calibration = calibrate(market)
    shown = thinned(len(portfolio))
    upper = matrix[np.triu_indices(len(market.assets), 1)]
    return {
        "dataset": market.name,
        "start": str(market.dates[0]),
        "end": str(market.dates[-1]),
        "assets": list(market.assets),
        "moments": moments,
        "tails": tails,
        "volatility": volatility,
        "correlation": {
            "assets": list(market.assets),
            "matrix": matrix.round(4),
            "shrinkage": shrinkage,
            "mean": float(upper.mean()) if len(upper) else None,
            "highest": high,
            "lowest": low,
        },
        "regimes": regimes,
        "drawdowns": falls,
        "calibration": calibration.as_json(),
        "facts": [
            fact("annual return", 100 * moments["mean_annual"], "%"),
            fact("annual volatility", 100 * moments["volatility_annual"], "%"),
            fact("skewness", moments["skewness"]),
            fact("excess kurtosis", moments["excess_kurtosis"]),
            fact("daily VaR at 99 %", 100 * tails["var_99"], "%"),
            fact("daily expected shortfall at 99 %", 100 * tails["es_99"], "%"),
            fact("volatility of the next day by GARCH, annualised", 100 * volatility["garch"]["next_day_annual"], "%"),
            fact("volatility by EWMA, annualised", 100 * volatility["ewma_annual"], "%"),
            fact("mean correlation of assets", float(upper.mean()) if len(upper) else 0.0),
            fact("deepest drawdown", 100 * falls[0]["depth"] if falls else 0.0, "%"),
            fact("current regime", str(regimes["current"])),
        ],
        "plots": {
            "volatility": {
                "kind": "line",
                "title": "Annualised volatility of the portfolio",
                "x": [str(days[at]) for at in shown],
                "series": {
                    "GARCH(1,1)": 100 * np.sqrt(fit.variance[shown] * YEAR),
                    "EWMA": 100 * np.sqrt(ewma[shown] * YEAR),
                },
                "unit": "%",
            },
            "correlation": {
                "kind": "heatmap",
                "title": "Correlation of daily returns (shrunk)",
                "x": list(market.assets),
                "series": {"matrix": matrix.round(3)},
                "unit": "",
            },
        },
    }
