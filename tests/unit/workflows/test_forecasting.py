"""Price paths with intervals, of one asset and of the whole portfolio."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gateway.errors import ValidationFailed
from gateway.risk.market_data import bundled
from gateway.workflows.forecasting import following_days, forecast

from .model_kit import Bench, trained

MARKET = {"dataset": "sp500-20"}


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench("price-forecaster")


def test_a_path_with_widening_intervals(bench: Bench) -> None:
    output = bench.run(forecast, {"data": MARKET, "asset": "AAPL", "horizon": 10})
    made, market = output["forecast"], bundled("sp500-20")
    assert made["asset"] == "AAPL"
    assert made["last_price"] == market.prices[-1, market.assets.index("AAPL")]
    assert [point["step"] for point in made["points"]] == list(range(1, 11))
    widths = [np.log(point["upper"] / point["lower"]) for point in made["points"]]
    assert widths[-1] > 2 * widths[0]
    assert all(point["lower"] < point["value"] < point["upper"] for point in made["points"])
    assert made["points"][0]["date"] > made["as_of"]
    assert {part["name"] for part in made["components"]} == {"level", "trend", "drift"}
    assert output["backtest"]["naive_mae"] > 0
    assert (output["model"], output["version"]) == ("price-forecaster", 1)


def test_without_an_asset_it_is_the_portfolio(bench: Bench) -> None:
    output = bench.run(forecast, {"data": MARKET})
    market = bundled("sp500-20")
    assert output["forecast"]["asset"] == "portfolio"
    assert output["forecast"]["horizon"] == 21
    assert output["forecast"]["last_price"] == pytest.approx(100 * np.prod(1 + market.portfolio_returns()))


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({"asset": "NOPE"}, "input_data.asset"),
        ({"asset": ["AAPL"]}, "input_data.asset"),
        ({"asset": 3}, "input_data.asset"),
        ({"horizon": 0}, "input_data.horizon"),
        ({"horizon": "21"}, "input_data.horizon"),
        ({"horizon": 64}, "input_data.horizon"),
    ],
)
def test_wrong_input_is_refused_at_its_path(bench: Bench, data: dict[str, Any], path: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        bench.run(forecast, {"data": MARKET, **data})
    assert refused.value.param == path


def test_the_coverage_asked_for_is_used(bench: Bench) -> None:
    def width(coverage: float) -> float:
        config = {"parameters": {"coverage": coverage}}
        made = bench.run(forecast, {"data": MARKET, "asset": "XOM", "horizon": 5}, config)["forecast"]
        assert made["coverage"] == coverage
        return float(np.log(made["points"][-1]["upper"] / made["points"][-1]["lower"]))

    assert width(0.5) < width(0.8) < width(0.95)


def test_the_interval_covers_in_the_backtest_on_real_prices() -> None:
    """1,840 windows of the last eight years, on a model calibrated before them."""
    metrics = trained("price-forecaster").metrics
    for name in ("coverage", "coverage_1", "coverage_5", "coverage_21", "coverage_63"):
        assert metrics[name] == pytest.approx(0.9, abs=0.06)


def test_it_claims_no_more_skill_than_it_has() -> None:
    """Against the last price: within a few percent either way, as the card says."""
    trained_model = trained("price-forecaster")
    assert abs(trained_model.metrics["skill"]) < 0.05
    assert "hardly better" in trained_model.card["intended_use"]


def test_following_days_are_weekdays() -> None:
    assert following_days(np.datetime64("2022-12-28"), 4) == ["2022-12-29", "2022-12-30", "2023-01-02", "2023-01-03"]
    assert following_days(np.datetime64("2022-12-31"), 1) == ["2023-01-02"]
