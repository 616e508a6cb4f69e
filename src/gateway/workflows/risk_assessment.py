"""``risk_assessment``: VaR and expected shortfall of scenarios or of a portfolio, with errors and backtests."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from gateway.errors import NotFound, ValidationFailed
from gateway.risk import assessment
from gateway.risk.backtests import backtest
from gateway.risk.market_data import MarketData
from gateway.workflows.context import StepContext
from gateway.workflows.market_input import fact, load_market, plain, thinned
from gateway.workflows.scenario_gen import paths_of

_LEVELS = (0.95, 0.99)
_MONTHS = 12


async def assess(context: StepContext, data: dict[str, Any]) -> dict[str, Any]:
    """``measures`` with standard errors; for a portfolio also ``backtests`` and each asset's share.

    Give ``scenarios`` (of ``scenario_generation``) or ``portfolio`` (market data); ``confidence`` is a
    level or a list of them, from 0.5 to 0.999.
    """
    levels = _levels(data.get("confidence"))
    given = [name for name in ("scenarios", "portfolio") if data.get(name) is not None]
    if len(given) != 1:
        raise ValidationFailed(
            "input_data takes scenarios or portfolio", mend="give one of the two", param="input_data.scenarios"
        )
    if given[0] == "portfolio":
        market = await load_market(context, data["portfolio"], "input_data.portfolio")
        context.progress(0.2, "measuring losses")
        made = await asyncio.to_thread(_portfolio, context, market, levels)
    else:
        paths, about = await asyncio.to_thread(_paths, context, data["scenarios"])
        context.progress(0.3, f"measuring {len(paths)} paths")
        made = await asyncio.to_thread(_scenarios, paths, about, levels)
    described: dict[str, Any] = plain(made)
    return described


def _scenarios(
    equity: np.ndarray[Any, np.dtype[np.float64]], about: Mapping[str, Any], levels: tuple[float, ...]
) -> dict[str, Any]:
    """Losses of the equity value over one year, half the horizon, and all of it."""
    years = (equity.shape[1] - 1) // _MONTHS
    horizons = sorted({1, max(years // 2, 1), years})
    measures = []
    for year in horizons:
        losses = 1 - equity[:, year * _MONTHS] / equity[:, 0]
        for level in levels:
            found = assessment.measure("historical", losses, level, pairs=True)
            measures.append({**asdict(found), "method": "simulation", "horizon_years": year})
    falls = assessment.max_drawdown(equity)
    one_year = [item for item in measures if item["horizon_years"] == 1]
    chosen = one_year[-1]
    losses = 1 - equity[:, _MONTHS] / equity[:, 0]
    counts, edges = np.histogram(losses, bins=40)
    return {
        "measures": measures,
        "backtests": [],
        "drawdown": {
            "mean": float(falls.mean()),
            "quantiles": {str(level): float(np.quantile(falls, level)) for level in (0.5, *levels)},
        },
        "stresses": about.get("stresses", []),
        "paths": len(equity),
        "measure": about.get("measure"),
        "facts": [
            *(
                fact(f"{name} of one year at {item['level']:.0%}", 100 * item[key], "%")
                for item in one_year
                for name, key in (("VaR", "var"), ("expected shortfall", "es"))
            ),
            fact(f"standard error of the VaR at {chosen['level']:.0%}", 100 * chosen["var_error"], "%"),
            fact(f"standard error of the expected shortfall at {chosen['level']:.0%}", 100 * chosen["es_error"], "%"),
            fact("mean of the deepest drawdown", 100 * float(falls.mean()), "%"),
        ],
        "plots": {
            "losses": {
                "kind": "bar",
                "title": "Loss of the equity value after one year (negative: gain)",
                "x": [round(100 * float(edge), 2) for edge in (edges[:-1] + edges[1:]) / 2],
                "x_title": "loss, %",
                "series": {"paths": counts},
                "marks": [
                    {"x": 100 * item[key], "label": f"{name} {item['level']:.0%}"}
                    for item in one_year
                    for name, key in (("VaR", "var"), ("ES", "es"))
                ],
                "unit": "paths",
            }
        },
    }


def _portfolio(context: StepContext, market: MarketData, levels: tuple[float, ...]) -> dict[str, Any]:
    losses = -market.portfolio_returns()
    if len(losses) < assessment.WINDOW + 250:
        raise ValidationFailed(
            f"a portfolio needs {assessment.WINDOW + 250} returns for its backtest, there are {len(losses)}",
            param="input_data.portfolio",
        )
    measures, tests = [], []
    for at, method in enumerate(assessment.METHODS):
        context.raise_if_cancelled()
        context.progress(0.2 + 0.15 * at, f"{method}: measures and backtest")
        for level in levels:
            measures.append({**asdict(assessment.measure(method, losses, level)), "horizon_days": 1})
            breaches = assessment.rolling_breaches(method, losses, level)
            tests.append({"method": method, "level": level, **asdict(backtest(breaches, level))})
    level = levels[-1]
    shares = assessment.component_var(market.simple_returns(), market.weights, level)
    shown = thinned(len(losses))
    by_asset = sorted(zip(market.assets, shares.tolist(), strict=True), key=lambda item: -item[1])
    return {
        "measures": measures,
        "backtests": tests,
        "component_var": {"level": level, "method": "gaussian", "total": float(shares.sum()), "assets": dict(by_asset)},
        "facts": [
            *(
                fact(f"daily {name} at {item['level']:.0%}, {item['method'].replace('_', ' ')}", 100 * item[key], "%")
                for item in measures
                if item["level"] == level
                for name, key in (("VaR", "var"), ("expected shortfall", "es"))
            ),
            fact("asset with the largest share of VaR", by_asset[0][0]),
        ],
        "plots": {
            "losses": {
                "kind": "line",
                "title": "Daily loss of the portfolio",
                "x": [str(market.dates[at + 1]) for at in shown],
                "series": {"loss": 100 * losses[shown]},
                "unit": "%",
            },
            "shares": {
                "kind": "bar",
                "title": f"Share of the VaR at {level:.0%} by asset",
                "x": [name for name, _ in by_asset],
                "series": {"share": [100 * value for _, value in by_asset]},
                "unit": "%",
            },
        },
    }


def _paths(context: StepContext, raw: Any) -> tuple[np.ndarray[Any, np.dtype[np.float64]], Mapping[str, Any]]:
    place = "input_data.scenarios"
    about = raw.get("scenarios", raw) if isinstance(raw, Mapping) else None
    reference = about.get("artifact") if isinstance(about, Mapping) else None
    name = reference.get("sha256") if isinstance(reference, Mapping) else None
    if not isinstance(about, Mapping) or not isinstance(name, str):
        raise ValidationFailed(f"{place}: what scenario_generation published is expected", param=place)
    try:
        factors = paths_of(context.artifacts.get(name))
    except NotFound:
        raise ValidationFailed(f"{place}.artifact: there is no such artifact", param=place) from None
    return factors["equity"], about


def _levels(raw: Any) -> tuple[float, ...]:
    if raw is None:
        return _LEVELS
    values = raw if isinstance(raw, list) else [raw]
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.5 <= value <= 0.999:
            raise ValidationFailed("confidence: levels from 0.5 to 0.999", param="input_data.confidence")
    if not 0 < len(values) <= 5:
        raise ValidationFailed("confidence: one to five levels", param="input_data.confidence")
    return tuple(sorted(float(value) for value in set(values)))
