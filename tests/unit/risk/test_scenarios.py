"""Scenario paths: against closed forms, and against what no-arbitrage asks of them."""

from __future__ import annotations

import json
from copy import deepcopy
from functools import cache
from typing import Any

import numpy as np
import pytest

from gateway.errors import ValidationFailed
from gateway.risk.calibration import MONTHS, calibrate, fit_mean_reverting
from gateway.risk.market_data import bundled
from gateway.risk.scenarios import (
    STRESSES,
    Parameters,
    Paths,
    martingale_tests,
    mean_and_error,
    parameters_of,
    simulate,
    stressed,
)


@cache
def calibration() -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(calibrate(bundled("sp500-20")).as_json()))
    return plain


@cache
def drawn(measure: str) -> tuple[Parameters, Paths]:
    given = parameters_of(calibration())
    return given, simulate(given, paths=8000, years=5, seed=11, measure=measure)


def test_log_returns_of_equity_follow_the_closed_form() -> None:
    given, paths = drawn("real_world")
    time, logs = 5.0, np.log(paths.equity[:, -1])
    mean, error = mean_and_error(logs)
    assert abs(mean - (given.equity_drift - given.equity_volatility**2 / 2) * time) <= 4 * error + 1e-9
    variance = given.equity_volatility**2 * time
    assert abs(logs.var(ddof=1) - variance) <= 4 * variance * np.sqrt(2 / (len(logs) / 2))


def test_the_short_rate_follows_its_exact_transition() -> None:
    given, paths = drawn("real_world")
    process = given.short_rate
    decay = np.exp(-process.speed * 5)
    mean, error = mean_and_error(paths.short_rate[:, -1])
    assert abs(mean - (process.level + (process.start - process.level) * decay)) <= 4 * error + 1e-9
    expected = process.volatility**2 * (1 - decay**2) / (2 * process.speed)
    assert paths.short_rate[:, -1].var() == pytest.approx(expected, rel=0.1)


def test_shocks_have_the_correlation_that_was_asked_for() -> None:
    given, paths = drawn("real_world")
    equity = np.diff(np.log(paths.equity), axis=1).ravel()
    fx = np.diff(np.log(paths.fx), axis=1).ravel()
    assert np.corrcoef(equity, fx)[0, 1] == pytest.approx(given.correlation[0, 2], abs=0.02)


def test_discounted_prices_are_martingales_under_the_risk_neutral_measure() -> None:
    given, paths = drawn("risk_neutral")
    results = martingale_tests(paths, given)
    assert len(results) == 10
    assert all(result["passed"] for result in results), results


def test_and_not_under_the_real_one() -> None:
    """The test can fail: a real-world drift is found out."""
    given, paths = drawn("real_world")
    assert not all(result["passed"] for result in martingale_tests(paths, given))


def test_the_seed_decides() -> None:
    given = parameters_of(calibration())
    first, again, other = (simulate(given, paths=20, years=1, seed=seed) for seed in (1, 1, 2))
    assert (first.equity == again.equity).all()
    assert (first.equity != other.equity)[:, 1:].all()
    assert first.equity.shape == (20, MONTHS + 1)


def test_an_odd_number_of_paths_is_possible() -> None:
    assert simulate(parameters_of(calibration()), paths=3, years=1, seed=1).fx.shape == (3, 13)


def test_a_fit_finds_what_made_the_series() -> None:
    random = np.random.default_rng(5)
    values = np.empty(60_000)
    values[0] = 0.03
    decay = np.exp(-0.5 / MONTHS)
    deviation = 0.01 * np.sqrt((1 - decay**2) / (2 * 0.5))
    for at in range(1, len(values)):
        values[at] = 0.04 + (values[at - 1] - 0.04) * decay + deviation * random.standard_normal()
    found, residuals = fit_mean_reverting(values)
    assert found.speed == pytest.approx(0.5, rel=0.15)
    assert found.level == pytest.approx(0.04, abs=0.004)
    assert found.volatility == pytest.approx(0.01, rel=0.03)
    assert abs(residuals.mean()) < 1e-6


@pytest.mark.parametrize("name", STRESSES)
def test_each_stress_says_what_it_does(name: str) -> None:
    result = stressed(parameters_of(calibration()), name)
    assert result["description"]
    assert -1 < result["equity_change"] <= 0


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("equity", "volatility"), -0.1, "volatility"),
        (("equity", "drift"), "high", "drift"),
        (("short_rate", "speed"), 0, "speed"),
        (("fx", "start"), True, "start"),
        (("correlation",), [[1.0, 0.5], [0.5, 1.0]], "4×4"),
        (("correlation",), [[1, 2, 0, 0], [2, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], "positive definite"),
    ],
)
def test_an_impossible_calibration_is_named(path: tuple[str, ...], value: object, named: str) -> None:
    raw = deepcopy(calibration())
    place = raw
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    with pytest.raises(ValidationFailed, match=named):
        parameters_of(raw)
    del place[path[-1]]
    with pytest.raises(ValidationFailed):
        parameters_of(raw)
