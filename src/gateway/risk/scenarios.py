"""Joint paths of equity, short rate, FX and inflation: monthly steps, vectorised, seeded.

Real-world: equity is geometric Brownian motion, rate and inflation are Vasicek (drawn from their exact
transition), FX drifts with the rate differential. Risk-neutral: equity earns the simulated short
rate, FX the differential, so that discounted prices are martingales; ``martingale_tests`` proves it
on the drawn paths.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.errors import ValidationFailed
from gateway.risk.calibration import FACTORS

Floats = NDArray[np.float64]
MONTHS = 12
MOST_PATHS, MOST_YEARS = 20_000, 60
MEASURES = ("real_world", "risk_neutral")

#: Instant shocks: equity in log return, rate and inflation in absolute change, FX in log return.
STRESSES: Mapping[str, tuple[str, dict[str, float]]] = {
    "crisis_2008": ("equity as from December 2007 to March 2009", {"equity": -0.66, "short_rate": -0.02, "fx": -0.1}),
    "pandemic_2020": ("equity as from January to March 2020", {"equity": -0.38, "short_rate": -0.015, "fx": -0.02}),
    "rates_up_200bp": ("short rate two points higher", {"short_rate": 0.02, "equity": -0.1}),
    "inflation_shock": (
        "inflation four points higher, rates two, equity lower",
        {"inflation": 0.04, "short_rate": 0.02, "equity": -0.15},
    ),
}


@dataclass(frozen=True, slots=True)
class Reverting:
    """See ``calibration.MeanReverting``."""

    start: float
    level: float
    speed: float
    volatility: float

    def step(self, dt: float) -> tuple[float, float]:
        """(decay, deviation) of the exact transition over ``dt`` years."""
        decay = float(np.exp(-self.speed * dt))
        return decay, float(self.volatility * np.sqrt((1 - decay**2) / (2 * self.speed)))


@dataclass(frozen=True, slots=True)
class Parameters:
    """What paths are drawn with; see ``calibration.Calibration``."""

    equity_drift: float
    equity_volatility: float
    short_rate: Reverting
    inflation: Reverting
    fx_start: float
    fx_volatility: float
    fx_foreign_spread: float
    correlation: Floats


@dataclass(frozen=True, slots=True)
class Paths:
    """P paths of M months and the start: shape (P, M+1) each. Equity, FX and price level start at 1, fx_start, 1."""

    equity: Floats
    short_rate: Floats
    fx: Floats
    inflation: Floats
    discount: Floats
    price_level: Floats

    def named(self) -> dict[str, Floats]:
        """The four factors by name."""
        return {"equity": self.equity, "short_rate": self.short_rate, "fx": self.fx, "inflation": self.inflation}


def parameters_of(calibration: Any, place: str = "analysis.calibration") -> Parameters:
    """Parameters from the JSON of a calibration. ``ValidationFailed`` names what is missing or impossible."""
    try:
        correlation = np.array(calibration["correlation"], dtype=np.float64)
        found = Parameters(
            equity_drift=_number(calibration["equity"], "drift", -2, 2),
            equity_volatility=_number(calibration["equity"], "volatility", 1e-4, 3),
            short_rate=_reverting(calibration["short_rate"]),
            inflation=_reverting(calibration["inflation"]),
            fx_start=_number(calibration["fx"], "start", 1e-6, 1e6),
            fx_volatility=_number(calibration["fx"], "volatility", 0, 3),
            fx_foreign_spread=_number(calibration["fx"], "foreign_spread", -1, 1),
            correlation=correlation,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValidationFailed(
            f"{place}: not a calibration ({str(error)[:120]})",
            mend="give the whole result of a data_analysis step",
            param=place,
        ) from None
    if (
        correlation.shape != (4, 4)
        or not np.allclose(correlation, correlation.T)
        or not np.allclose(np.diag(correlation), 1)
    ):
        raise ValidationFailed(f"{place}.correlation: a symmetric 4×4 matrix with ones", param=f"{place}.correlation")
    if np.linalg.eigvalsh(correlation).min() < 1e-10:
        raise ValidationFailed(f"{place}.correlation: not positive definite", param=f"{place}.correlation")
    return found


def simulate(given: Parameters, *, paths: int, years: int, seed: int, measure: str = "real_world") -> Paths:
    """The paths; the same seed gives the same. Draws are antithetic in pairs, which halves the noise of means."""
    months, dt = years * MONTHS, 1 / MONTHS
    half = (paths + 1) // 2
    draws = np.random.default_rng(seed).standard_normal((half, months, len(FACTORS)))
    draws = np.concatenate([draws, -draws])[:paths] @ np.linalg.cholesky(given.correlation).T
    rate = _vasicek(given.short_rate, draws[:, :, 1], dt)
    inflation = _vasicek(given.inflation, draws[:, :, 3], dt)
    # The account grows by the rate known at the start of each month: what equity earns risk-neutrally.
    growth = rate[:, :-1] * dt
    drift = growth if measure == "risk_neutral" else np.full_like(growth, given.equity_drift * dt)
    equity = _log_normal(1.0, drift, given.equity_volatility, draws[:, :, 0], dt)
    differential = np.full_like(growth, given.fx_foreign_spread * dt)
    fx = _log_normal(given.fx_start, differential, given.fx_volatility, draws[:, :, 2], dt)
    zero = np.zeros((paths, 1))
    discount = np.exp(-np.concatenate([zero, np.cumsum(growth, axis=1)], axis=1))
    level = np.exp(np.concatenate([zero, np.cumsum(inflation[:, :-1] * dt, axis=1)], axis=1))
    return Paths(equity, rate, fx, inflation, discount, level)


def martingale_tests(drawn: Paths, given: Parameters) -> list[dict[str, float | str | bool]]:
    """Discounted equity, and discounted FX with foreign interest, must have their start as mean:
    at each whole year the deviation in standard errors. ``passed`` within four."""
    results: list[dict[str, float | str | bool]] = []
    years = range(MONTHS, drawn.equity.shape[1], MONTHS)
    time = np.arange(drawn.equity.shape[1]) / MONTHS
    foreign = np.exp((np.log(1 / drawn.discount)) - given.fx_foreign_spread * time)
    series = {
        "discounted equity": drawn.equity * drawn.discount,
        "discounted FX with foreign interest": drawn.fx * foreign * drawn.discount / given.fx_start,
    }
    for name, values in series.items():
        for month in years:
            mean, error = mean_and_error(values[:, month])
            z = (mean - 1) / error if error > 0 else 0.0
            results.append(
                {
                    "what": name,
                    "year": month / MONTHS,
                    "mean": mean,
                    "standard_error": error,
                    "z": z,
                    "passed": abs(z) <= 4,
                }
            )
    return results


def mean_and_error(values: Floats) -> tuple[float, float]:
    """Mean of antithetic draws and its standard error, by the means of the pairs."""
    half = len(values) // 2
    if half < 2:
        return float(values.mean()), float("inf")
    pairs = (values[:half] + values[len(values) - half :]) / 2
    return float(values.mean()), float(pairs.std(ddof=1) / np.sqrt(half))


def stressed(given: Parameters, name: str) -> dict[str, Any]:
    """What a named stress does to each factor at once, and to the equity value."""
    words, shocks = STRESSES[name]
    return {
        "name": name,
        "description": words,
        "shocks": shocks,
        "equity_change": float(np.expm1(shocks.get("equity", 0.0))),
        "short_rate": given.short_rate.start + shocks.get("short_rate", 0.0),
        "fx": given.fx_start * float(np.exp(shocks.get("fx", 0.0))),
        "inflation": given.inflation.start + shocks.get("inflation", 0.0),
    }


def _vasicek(process: Reverting, draws: Floats, dt: float) -> Floats:
    decay, deviation = process.step(dt)
    values = np.empty((draws.shape[0], draws.shape[1] + 1))
    values[:, 0] = process.start
    for month in range(draws.shape[1]):
        values[:, month + 1] = process.level + (values[:, month] - process.level) * decay + deviation * draws[:, month]
    return values


def _log_normal(start: float, drift: Floats, volatility: float, draws: Floats, dt: float) -> Floats:
    steps = drift - volatility**2 / 2 * dt + volatility * np.sqrt(dt) * draws
    zero = np.zeros((draws.shape[0], 1))
    values: Floats = start * np.exp(np.concatenate([zero, np.cumsum(steps, axis=1)], axis=1))
    return values


def _reverting(raw: Mapping[str, Any]) -> Reverting:
    return Reverting(
        start=_number(raw, "start", -1, 2),
        level=_number(raw, "level", -1, 2),
        speed=_number(raw, "speed", 1e-4, 50),
        volatility=_number(raw, "volatility", 0, 2),
    )


def _number(raw: Mapping[str, Any], name: str, low: float, high: float) -> float:
    value = raw[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ValueError(f"{name} is a number from {low:g} to {high:g}")
    return float(value)
