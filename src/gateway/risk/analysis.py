"""What a portfolio's history says: moments, tails, volatility, dependence, regimes, drawdowns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from gateway.risk.features import DECAY, YEAR
from gateway.risk.garch import Garch, fit_garch
from gateway.risk.market_data import MarketData

Floats = NDArray[np.float64]


def moments(returns: Floats) -> dict[str, float]:
    """Mean and volatility annualised; skewness, excess kurtosis, Jarque–Bera of daily returns (T,)."""
    statistic, p_value = stats.jarque_bera(returns)
    return {
        "mean_annual": float(returns.mean() * YEAR),
        "volatility_annual": float(returns.std(ddof=1) * np.sqrt(YEAR)),
        "skewness": float(stats.skew(returns)),
        "excess_kurtosis": float(stats.kurtosis(returns)),
        "jarque_bera": float(statistic),
        "jarque_bera_p": float(p_value),
        "sharpe_of_excess_over_zero": float(returns.mean() / returns.std(ddof=1) * np.sqrt(YEAR)),
    }


def tails(returns: Floats) -> dict[str, float]:
    """Quantiles of loss and the Hill estimate of the tail index over the worst 5 % of days."""
    losses = np.sort(-returns)[::-1]
    count = max(int(len(losses) * 0.05), 5)
    hill = 1.0 / np.mean(np.log(losses[:count] / losses[count])) if losses[count] > 0 else float("nan")
    result = {"hill_tail_index": float(hill), "hill_days": count}
    for level in (0.95, 0.99):
        var = float(np.quantile(-returns, level))
        beyond = -returns[-returns >= var]
        result[f"var_{int(level * 100)}"] = var
        result[f"es_{int(level * 100)}"] = float(beyond.mean())
    return result


def volatility(returns: Floats) -> tuple[dict[str, Any], Garch, Floats]:
    """(summary, GARCH fit, EWMA daily variance by day) of returns (T,)."""
    ewma = np.empty(len(returns))
    ewma[0] = returns[:63].var()
    for day in range(1, len(returns)):
        ewma[day] = DECAY * ewma[day - 1] + (1 - DECAY) * returns[day - 1] ** 2
    fit = fit_garch(returns)
    following = fit.next_variance(float(returns[-1]))
    summary = {
        "ewma_annual": float(np.sqrt((DECAY * ewma[-1] + (1 - DECAY) * returns[-1] ** 2) * YEAR)),
        "garch": {
            "mu": fit.mu,
            "omega": fit.omega,
            "alpha": fit.alpha,
            "beta": fit.beta,
            "persistence": fit.persistence,
            "log_likelihood": fit.log_likelihood,
            "converged": fit.converged,
            "next_day_annual": float(np.sqrt(following * YEAR)),
            "long_run_annual": float(np.sqrt(fit.long_run_variance * YEAR)),
            "half_life_days": float(np.log(0.5) / np.log(fit.persistence)) if 0 < fit.persistence < 1 else None,
        },
    }
    return summary, fit, ewma


def shrunk_correlation(returns: Floats) -> tuple[Floats, float]:
    """(correlation (N, N), shrinkage): Ledoit and Wolf (2004) towards a multiple of the identity, on
    standardised returns (T, N)."""
    standard = (returns - returns.mean(axis=0)) / np.maximum(returns.std(axis=0), 1e-12)
    count, assets = standard.shape
    sample = standard.T @ standard / count
    mean = np.trace(sample) / assets
    distance = ((sample - mean * np.eye(assets)) ** 2).sum() / assets
    squares = standard**2
    noise = ((squares.T @ squares).sum() / count - (sample**2).sum()) / (count * assets)
    shrinkage = float(min(max(noise / distance, 0.0), 1.0)) if distance > 0 else 0.0
    matrix = shrinkage * mean * np.eye(assets) + (1 - shrinkage) * sample
    scale = np.sqrt(np.diag(matrix))
    return matrix / np.outer(scale, scale), shrinkage


def drawdowns(returns: Floats, dates: NDArray[np.datetime64], most: int = 5) -> list[dict[str, Any]]:
    """The deepest losses from a high: depth, first, lowest and recovery day; worst first."""
    growth = np.concatenate([[1.0], np.cumprod(1 + returns)])
    under = growth < np.maximum.accumulate(growth)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], under, [False]]).astype(np.int8)))
    found: list[dict[str, Any]] = []
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        peak = start - 1
        low = start + int(np.argmin(growth[start:end]))
        found.append(
            {
                "depth": float(growth[low] / growth[peak] - 1),
                "peak": str(dates[peak]),
                "trough": str(dates[low]),
                "recovered": str(dates[end]) if end < len(growth) else None,
            }
        )
    return sorted(found, key=lambda item: float(item["depth"]))[:most]


def regimes(returns: Floats, dates: NDArray[np.datetime64]) -> dict[str, Any]:
    """Calm, normal and stressed days by the terciles of 63-day volatility: shares, returns, the last one."""
    window = 63
    if len(returns) < 2 * window:
        return {"states": [], "current": None}
    cumulative = np.concatenate([[0.0], np.cumsum(returns**2)])
    vol = np.sqrt((cumulative[window:] - cumulative[:-window]) / window * YEAR)
    low, high = np.quantile(vol, [1 / 3, 2 / 3])
    state = np.digitize(vol, [low, high])
    after = returns[window - 1 :]
    names = ("calm", "normal", "stressed")
    return {
        "limits": {"calm_below": float(low), "stressed_above": float(high)},
        "states": [
            {
                "name": name,
                "share": float((state == at).mean()),
                "mean_annual": float(after[state == at].mean() * YEAR),
                "volatility_annual": float(after[state == at].std() * np.sqrt(YEAR)),
            }
            for at, name in enumerate(names)
        ],
        "stay_probability": {name: float((state[1:][state[:-1] == at] == at).mean()) for at, name in enumerate(names)},
        "current": names[int(state[-1])],
        "as_of": str(dates[-1]),
    }


def most_correlated(data: MarketData, matrix: Floats) -> tuple[tuple[str, str, float], tuple[str, str, float]]:
    """The most and the least correlated pair of assets."""
    upper = np.triu_indices(len(data.assets), 1)
    values = matrix[upper]
    pairs = []
    for at in (int(np.argmax(values)), int(np.argmin(values))):
        pairs.append((data.assets[upper[0][at]], data.assets[upper[1][at]], float(values[at])))
    return pairs[0], pairs[1]
