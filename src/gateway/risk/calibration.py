"""Parameters of the economy from the bundled monthly data, and of equity from the caller's own.

Equity: log returns with drift and volatility. Short rate and inflation: mean-reverting (Vasicek
1977), fitted by least squares on monthly steps. FX: log normal with the rate differential as drift;
the volatility of annual averages is scaled up, for averaging a random walk over each year leaves two
thirds of the variance of its changes (Working 1960). Correlations are those of monthly innovations;
of FX, whose data are annual, those of annual changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gateway.risk.features import YEAR
from gateway.risk.market_data import FOLDER, MarketData

Floats = NDArray[np.float64]
MONTHS = 12
FACTORS = ("equity", "short_rate", "fx", "inflation")
#: The foreign short rate that FX drifts against is taken to be this far below the domestic one.
_FOREIGN_SPREAD = 0.005


@dataclass(frozen=True, slots=True)
class MeanReverting:
    """dx = speed (level - x) dt + volatility dW, a year as unit; ``start`` is today's value."""

    start: float
    level: float
    speed: float
    volatility: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """All that the scenarios need. Volatilities and drifts a year; ``correlation`` in the order of ``FACTORS``."""

    equity_drift: float
    equity_volatility: float
    equity_drift_error: float
    short_rate: MeanReverting
    inflation: MeanReverting
    fx_start: float
    fx_volatility: float
    fx_foreign_spread: float
    correlation: Floats
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""

        def reverting(item: MeanReverting) -> dict[str, float]:
            return {"start": item.start, "level": item.level, "speed": item.speed, "volatility": item.volatility}

        return {
            "equity": {
                "drift": self.equity_drift,
                "volatility": self.equity_volatility,
                "drift_standard_error": self.equity_drift_error,
            },
            "short_rate": reverting(self.short_rate),
            "inflation": reverting(self.inflation),
            "fx": {"start": self.fx_start, "volatility": self.fx_volatility, "foreign_spread": self.fx_foreign_spread},
            "factors": list(FACTORS),
            "correlation": self.correlation.tolist(),
            "notes": list(self.notes),
        }


@cache
def economy() -> dict[str, Floats]:
    """The bundled monthly series by name, shape (347,) each."""
    table = pq.read_table(FOLDER / "economy.parquet")
    return {name: table.column(name).to_numpy() for name in table.column_names if name != "month"}


@cache
def eur_usd() -> Floats:
    """Annual averages of USD for one EUR, 2002 to 2022."""
    rates: Floats = pq.read_table(FOLDER / "eur-usd.parquet").column("eur_usd").to_numpy()
    return rates


def calibrate(data: MarketData) -> Calibration:
    """Equity from the portfolio's own daily returns, the rest from the bundled data."""
    series = economy()
    log_equity = np.log1p(data.portfolio_returns())
    years = len(log_equity) / YEAR
    volatility = float(log_equity.std(ddof=1) * np.sqrt(YEAR))
    rate, rate_shocks = fit_mean_reverting(series["short_rate"])
    yearly_inflation = np.log(series["core_cpi"][MONTHS:] / series["core_cpi"][:-MONTHS])
    inflation, inflation_shocks = fit_mean_reverting(yearly_inflation)
    changes = np.diff(np.log(eur_usd()))
    fx_volatility = float(changes.std(ddof=1) / np.sqrt(2 / 3))
    market = np.log1p(series["equity_return"])
    monthly = np.corrcoef([market[MONTHS + 1 :], rate_shocks[MONTHS:], inflation_shocks])
    yearly_market = market[MONTHS * 12 : MONTHS * 28].reshape(-1, MONTHS).sum(axis=1)  # 2002 to 2017
    fx_equity = float(np.corrcoef(yearly_market[1:], changes[: len(yearly_market) - 1])[0, 1])
    correlation = np.array(
        [
            [1.0, monthly[0, 1], fx_equity, monthly[0, 2]],
            [monthly[0, 1], 1.0, 0.0, monthly[1, 2]],
            [fx_equity, 0.0, 1.0, 0.0],
            [monthly[0, 2], monthly[1, 2], 0.0, 1.0],
        ]
    )
    return Calibration(
        equity_drift=float(log_equity.mean() * YEAR + volatility**2 / 2),
        equity_volatility=volatility,
        equity_drift_error=volatility / np.sqrt(years),
        short_rate=rate,
        inflation=inflation,
        fx_start=float(eur_usd()[-1]),
        fx_volatility=fx_volatility,
        fx_foreign_spread=_FOREIGN_SPREAD,
        correlation=correlation,
        notes=(
            f"equity: {data.name}, {data.dates[0]} to {data.dates[-1]}; its drift is that of the sample, and a sample "
            "of survivors overstates what is to be expected",
            "short rate, inflation: US monthly, 1990-01 to 2018-11; EUR/USD: annual averages, 2002 to 2022",
            "FX against rates and inflation is taken to be uncorrelated: annual data do not tell it from zero",
            f"the foreign short rate is taken to be {_FOREIGN_SPREAD:.1%} below the domestic one",
        ),
    )


def fit_mean_reverting(values: Floats) -> tuple[MeanReverting, Floats]:
    """(parameters, residuals (T-1,)) of monthly values (T,), by least squares of each on the one before."""
    before, after = values[:-1], values[1:]
    slope, intercept = np.polyfit(before, after, 1)
    slope = float(np.clip(slope, 0.5, 0.9995))
    intercept = float(after.mean() - slope * before.mean())
    residuals = after - intercept - slope * before
    speed = -np.log(slope) * MONTHS
    deviation = float(residuals.std(ddof=2))
    volatility = deviation * np.sqrt(2 * speed / (1 - slope**2))
    return MeanReverting(float(values[-1]), intercept / (1 - slope), float(speed), float(volatility)), residuals
