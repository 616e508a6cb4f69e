"""The forecaster: its recursion, its intervals in a backtest, and what it does not know."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gateway.errors import ValidationFailed
from gateway.ml.families.time_series import Smoothing, path, smooth
from gateway.ml.runtime import load
from gateway.ml.trainers import time_series
from gateway.ml.training import TrainedModel
from gateway.models.ml_models import Features, RowPrediction


def walks(days: int, series: int, seed: int, drift: float = 0.0003) -> NDArray[np.float64]:
    """Geometric random walks of 1 % a day."""
    steps = np.random.default_rng(seed).normal(drift, 0.01, size=(days, series))
    return np.asarray(100.0 * np.exp(np.cumsum(steps, axis=0)), dtype=np.float64)


def table(days: int = 2_600, series: int = 8, seed: int = 5) -> time_series.SeriesTable:
    return time_series.SeriesTable(
        names=tuple(f"s{number}" for number in range(series)),
        prices=walks(days, series, seed),
        dates=np.datetime64("2010-01-01") + np.arange(days),
        about={},
    )


@pytest.fixture(scope="module")
def forecaster() -> TrainedModel:
    return time_series.train(table(), seed=7)


def answered(
    model: TrainedModel, prices: NDArray[np.float64], horizon: int, *, explain: bool = False, **parameters: Any
) -> tuple[RowPrediction, ...]:
    predictor = load(model.format, model.content, model.schema)
    rows = tuple((float(price),) for price in prices)
    return predictor.predict(Features(rows=rows, horizon=horizon, explain=explain, parameters=parameters)).predictions


def test_the_state_is_that_of_the_plain_recursion() -> None:
    logs = np.log(walks(90, 3, 6)).T
    weights = Smoothing(alpha=0.7, beta=0.2, phi=0.85, drift=0.5)
    state = smooth(logs, weights)
    for number, series in enumerate(logs):
        level, trend = series[0], 0.0
        for value in series[1:]:
            error = value - (level + weights.phi * trend)
            level, trend = (
                level + weights.phi * trend + weights.alpha * error,
                weights.phi * trend + weights.beta * error,
            )
        assert state.level[number] == pytest.approx(level, abs=1e-12)
        assert state.trend[number] == pytest.approx(trend, abs=1e-12)
        drift = weights.drift * (series[-1] - series[0]) / (len(series) - 1)
        damped = weights.phi + weights.phi**2 + weights.phi**3
        assert path(state, weights, 3)[number, 2] == pytest.approx(level + damped * trend + 3 * drift, abs=1e-12)


def test_without_smoothing_it_is_the_naive_forecast() -> None:
    logs = np.log(walks(60, 1, 8)).T
    weights = Smoothing(alpha=1.0, beta=0.0, phi=0.0, drift=0.0)
    np.testing.assert_allclose(path(smooth(logs, weights), weights, 5)[0], logs[0, -1], atol=1e-12)


def test_the_same_data_gives_the_same_bytes(forecaster: TrainedModel) -> None:
    assert time_series.train(table(), seed=7) == forecaster


def test_intervals_cover_at_the_origins_never_seen(forecaster: TrainedModel) -> None:
    """Random walks are what the intervals assume: coverage within sampling noise of overlapping windows."""
    assert forecaster.metrics["coverage_1"] == pytest.approx(0.9, abs=0.05)
    assert forecaster.metrics["coverage_5"] == pytest.approx(0.9, abs=0.06)
    assert forecaster.metrics["coverage"] == pytest.approx(0.9, abs=0.1)


def test_on_a_random_walk_it_is_as_good_as_the_naive(forecaster: TrainedModel) -> None:
    assert forecaster.metrics["mae"] == pytest.approx(forecaster.metrics["naive_mae"], rel=0.1)


def test_the_parts_of_the_backtest_do_not_overlap() -> None:
    parts = time_series.cuts(table())
    for before, after in pairwise(parts):
        days = (np.datetime64(after.start) - np.datetime64(before.end)).astype(int)
        assert days >= time_series.MAX_HORIZON


def test_the_forecast_scales_with_the_price(forecaster: TrainedModel) -> None:
    prices = walks(200, 1, 9)[:, 0]
    for one, other in zip(answered(forecaster, prices, 10), answered(forecaster, 1e6 * prices, 10), strict=True):
        assert other.value == pytest.approx(1e6 * (one.value or 0), rel=1e-9)
        assert other.upper == pytest.approx(1e6 * (one.upper or 0), rel=1e-9)


def test_more_coverage_is_wider_and_every_interval_holds_the_value(forecaster: TrainedModel) -> None:
    prices = walks(300, 1, 10)[:, 0]
    narrow, wide = (answered(forecaster, prices, 63, coverage=coverage) for coverage in (0.5, 0.95))
    assert len(narrow) == 63
    for inner, outer in zip(narrow, wide, strict=True):
        assert outer.lower is not None
        assert inner.lower is not None
        assert inner.value is not None
        assert inner.upper is not None
        assert outer.upper is not None
        assert 0 < outer.lower < inner.lower <= inner.value <= inner.upper < outer.upper


def test_only_the_window_counts(forecaster: TrainedModel) -> None:
    prices = walks(900, 1, 11)[:, 0]
    assert answered(forecaster, prices, 5) == answered(forecaster, prices[-time_series.WINDOW :], 5)


def test_contributions_sum_to_the_log_price(forecaster: TrainedModel) -> None:
    for row in answered(forecaster, walks(100, 1, 12)[:, 0], 20, explain=True):
        assert row.contributions is not None
        assert row.value is not None
        total = (row.base_value or 0.0) + sum(part.contribution for part in row.contributions)
        assert total == pytest.approx(np.log(row.value), abs=1e-9)


def test_a_constant_series_stays_where_it_is(forecaster: TrainedModel) -> None:
    for row in answered(forecaster, np.full(80, 42.0), 10):
        assert row.value == pytest.approx(42.0)
        assert row.upper == pytest.approx(42.0, rel=1e-4)


@pytest.mark.parametrize("coverage", [0.42, "0.9", True, [0.9], None, 1])
def test_a_coverage_that_was_not_calibrated_is_refused(forecaster: TrainedModel, coverage: Any) -> None:
    with pytest.raises(ValidationFailed) as refused:
        answered(forecaster, np.full(80, 42.0), 1, coverage=coverage)
    assert refused.value.param == "model_config.parameters.coverage"


def test_prices_must_be_positive_and_an_interval_finite(forecaster: TrainedModel) -> None:
    with pytest.raises(ValidationFailed, match="not positive"):
        answered(forecaster, np.array([1.0] * 70 + [0.0]), 1)
    wild = np.where(np.arange(100) % 2 == 0, 1e-300, 1e300)
    with pytest.raises(ValidationFailed, match="too wildly"):
        answered(forecaster, wild, 63)


def test_too_short_a_history_is_refused() -> None:
    with pytest.raises(ValidationFailed, match="too little data"):
        time_series.train(table(days=900), seed=1)
