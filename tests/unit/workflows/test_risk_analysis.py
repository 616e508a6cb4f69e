"""Unusual days and the level of risk, on the bundled market data with the built-in models."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.errors import StepCancelled, ValidationFailed
from gateway.risk.features import anomaly_table, risk_table
from gateway.risk.market_data import bundled
from gateway.workflows.model_step import MOST_ROWS, peaks
from gateway.workflows.risk_analysis import classify_risk, detect_anomalies, up_to

from .model_kit import Bench, trained

SOURCE = Path(__file__).parents[3] / "src"
MARKET = {"dataset": "sp500-20"}


@pytest.fixture(scope="module")
def anomalies() -> dict[str, Any]:
    return Bench("market-anomaly").run(detect_anomalies, {"data": MARKET})


def test_the_crashes_everybody_remembers_are_found(anomalies: dict[str, Any]) -> None:
    months = {one["date"][:7] for one in anomalies["anomalies"]}
    assert "2008-10" in months
    assert "2020-03" in months


def test_the_worst_come_first_and_the_total_is_told(anomalies: dict[str, Any]) -> None:
    scores = [one["score"] for one in anomalies["anomalies"]]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == anomalies["listed"] == 50
    assert anomalies["total"] > 50
    assert all(one["score"] > one["threshold"] for one in anomalies["anomalies"])
    assert anomalies["false_alarm_rate"] == 0.01
    assert (anomalies["model"], anomalies["version"]) == ("market-anomaly", 1)


def test_each_anomaly_names_assets_and_reasons(anomalies: dict[str, Any]) -> None:
    market = bundled("sp500-20")
    for one in anomalies["anomalies"]:
        place = int(np.searchsorted(market.dates, np.datetime64(one["date"])))
        assert len(one["assets"]) == 5
        assert 1 <= len(one["reasons"]) <= 3
        assert [abs(asset["z"]) for asset in one["assets"]] == sorted(
            (abs(asset["z"]) for asset in one["assets"]), reverse=True
        )
        for asset in one["assets"]:
            column = market.assets.index(asset["asset"])
            change = market.prices[place, column] / market.prices[place - 1, column] - 1
            # Returns may be logarithmic or simple: on a day of 20 % they differ by 2 points.
            assert asset["return"] == pytest.approx(change, abs=change**2 + 1e-5)


def test_all_days_go_in_one_call() -> None:
    bench = Bench("market-anomaly")
    bench.run(detect_anomalies, {"data": MARKET})
    (request,) = bench.predict.requests
    assert 5_000 < len(request.inputs["features"]) <= MOST_ROWS
    assert bench.predict.causes == ["t:1:0"]
    assert bench.progress == sorted(bench.progress)


def test_a_lower_rate_flags_fewer_days_and_newest_can_come_first() -> None:
    bench = Bench("market-anomaly")
    options = {"false_alarm_rate": 0.002, "most": 10, "order": "newest"}
    output = bench.run(detect_anomalies, {"data": MARKET, "options": options})
    dates = [one["date"] for one in output["anomalies"]]
    assert dates == sorted(dates, reverse=True)
    assert len(dates) == 10
    assert output["false_alarm_rate"] == 0.002


def test_a_day_is_judged_by_nothing_that_came_later() -> None:
    """Cutting the future off changes no score of the days before."""
    market = bundled("sp500-20")
    early = up_to(market, "2008-12-31", "as_of")
    whole, part = anomaly_table(market), anomaly_table(early)
    np.testing.assert_allclose(whole.values[: len(part.values)], part.values, rtol=1e-9, atol=1e-12)
    whole, part = risk_table(market), risk_table(early)
    assert whole.index[: len(part.index)] == part.index
    np.testing.assert_allclose(whole.values[: len(part.values)], part.values, rtol=1e-9, atol=1e-12)


def test_changing_the_future_does_not_change_the_answer() -> None:
    bench = Bench("risk-classifier")
    market = bundled("sp500-20")
    days = int(np.searchsorted(market.dates, np.datetime64("2015-06-30"), side="right"))
    end = str(market.dates[days - 1])
    cut = bench.run(classify_risk, {"features": {"dataset": "sp500-20", "end": end}})
    seen = bench.run(classify_risk, {"features": MARKET, "options": {"as_of": end}})
    assert cut["as_of"] == seen["as_of"] == end
    assert cut["probabilities"] == seen["probabilities"]
    assert [reason["feature"] for reason in cut["reasons"]] == [reason["feature"] for reason in seen["reasons"]]


@pytest.mark.parametrize(("as_of", "level"), [("2008-11-28", "high"), ("2017-10-31", "low")])
def test_crisis_is_high_and_calm_is_low(as_of: str, level: str) -> None:
    output = Bench("risk-classifier").run(classify_risk, {"features": MARKET, "options": {"as_of": as_of}})
    assert output["risk_level"] == level
    assert level in output["prediction_set"]
    assert sum(output["probabilities"].values()) == pytest.approx(1.0, abs=1e-5)
    assert output["probabilities"][level] == max(output["probabilities"].values())
    assert 1 <= len(output["reasons"]) <= 5
    assert set(output["reasons"][0]) == {"feature", "value", "contribution", "text"}
    assert output["as_of"] == as_of
    assert set(output["plots"]) == {"probabilities", "volatility"}


def test_one_row_of_features_is_enough() -> None:
    bench = Bench("risk-classifier")
    table = risk_table(bundled("sp500-20"))
    row = dict(zip(table.names, table.values[-1].tolist(), strict=True))
    direct = bench.run(classify_risk, {"features": row})
    from_market = bench.run(classify_risk, {"features": MARKET})
    assert direct["probabilities"] == pytest.approx(from_market["probabilities"])
    assert [reason["text"] for reason in direct["reasons"]] == [reason["text"] for reason in from_market["reasons"]]


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"as_of": "yesterday"}, "input_data.options.as_of"),
        ({"as_of": 20200331}, "input_data.options.as_of"),
        ({"as_of": "1950-01-01"}, "input_data.options.as_of"),
        ({"asof": "2020-03-31"}, "input_data.options.asof"),
        ([], "input_data.options"),
        ({"coverage": 2}, "model_config.parameters.coverage"),
    ],
)
def test_wrong_options_are_refused(options: Any, path: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        Bench("risk-classifier").run(classify_risk, {"features": MARKET, "options": options})
    assert refused.value.param == path


@pytest.mark.parametrize("options", [{"most": 51}, {"most": True}, {"order": "best"}, {"false_alarm_rate": 0.9}])
def test_wrong_anomaly_options_are_refused(options: Any) -> None:
    with pytest.raises(ValidationFailed):
        Bench("market-anomaly").run(detect_anomalies, {"data": MARKET, "options": options})


def test_a_model_of_another_kind_is_refused_in_words() -> None:
    with pytest.raises(ValidationFailed):
        Bench("risk-classifier").run(detect_anomalies, {"data": MARKET}, {"name": "risk-classifier"})


def test_a_cancelled_step_stops_before_it_pays() -> None:
    bench = Bench("market-anomaly")
    bench.cancelled = True
    with pytest.raises(StepCancelled):
        bench.run(detect_anomalies, {"data": MARKET})
    assert bench.predict.requests == []


def test_the_named_model_version_and_parameters_are_used() -> None:
    bench = Bench("market-anomaly")
    config = {"name": "market-anomaly", "version": 1, "parameters": {"false_alarm_rate": 0.05}}
    output = bench.run(detect_anomalies, {"data": MARKET}, config)
    assert output["false_alarm_rate"] == 0.05
    assert bench.predict.requests[0].version == 1


def test_the_models_cards_say_what_they_are() -> None:
    for name in ("risk-classifier", "market-anomaly"):
        card = trained(name).card
        assert {"intended_use", "trained_on", "period", "label", "method", "splits", "limits"} <= set(card)


def test_thinned_plots_keep_the_peaks() -> None:
    values = np.zeros(5_000)
    values[[17, 4_321]] = 1.0
    assert {17, 4_321} <= set(peaks(values.tolist()).tolist())
    assert len(peaks(values.tolist())) == 500


def test_steps_that_only_predict_need_no_training_library() -> None:
    code = (
        "import sys, gateway.workflows.risk_analysis, gateway.workflows.forecasting, gateway.workflows.segmentation;"
        "print([name for name in ('sklearn', 'lightgbm', 'pandas', 'scipy') if name in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env={"PYTHONPATH": str(SOURCE)}
    )
    assert ran.stdout.strip() == "[]"
