"""Feature tables from prices. Every row says only what was known at the close of its day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from gateway.models.ml_models import FeatureSpec
from gateway.risk.market_data import MarketData

YEAR = 252
#: Decay of the exponentially weighted variance (RiskMetrics, J.P. Morgan 1996).
DECAY = 0.94
#: A daily volatility is taken to be at least this: a price that stood still is no sign of calm.
_LEAST_VOLATILITY = 0.005
#: Days that start the exponentially weighted variance.
WARM_UP = 63

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """M rows of F features, all finite. ``index`` holds dates (ISO) or asset names."""

    index: tuple[str, ...]
    specs: tuple[FeatureSpec, ...]
    values: Floats

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names."""
        return tuple(spec.name for spec in self.specs)


_RISK = (
    FeatureSpec("vol_21", "volatility of the last 21 days, annualised", "fraction"),
    FeatureSpec("vol_63", "volatility of the last 63 days, annualised", "fraction"),
    FeatureSpec("vol_252", "volatility of the last 252 days, annualised", "fraction"),
    FeatureSpec("vol_ratio", "vol_21 over vol_252", "ratio"),
    FeatureSpec("downside_vol_63", "root mean square of the negative returns of 63 days, annualised", "fraction"),
    FeatureSpec("return_21", "return over the last 21 days", "fraction"),
    FeatureSpec("return_63", "return over the last 63 days", "fraction"),
    FeatureSpec("drawdown_252", "loss from the highest level of the last 252 days", "fraction"),
    FeatureSpec("mean_correlation_63", "mean correlation between assets over 63 days", "correlation"),
    FeatureSpec("dispersion_21", "spread of the assets' returns on a day, mean of 21 days", "fraction"),
    FeatureSpec("skew_63", "skewness of the last 63 daily returns", "none"),
    FeatureSpec("kurtosis_63", "excess kurtosis of the last 63 daily returns", "none"),
    FeatureSpec("worst_day_21", "lowest daily return of the last 21 days", "fraction"),
)
_ANOMALY = (
    FeatureSpec("market_z", "move of the portfolio over its EWMA volatility of the day before", "deviations"),
    FeatureSpec("mean_abs_z", "mean size of the assets' moves over their EWMA volatility", "deviations"),
    FeatureSpec("max_abs_z", "largest of these sizes", "deviations"),
    FeatureSpec("down_share", "share of the assets that fell", "fraction"),
    FeatureSpec("dispersion_z", "spread of the assets' returns over its mean of 63 days", "ratio"),
    FeatureSpec("vol_jump", "EWMA volatility of the day over that of five days before", "ratio"),
)
_SEGMENT = (
    FeatureSpec("volatility", "annualised", "fraction"),
    FeatureSpec("beta", "to the equally weighted portfolio", "ratio"),
    FeatureSpec("mean_correlation", "with the other assets", "correlation"),
    FeatureSpec("return_year", "mean return, annualised", "fraction"),
    FeatureSpec("max_drawdown", "largest loss from a high", "fraction"),
    FeatureSpec("skew", "skewness of daily returns", "none"),
    FeatureSpec("tail_ratio", "1 % quantile of losses over volatility of a day", "ratio"),
)
#: Days of history of a segment row.
SEGMENT_DAYS = 5 * YEAR


def risk_table(data: MarketData) -> FeatureTable:
    """A row a day from the 253rd on, of the weighted portfolio. No rows where there is less history."""
    returns = data.simple_returns()
    portfolio = returns @ data.weights
    count = len(portfolio) - YEAR + 1
    if count < 1:
        return FeatureTable((), _RISK, np.empty((0, len(_RISK))))
    windows = {days: sliding_window_view(portfolio, days)[-count:] for days in (21, 63, YEAR)}
    root = np.sqrt(YEAR)
    vol = {days: np.maximum(window.std(axis=1, ddof=1) * root, 1e-6) for days, window in windows.items()}
    growth = np.concatenate([[1.0], np.cumprod(1 + portfolio)])
    levels = sliding_window_view(growth, YEAR + 1)[-count:]
    centred = windows[63] - windows[63].mean(axis=1, keepdims=True)
    scale = np.maximum(centred.std(axis=1), 1e-12)
    spread = returns.std(axis=1)
    values = np.column_stack(
        [
            vol[21],
            vol[63],
            vol[YEAR],
            vol[21] / vol[YEAR],
            np.sqrt((np.minimum(windows[63], 0) ** 2).mean(axis=1)) * root,
            np.prod(1 + windows[21], axis=1) - 1,
            np.prod(1 + windows[63], axis=1) - 1,
            levels[:, -1] / levels.max(axis=1) - 1,
            _mean_correlation(returns, 63, count),
            sliding_window_view(spread, 21)[-count:].mean(axis=1),
            (centred**3).mean(axis=1) / scale**3,
            (centred**4).mean(axis=1) / scale**4 - 3,
            windows[21].min(axis=1),
        ]
    )
    return FeatureTable(_days(data, count), _RISK, np.nan_to_num(values))


def anomaly_table(data: MarketData) -> FeatureTable:
    """A row a day, once the volatilities are warm. No rows where there is less history."""
    returns = data.simple_returns()
    start = WARM_UP + 5
    count = len(returns) - start
    if count < 1:
        return FeatureTable((), _ANOMALY, np.empty((0, len(_ANOMALY))))
    portfolio = returns @ data.weights
    market_vol = _ewma_volatility(portfolio[:, None])[:, 0]
    z = returns / _ewma_volatility(returns)[:-1]
    spread = returns.std(axis=1)
    usual = sliding_window_view(spread, WARM_UP).mean(axis=1)[:-1]  # usual[t] ends on day t + WARM_UP - 1
    sizes = np.abs(z[start:])
    values = np.column_stack(
        [
            portfolio[start:] / market_vol[start:-1],
            sizes.mean(axis=1),
            sizes.max(axis=1),
            (returns[start:] < 0).mean(axis=1),
            spread[start:] / np.maximum(usual[start - WARM_UP : start - WARM_UP + count], 1e-9),
            market_vol[start + 1 :] / market_vol[start - 4 : -5],
        ]
    )
    return FeatureTable(_days(data, count), _ANOMALY, np.nan_to_num(values))


def asset_scores(data: MarketData) -> tuple[tuple[str, ...], Floats, Floats]:
    """(dates, z, returns) with a row for each row of ``anomaly_table``: each asset's move over its EWMA
    volatility of the day before, and its simple return; shapes (M, N)."""
    returns = data.simple_returns()
    count = max(len(returns) - WARM_UP - 5, 0)
    z = returns / _ewma_volatility(returns)[:-1]
    return _days(data, count), z[len(z) - count :], returns[len(returns) - count :]


def segment_table(data: MarketData) -> FeatureTable:
    """A row an asset, over the last five years (or what there is)."""
    returns = data.simple_returns()[-SEGMENT_DAYS:]
    prices = data.prices[-len(returns) - 1 :]
    market = returns.mean(axis=1)
    deviations = np.maximum(returns.std(axis=0, ddof=1), 1e-9)
    centred = returns - returns.mean(axis=0)
    standard = centred / deviations
    correlation = standard.T @ standard / max(len(returns) - 1, 1)
    others = max(len(data.assets) - 1, 1)
    values = np.column_stack(
        [
            deviations * np.sqrt(YEAR),
            centred.T @ (market - market.mean()) / max(((market - market.mean()) ** 2).sum(), 1e-18),
            (correlation.sum(axis=1) - 1) / others,
            returns.mean(axis=0) * YEAR,
            (prices / np.maximum.accumulate(prices, axis=0) - 1).min(axis=0),
            (standard**3).mean(axis=0),
            -np.quantile(returns, 0.01, axis=0) / deviations,
        ]
    )
    return FeatureTable(data.assets, _SEGMENT, np.nan_to_num(values))


def _ewma_volatility(returns: Floats) -> Floats:
    """Daily volatility known at the end of each day: row t uses returns before t; shape (T+1, N).

    The first ``WARM_UP`` rows are the plain deviation of the warm-up days.
    """
    variance = np.empty((len(returns) + 1, returns.shape[1]))
    start = np.maximum((returns[:WARM_UP] ** 2).mean(axis=0), 1e-12)
    variance[: min(WARM_UP, len(returns)) + 1] = start
    for day in range(WARM_UP, len(returns)):
        variance[day + 1] = DECAY * variance[day] + (1 - DECAY) * returns[day] ** 2
    return np.maximum(np.sqrt(variance), _LEAST_VOLATILITY)


def _mean_correlation(returns: Floats, days: int, count: int) -> Floats:
    """Mean pairwise correlation over windows, by the variance of the sum of standardised returns."""
    assets = returns.shape[1]
    if assets < 2:
        return np.zeros(count)
    result = np.empty(count)
    first = len(returns) - count - days + 1
    for at in range(count):
        window = returns[first + at : first + at + days]
        deviation = window.std(axis=0)
        standard = (window - window.mean(axis=0)) / np.where(deviation > 1e-12, deviation, 1.0)
        total = (standard.sum(axis=1) ** 2).mean()
        result[at] = (total - assets) / (assets * (assets - 1))
    return result


def _days(data: MarketData, count: int) -> tuple[str, ...]:
    return tuple(str(day) for day in data.dates[len(data.dates) - count :]) if count else ()
