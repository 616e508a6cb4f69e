"""VaR and expected shortfall, each with its standard error; losses are positive numbers.

Historical, Gaussian, EWMA and filtered historical (Barone-Adesi et al. 1999) for daily returns; order
statistics for simulated values. Standard errors come from a seeded bootstrap of days (of pairs of
paths where they are antithetic).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from gateway.risk.features import DECAY

Floats = NDArray[np.float64]
_RESAMPLES = 200
_SEED = 7
#: Days before the first forecast of a backtest.
WINDOW = 500


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure pair at one confidence level, as fractions of value."""

    method: str
    level: float
    var: float
    var_error: float
    es: float
    es_error: float


def historical(losses: Floats, level: float) -> tuple[float, float]:
    """(VaR, ES): the quantile of the losses, and the mean of those at or beyond it."""
    var = float(np.quantile(losses, level))
    return var, float(losses[losses >= var].mean())


def gaussian(losses: Floats, level: float) -> tuple[float, float]:
    """(VaR, ES) of a normal distribution with the losses' mean and deviation."""
    mean, deviation = float(losses.mean()), float(losses.std(ddof=1))
    z = float(stats.norm.ppf(level))
    return mean + deviation * z, mean + deviation * float(stats.norm.pdf(z)) / (1 - level)


def ewma(losses: Floats, level: float) -> tuple[float, float]:
    """(VaR, ES) for the next day: normal, with the exponentially weighted deviation (RiskMetrics 1996)."""
    deviation = float(np.sqrt(_ewma_variance(losses)[-1]))
    z = float(stats.norm.ppf(level))
    return deviation * z, deviation * float(stats.norm.pdf(z)) / (1 - level)


def filtered_historical(losses: Floats, level: float) -> tuple[float, float]:
    """(VaR, ES) for the next day: past losses in units of their day's EWMA deviation, times today's."""
    variance = _ewma_variance(losses)
    standard = losses / np.sqrt(variance[:-1])
    var, es = historical(standard[21:], level)
    scale = float(np.sqrt(variance[-1]))
    return var * scale, es * scale


METHODS: dict[str, Callable[[Floats, float], tuple[float, float]]] = {
    "historical": historical,
    "gaussian": gaussian,
    "ewma": ewma,
    "filtered_historical": filtered_historical,
}


def measure(method: str, losses: Floats, level: float, *, pairs: bool = False) -> Measure:
    """The figures and their standard errors. ``pairs``: the second half is antithetic to the first.

    The EWMA methods depend on the order of days: their errors are those of the standardised tail,
    resampled under today's deviation.
    """
    estimate = METHODS[method]
    var, es = estimate(losses, level)
    sample, base = losses, estimate
    if method in ("ewma", "filtered_historical"):
        deviation = np.sqrt(_ewma_variance(losses))
        sample = losses[21:] / deviation[21:-1] * deviation[-1]
        base = gaussian if method == "ewma" else historical
    errors = _bootstrap(sample, level, base, pairs=pairs)
    return Measure(method, level, var, errors[0], es, errors[1])


def rolling_breaches(method: str, losses: Floats, level: float, *, days: int = 1_000) -> NDArray[np.bool_]:
    """Whether the loss of each of the last ``days`` was above the VaR forecast the day before, from the
    ``WINDOW`` days up to then."""
    first = max(WINDOW, len(losses) - days)
    variance = _ewma_variance(losses)
    standard = losses / np.sqrt(variance[:-1])
    z = float(stats.norm.ppf(level))
    breaches = np.zeros(len(losses) - first, dtype=bool)
    for at, day in enumerate(range(first, len(losses))):
        past = slice(day - WINDOW, day)
        if method == "ewma":
            forecast = np.sqrt(variance[day]) * z
        elif method == "filtered_historical":
            forecast = np.sqrt(variance[day]) * np.quantile(standard[past], level)
        elif method == "gaussian":
            forecast = losses[past].mean() + losses[past].std(ddof=1) * z
        else:
            forecast = np.quantile(losses[past], level)
        breaches[at] = losses[day] > forecast
    return breaches


def component_var(returns: Floats, weights: Floats, level: float) -> Floats:
    """Each asset's share of the Gaussian VaR of the portfolio (Euler): shape (N,), sums to the VaR."""
    mean = returns.mean(axis=0)
    covariance = np.atleast_2d(np.cov(returns, rowvar=False))
    deviation = float(np.sqrt(weights @ covariance @ weights))
    z = float(stats.norm.ppf(level))
    shares: Floats = weights * (-mean + z * (covariance @ weights) / deviation)
    return shares


def max_drawdown(levels: Floats) -> Floats:
    """The deepest loss from a high on each path, shape (P,) of (P, M); positive."""
    depth: Floats = -(levels / np.maximum.accumulate(levels, axis=1) - 1).min(axis=1)
    return depth


def _ewma_variance(losses: Floats) -> Floats:
    """Variance known before each day, and after the last: shape (T+1,)."""
    variance = np.empty(len(losses) + 1)
    variance[0] = max(float(losses[:63].var()), 1e-14)
    for day, loss in enumerate(losses):
        variance[day + 1] = DECAY * variance[day] + (1 - DECAY) * loss**2
    return np.maximum(variance, 1e-14)


def _bootstrap(
    losses: Floats, level: float, estimate: Callable[[Floats, float], tuple[float, float]], *, pairs: bool
) -> tuple[float, float]:
    random = np.random.default_rng(_SEED)
    half = len(losses) // 2
    drawn = np.empty((_RESAMPLES, 2))
    for at in range(_RESAMPLES):
        if pairs:
            chosen = random.integers(0, half, half)
            sample = np.concatenate([losses[:half][chosen], losses[len(losses) - half :][chosen]])
        else:
            sample = losses[random.integers(0, len(losses), len(losses))]
        drawn[at] = estimate(sample, level)
    deviations = drawn.std(axis=0, ddof=1)
    return float(deviations[0]), float(deviations[1])
