"""Trains the forecaster: smoothing weights, interval quantiles and metrics by rolling-origin backtest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.errors import ValidationFailed
from gateway.ml import formats
from gateway.ml.conformal import quantile
from gateway.ml.families.time_series import SeriesBody, SeriesForecaster, Smoothing, path, smooth
from gateway.ml.metrics import mae, rounded
from gateway.ml.training import TrainedModel, data_hash, libraries
from gateway.models.ml_models import Features, FeatureSpec, ModelSchema, Predictor

COVERAGES = (0.5, 0.8, 0.9, 0.95)
COVERAGE = 0.9
WINDOW = 504
MAX_HORIZON = 63
LEAST_LENGTH = 60
#: Days between origins of the backtest.
_STRIDE = 21
#: Origins: to choose the weights, to calibrate the intervals, to measure.
_SPLIT = (0.5, 0.25, 0.25)
_GRID = [
    Smoothing(alpha=alpha, beta=beta, phi=phi, drift=drift)
    for alpha, (beta, phi), drift in product(
        (0.9, 1.0), ((0.0, 0.0), (0.01, 0.8), (0.01, 0.97), (0.03, 0.9)), (0.0, 0.5, 1.0)
    )
]
_SHOWN_HORIZONS = (1, 5, 21, 63)


@dataclass(frozen=True, slots=True)
class SeriesTable:
    """Price histories to learn from. ``prices``: (days, series), positive; ``dates``: (days,)."""

    names: tuple[str, ...]
    prices: NDArray[np.float64]
    dates: NDArray[np.datetime64]
    about: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Cut:
    """Windows up to an origin and what came after, origin after origin, series after series."""

    past: NDArray[np.float64]
    future: NDArray[np.float64]
    start: str
    end: str

    def described(self) -> dict[str, Any]:
        return {"start": self.start, "end": self.end, "rows": len(self.past)}


def cuts(table: SeriesTable) -> tuple[_Cut, ...]:
    """The origins of the three parts; between two parts lies a whole horizon, so no part's future
    reaches into the next part's origins."""
    logs = np.log(table.prices)
    days = len(logs)
    origins = np.arange(WINDOW, days - MAX_HORIZON, _STRIDE)
    if len(origins) < 40:
        raise ValidationFailed(
            f"there is too little data to train on: {days} days",
            mend=f"send at least {WINDOW + MAX_HORIZON + 40 * _STRIDE} days, or leave data out for the bundled set",
            param="data",
        )
    edges = np.round(np.cumsum((0.0, *_SPLIT)) * len(origins)).astype(int)
    parts = []
    for number, (start, end) in enumerate(pairwise(edges.tolist())):
        last = end if number == len(_SPLIT) - 1 else end - MAX_HORIZON // _STRIDE
        chosen = origins[start:last]
        past = np.concatenate([logs[origin - WINDOW : origin].T for origin in chosen])
        future = np.concatenate([logs[origin : origin + MAX_HORIZON].T for origin in chosen])
        parts.append(_Cut(past, future, str(table.dates[chosen[0] - 1]), str(table.dates[chosen[-1] - 1])))
    return tuple(parts)


def train(table: SeriesTable, *, seed: int) -> TrainedModel:
    """Chooses the weights with the least mean absolute error of the log price over all horizons up to
    63 days, each error divided by the series' own volatility. There is nothing random in it."""
    choose, calibrate, test = cuts(table)
    losses = [float(np.abs(_errors(choose, weights)).mean()) for weights in _GRID]
    weights = _GRID[int(np.argmin(losses))]
    errors = np.sort(np.abs(_errors(calibrate, weights)), axis=0)
    quantiles = np.array(
        [[quantile(errors[:, step], coverage) for step in range(MAX_HORIZON)] for coverage in COVERAGES]
    )
    body = SeriesBody(
        smoothing=weights,
        window=WINDOW,
        max_horizon=MAX_HORIZON,
        coverages=COVERAGES,
        quantiles=formats.to_bytes(quantiles),
        coverage=COVERAGE,
    )
    schema = ModelSchema(
        features=(FeatureSpec("price", "daily closing price or index level, oldest first", "price", minimum=1e-12),),
        kind="series",
        min_length=LEAST_LENGTH,
        max_horizon=MAX_HORIZON,
    )
    metrics = _measure(SeriesForecaster(body, schema), test)
    card: dict[str, Any] = {
        **table.about,
        "method": (
            "damped-trend exponential smoothing on log prices with a share of the long-run drift; the weights from a "
            "rolling-origin backtest; intervals from conformal quantiles of standardised errors at later origins"
        ),
        "weights": {
            "alpha": weights.alpha,
            "beta": weights.beta,
            "phi": weights.phi,
            "drift": weights.drift,
        },
        "splits": {
            "fit": choose.described(),
            "calibrate": calibrate.described(),
            "test": test.described(),
            "embargo_days": MAX_HORIZON,
        },
        "coverages": list(COVERAGES),
        "contributions": "log price: smoothed level, damped trend and drift over the last value",
    }
    return TrainedModel(
        family="time_series",
        format=formats.EXPONENTIAL_SMOOTHING,
        content=formats.pack(formats.EXPONENTIAL_SMOOTHING, body),
        schema=schema,
        metrics=metrics,
        card=card,
        data_hash=data_hash(table.names, table.prices, table.dates),
        seed=seed,
        libraries=libraries("numpy"),
    )


def _errors(cut: _Cut, weights: Smoothing) -> NDArray[np.float64]:
    """Standardised errors, shape (windows, horizon)."""
    state = smooth(cut.past, weights)
    steps = np.sqrt(np.arange(1, MAX_HORIZON + 1))
    errors = (cut.future - path(state, weights, MAX_HORIZON)) / (state.sigma[:, None] * steps)
    return np.asarray(errors, dtype=np.float64)


def evaluate(predictor: Predictor, table: SeriesTable) -> dict[str, float]:
    """Any predictor's metrics at the test origins of ``table``."""
    return _measure(predictor, cuts(table)[-1])


def _measure(predictor: Predictor, cut: _Cut) -> dict[str, float]:
    """Errors of the log price beside those of the naive forecast (the last price), and the share of
    prices inside the interval, at some horizons."""
    answers = []
    for past in np.exp(cut.past):
        series = tuple((float(value),) for value in past)
        prediction = predictor.predict(Features(rows=series, horizon=MAX_HORIZON))
        answers.append([[row.value, row.lower, row.upper] for row in prediction.predictions])
    logs = np.log(np.asarray(answers, dtype=np.float64))
    middle, lower, upper = logs[:, :, 0], logs[:, :, 1], logs[:, :, 2]
    naive = cut.past[:, -1:] - cut.future
    inside = (cut.future >= lower) & (cut.future <= upper)
    metrics: dict[str, float] = {"mae": mae(middle - cut.future), "naive_mae": mae(naive)}
    metrics["skill"] = 1.0 - metrics["mae"] / metrics["naive_mae"]
    for horizon in _SHOWN_HORIZONS:
        column = horizon - 1
        metrics[f"mae_{horizon}"] = mae((middle - cut.future)[:, column])
        metrics[f"naive_mae_{horizon}"] = mae(naive[:, column])
        metrics[f"coverage_{horizon}"] = float(inside[:, column].mean())
    metrics |= {
        "coverage": float(inside.mean()),
        "coverage_target": COVERAGE,
        "mean_width": float((upper - lower).mean()),
        "test_rows": float(len(cut.past)),
    }
    return rounded(metrics)


def horizons_shown(metrics: dict[str, float]) -> Sequence[int]:
    """The horizons for which ``metrics`` has figures."""
    return [horizon for horizon in _SHOWN_HORIZONS if f"mae_{horizon}" in metrics]
