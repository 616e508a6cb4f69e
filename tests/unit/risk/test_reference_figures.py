"""Figures that anyone can look up or derive, reached by our own code."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from arch.data import sp500
from numpy.typing import NDArray
from scipy import stats

from gateway.risk.assessment import (
    METHODS,
    component_var,
    gaussian,
    historical,
    max_drawdown,
    measure,
    rolling_breaches,
)
from gateway.risk.backtests import backtest, christoffersen, kupiec
from gateway.risk.garch import fit_garch
from gateway.risk.market_data import bundled

Floats = NDArray[np.float64]


@cache
def percent_returns() -> Floats:
    """Daily returns of the S&P 500, 1999 to 2018, in percent."""
    prices = sp500.load()["Adj Close"].to_numpy()
    returns: Floats = 100 * (prices[1:] / prices[:-1] - 1)
    return returns


def test_garch_reaches_the_likelihood_that_arch_reaches() -> None:
    fit = fit_garch(percent_returns())
    assert fit.converged
    assert fit.log_likelihood == pytest.approx(-6936.72, abs=0.02)
    assert 0.97 < fit.persistence < 1
    assert fit.long_run_variance == pytest.approx(fit.omega / (1 - fit.persistence))
    assert fit.next_variance(-3.0) > fit.next_variance(fit.mu)


def test_garch_needs_days_that_vary() -> None:
    with pytest.raises(ValueError, match="100 or more"):
        fit_garch(np.zeros(500))


@pytest.mark.parametrize(("level", "var", "shortfall"), [(0.95, 1.864, 2.861), (0.99, 3.306, 4.689)])
def test_historical_figures_of_the_index(level: float, var: float, shortfall: float) -> None:
    found = historical(-percent_returns(), level)
    assert found == pytest.approx((var, shortfall), abs=6e-4)


def test_kupiec_of_ten_breaches_in_a_year() -> None:
    """LR 12.955 against the critical 3.841 (Kupiec 1995)."""
    assert kupiec(250, 10, 0.01) == pytest.approx(12.955, abs=5e-4)
    assert kupiec(250, 0, 0.01) == pytest.approx(-2 * 250 * np.log(0.99))


@pytest.mark.parametrize(("count", "zone"), [(0, "green"), (4, "green"), (5, "yellow"), (9, "yellow"), (10, "red")])
def test_the_zones_of_basel(count: int, zone: str) -> None:
    breaches = np.zeros(250, dtype=bool)
    breaches[: 2 * count : 2] = True
    assert backtest(breaches, 0.99).basel_zone == zone


def test_breaches_in_a_row_are_not_independent() -> None:
    clustered = np.zeros(1000, dtype=bool)
    clustered[500:520] = True
    spread = np.zeros(1000, dtype=bool)
    spread[::50] = True
    assert stats.chi2.sf(christoffersen(clustered), 1) < 1e-6
    assert stats.chi2.sf(christoffersen(spread), 1) > 0.2
    assert christoffersen(np.zeros(100, dtype=bool)) == 0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("level", [0.95, 0.99])
def test_shortfall_is_beyond_value_at_risk_and_errors_are_told(method: str, level: float) -> None:
    found = measure(method, -bundled("sp500-20").portfolio_returns()[-2000:], level)
    assert 0 < found.var < found.es < 0.5
    assert 0 < found.var_error < found.var
    assert 0 < found.es_error < found.es
    assert found == measure(method, -bundled("sp500-20").portfolio_returns()[-2000:], level), "seeded"


def test_the_gaussian_figures_are_the_closed_form() -> None:
    losses = np.random.default_rng(1).normal(0.1, 2.0, 200_000)
    var, shortfall = gaussian(losses, 0.99)
    assert var == pytest.approx(0.1 + 2 * 2.3263, abs=0.03)
    assert shortfall == pytest.approx(0.1 + 2 * stats.norm.pdf(stats.norm.ppf(0.99)) / 0.01, abs=0.03)


def test_the_standard_error_is_that_of_theory() -> None:
    """Of a quantile: √(q(1−q)/n) / density."""
    losses = np.random.default_rng(3).standard_normal(4000)
    expected = np.sqrt(0.95 * 0.05 / 4000) / stats.norm.pdf(stats.norm.ppf(0.95))
    assert measure("historical", losses, 0.95).var_error == pytest.approx(expected, rel=0.25)


def test_components_add_up_to_the_whole() -> None:
    data = bundled("sp500-20")
    returns = data.simple_returns()
    shares = component_var(returns, data.weights, 0.99)
    assert shares.sum() == pytest.approx(gaussian(-(returns @ data.weights), 0.99)[0], rel=1e-9)


def test_shortfall_is_subadditive() -> None:
    returns = bundled("sp500-20").simple_returns()
    first, second = -returns[:, 0], -returns[:, 7]
    assert historical(first + second, 0.97)[1] <= historical(first, 0.97)[1] + historical(second, 0.97)[1]


def test_forecasts_of_filtered_history_hold_their_level() -> None:
    losses = -bundled("sp500-20").portfolio_returns()
    breaches = rolling_breaches("filtered_historical", losses, 0.95, days=1500)
    assert len(breaches) == 1500
    assert backtest(breaches, 0.95).kupiec_p > 0.01


def test_a_forecast_knows_nothing_of_its_day() -> None:
    losses = -bundled("sp500-20").portfolio_returns()[-1600:]
    changed = losses.copy()
    changed[-1] = -1.0
    for method in METHODS:
        before, after = (rolling_breaches(method, values, 0.95, days=900) for values in (losses, changed))
        assert (before[:-1] == after[:-1]).all(), method
        assert not after[-1]


def test_drawdown_is_from_the_high_before() -> None:
    assert max_drawdown(np.array([[1.0, 2.0, 1.0, 4.0, 3.0], [1.0, 1.1, 1.2, 1.3, 1.4]])).tolist() == [0.5, 0.0]
