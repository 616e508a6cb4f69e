"""From market data to what each built-in model learns from.

Features are what was known at the close of a day; labels look only at the days after it. To have
more than one portfolio to learn from, seeded random subsets of the assets join the whole; all rows
of one day stay on one side of every split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.errors import ValidationFailed
from gateway.ml.trainers.time_series import SeriesTable
from gateway.ml.training import TrainingTable, split_in_time
from gateway.models.ml_models import FeatureSpec
from gateway.risk.features import FeatureTable, anomaly_table, risk_table, segment_table
from gateway.risk.market_data import MarketData

#: Days over which the future volatility of a label is realised.
LABEL_DAYS = 21
#: Trading days a year, to annualise.
YEAR = 252
RISK_CLASSES = ("low", "medium", "high")

_PORTFOLIOS = 12
_LEAST_ASSETS, _MOST_ASSETS = 4, 12
#: Labels of neighbouring days overlap; one day in this many is enough.
_EVERY = 5
_LEAST_VOLATILITY = 1e-4
_SEGMENT_WINDOW = 5 * YEAR
_SEGMENT_EVERY = 126
#: What stays about the same from one five years to the next. The mean return and the shape of the
#: tails do not: with them the groups come out different each time.
_SEGMENT_FEATURES = ("volatility", "beta", "mean_correlation", "max_drawdown")
#: Features in words that read well in a reason; the others go by their own description.
_WORDS = {
    "vol_21": "annualised volatility of the last 21 days",
    "vol_63": "annualised volatility of the last 63 days",
    "vol_252": "annualised volatility of the last 252 days",
    "vol_ratio": "volatility of the last 21 days over that of 252",
    "downside_vol_63": "annualised downside volatility of the last 63 days",
    "dispersion_21": "mean daily spread of the assets' returns over 21 days",
    "market_z": "the portfolio's move over its recent daily volatility",
    "mean_abs_z": "mean size of the assets' moves over their recent daily volatility",
    "max_abs_z": "largest such move of a single asset",
    "dispersion_z": "spread of the assets' returns over its recent mean",
    "vol_jump": "daily volatility over that of five days before",
    "volatility": "annualised volatility",
    "beta": "beta to the equally weighted portfolio",
    "mean_correlation": "mean correlation with the other assets",
    "max_drawdown": "largest loss from a high",
}


@dataclass(frozen=True, slots=True)
class RiskData:
    """Rows for the two models of future volatility. ``table.y``: annualised realised volatility of the
    next ``LABEL_DAYS`` days."""

    table: TrainingTable

    def classes(self, fractions: Sequence[float]) -> tuple[TrainingTable, tuple[float, float]]:
        """The table with ``y`` as class numbers, and the two limits between the classes (annualised
        volatility): the terciles of the first part of a split in time with these fractions."""
        fit = split_in_time(self.table, fractions)[0]
        low, high = (float(limit) for limit in np.quantile(self.table.y[fit.rows], (1 / 3, 2 / 3)))
        label = (
            f"annualised volatility realised over the {LABEL_DAYS} trading days after the day of the features: "
            f"low up to {low:.2%}, high above {high:.2%} (terciles of the fit period, {fit.start} to {fit.end})"
        )
        about = {**self.table.about, "label": label, "label_limits": [round(low, 6), round(high, 6)]}
        return replace(self.table, y=np.searchsorted((low, high), self.table.y).astype(np.float64), about=about), (
            low,
            high,
        )

    def logs(self) -> TrainingTable:
        """The table with ``y`` as the logarithm of the volatility."""
        label = (
            f"annualised volatility realised over the {LABEL_DAYS} trading days after the day of the features; "
            "modelled as its logarithm, answered as the volatility"
        )
        return replace(self.table, y=np.log(self.table.y), about={**self.table.about, "label": label})


def risk_data(data: MarketData, seed: int) -> RiskData:
    """Feature rows and future volatilities of the whole portfolio and its random parts."""
    place = {str(date): number for number, date in enumerate(data.dates.astype("datetime64[D]"))}
    x, y, day = [], [], []
    portfolios = [data, *sub_portfolios(data, seed)]
    tables = [risk_table(portfolio) for portfolio in portfolios]
    for portfolio, features in zip(portfolios, tables, strict=True):
        days = np.array([place[date] for date in features.index], dtype=np.int64)
        future = future_volatility(portfolio, days)
        kept = np.flatnonzero(np.isfinite(future) & (days % _EVERY == 0))
        x.append(features.values[kept])
        y.append(future[kept])
        day.append(days[kept])
    days = np.concatenate(day)
    if len(days) == 0:
        raise _too_little(data)
    # By day, then by portfolio: rows of one day side by side.
    order = np.argsort(days, kind="stable")
    table = TrainingTable(
        specs=specs(tables[0]),
        x=np.concatenate(x)[order],
        y=np.concatenate(y)[order],
        day=days[order],
        dates=data.dates[days[order]],
        about={
            **_trained_on(data),
            "rows": (
                f"every {_EVERY}th trading day of {len(portfolios)} portfolios: the whole and {len(portfolios) - 1} "
                f"random subsets of {_LEAST_ASSETS} to {_MOST_ASSETS} assets, equally weighted (seed {seed})"
            ),
        },
        embargo=LABEL_DAYS,
    )
    return RiskData(table)


def sub_portfolios(data: MarketData, seed: int) -> list[MarketData]:
    """Random subsets of the assets, equally weighted; none where there are too few assets."""
    total = len(data.assets)
    if total <= _LEAST_ASSETS:
        return []
    random = np.random.default_rng(seed)
    found = []
    for number in range(_PORTFOLIOS):
        size = int(random.integers(_LEAST_ASSETS, min(_MOST_ASSETS, total - 1) + 1))
        chosen = np.sort(random.choice(total, size, replace=False))
        found.append(
            replace(
                data,
                name=f"{data.name}/{number + 1}",
                assets=tuple(data.assets[column] for column in chosen),
                prices=data.prices[:, chosen],
                weights=np.full(size, 1.0 / size),
            )
        )
    return found


def future_volatility(data: MarketData, days: NDArray[np.int64]) -> NDArray[np.float64]:
    """Annualised root mean square of the portfolio's returns on the ``LABEL_DAYS`` days after each of
    ``days`` (positions in ``data.dates``); NaN where fewer days follow. Shape (days,)."""
    returns = data.portfolio_returns()  # returns[t] leads from day t to day t + 1
    sums = np.concatenate([[0.0], np.cumsum(returns**2)])
    ends = days + LABEL_DAYS
    known = ends <= len(returns)
    squares = sums[np.minimum(ends, len(returns))] - sums[days]
    volatility = np.sqrt(np.maximum(squares, 0.0) / LABEL_DAYS * YEAR)
    return np.where(known, np.maximum(volatility, _LEAST_VOLATILITY), np.nan)


def anomaly_data(data: MarketData) -> TrainingTable:
    """A row a day; nothing to predict."""
    features = anomaly_table(data)
    dates = np.array(features.index, dtype="datetime64[D]")
    if len(dates) == 0:
        raise _too_little(data)
    return TrainingTable(
        specs=specs(features),
        x=features.values,
        y=np.zeros(len(dates)),
        day=np.arange(len(dates)),
        dates=dates,
        about={
            **_trained_on(data),
            "rows": "every trading day of the weighted portfolio",
            "label": "none: a day is called unusual by how rare its features were in the fit period",
        },
        embargo=LABEL_DAYS,
    )


def segment_data(data: MarketData) -> TrainingTable:
    """A row an asset and half-year: its features over the five years before."""
    cuts = range(len(data.dates), _SEGMENT_WINDOW, -_SEGMENT_EVERY)
    if not cuts:
        raise _too_little(data)
    ends = cuts[::-1]
    tables = [segment_features(replace(data, dates=data.dates[:end], prices=data.prices[:end])) for end in ends]
    days = np.repeat(np.asarray(ends) - 1, len(data.assets))
    return TrainingTable(
        specs=specs(tables[0]),
        x=np.concatenate([features.values for features in tables]),
        y=np.zeros(len(days)),
        day=days,
        dates=data.dates[days],
        about={
            **_trained_on(data),
            "rows": f"each of {len(data.assets)} assets at the end of every half-year, over the five years before it",
            "label": "none: assets that behave alike are put together",
        },
        embargo=_SEGMENT_WINDOW,
    )


def segment_features(data: MarketData) -> FeatureTable:
    """A row an asset: the features of the segmentation model."""
    table = segment_table(data)
    columns = [table.names.index(name) for name in _SEGMENT_FEATURES]
    kept = tuple(table.specs[column] for column in columns)
    return FeatureTable(table.index, kept, np.ascontiguousarray(table.values[:, columns]))


def series_data(data: MarketData) -> SeriesTable:
    """The price history of every asset."""
    return SeriesTable(
        names=data.assets,
        prices=data.prices,
        dates=data.dates,
        about={
            **_trained_on(data),
            "rows": f"{len(data.assets)} price series, an origin every 21 trading days",
            "label": "the price 1 to 63 trading days later",
        },
    )


def specs(features: FeatureTable) -> tuple[FeatureSpec, ...]:
    """The columns of a feature table as a model's schema names them."""
    return tuple(FeatureSpec(spec.name, _WORDS.get(spec.name, spec.description), spec.unit) for spec in features.specs)


def _trained_on(data: MarketData) -> dict[str, Any]:
    return {
        "trained_on": data.name,
        "assets": list(data.assets),
        "period": {"start": str(data.dates[0]), "end": str(data.dates[-1]), "days": len(data.dates)},
    }


def _too_little(data: MarketData) -> ValidationFailed:
    return ValidationFailed(
        f"there is too little data to train on: {len(data.dates)} days",
        mend="send several years of daily prices, or leave data out to use the bundled set",
        param="data",
    )
