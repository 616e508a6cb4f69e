"""Preparation, analysis, scenarios and assessment, each on real data, each output the next one's input."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import StepCancelled, ValidationFailed
from gateway.workflows.data_analysis import analyse
from gateway.workflows.data_preparation import preprocess
from gateway.workflows.risk_assessment import assess
from gateway.workflows.scenario_gen import generate

from .model_kit import Bench

SOME = {"dataset": "sp500-20", "start": "2015-01-01", "assets": ["JPM", "GE", "WMT", "JNJ", "XOM"]}


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench()


@pytest.fixture(scope="module")
def prepared(bench: Bench) -> dict[str, Any]:
    return bench.run(preprocess, {"data": SOME})


@pytest.fixture(scope="module")
def analysis(bench: Bench, prepared: dict[str, Any]) -> dict[str, Any]:
    return bench.run(analyse, {"market_data": prepared["processed_data"]})


@pytest.fixture(scope="module")
def scenarios(bench: Bench, analysis: dict[str, Any]) -> dict[str, Any]:
    return bench.run(generate, {"analysis": analysis, "paths": 400, "years": 3, "seed": 5})


def test_preparation_keeps_the_prices_and_says_what_it_did(bench: Bench, prepared: dict[str, Any]) -> None:
    table = prepared["processed_data"]
    assert (table["start"][:4], table["end"][:4], table["assets"]) == ("2015", "2022", SOME["assets"])
    assert sum(table["weights"].values()) == pytest.approx(1)
    again = bench.run(preprocess, {"data": table, "options": {"winsorise": 0.01}})
    assert again["processed_data"]["artifact"]["sha256"] == table["artifact"]["sha256"], (
        "the same prices, the same hash"
    )
    assert prepared["report"]["filled"] == {}
    worst = next(fact for fact in prepared["facts"] if fact["name"] == "worst day")
    assert worst["value"] == "2020-03-16"


def test_analysis_finds_the_calm_and_the_storm(analysis: dict[str, Any]) -> None:
    assert analysis["moments"]["excess_kurtosis"] > 3, "daily returns have fat tails"
    assert 0.1 < analysis["moments"]["volatility_annual"] < 0.4
    assert 0.9 < analysis["volatility"]["garch"]["persistence"] < 1
    matrix = analysis["correlation"]["matrix"]
    assert all(matrix[at][at] == pytest.approx(1) for at in range(5))
    assert analysis["drawdowns"][0]["depth"] < -0.2
    assert 0 < analysis["correlation"]["shrinkage"] < 1


def test_scenarios_follow_the_calibration(scenarios: dict[str, Any], analysis: dict[str, Any], bench: Bench) -> None:
    inner = scenarios["scenarios"]
    assert (inner["paths"], inner["years"], inner["seed"]) == (400, 3, 5)
    assert set(scenarios["plots"]) >= {"equity", "short_rate", "fx", "inflation"}
    assert len(scenarios["plots"]["equity"]["x"]) == 37
    again = bench.run(generate, {"analysis": analysis["calibration"], "paths": 400, "years": 3, "seed": 5})
    assert again["scenarios"]["artifact"] == inner["artifact"], "the same seed, the same bytes"
    neutral = bench.run(
        generate, {"analysis": analysis, "paths": 2000, "years": 2, "seed": 5, "measure": "risk_neutral"}
    )
    tests = neutral["scenarios"]["martingale_tests"]
    assert tests
    assert all(test["passed"] for test in tests)


def test_losses_of_scenarios_have_errors_and_an_order(bench: Bench, scenarios: dict[str, Any]) -> None:
    found = bench.run(assess, {"scenarios": scenarios["scenarios"], "confidence": [0.9, 0.99]})
    assert {measure["horizon_years"] for measure in found["measures"]} == {1, 3}
    for measure in found["measures"]:
        assert measure["var"] <= measure["es"]
        assert measure["var_error"] > 0
        assert measure["es_error"] > 0
    assert found["paths"] == 400
    assert found["stresses"]


def test_a_portfolio_is_measured_and_backtested(bench: Bench, prepared: dict[str, Any]) -> None:
    found = bench.run(assess, {"portfolio": prepared["processed_data"], "confidence": 0.99})
    assert {test["method"] for test in found["backtests"]} == {"historical", "gaussian", "ewma", "filtered_historical"}
    assert all(test["basel_zone"] in ("green", "yellow", "red") for test in found["backtests"])
    shares = found["component_var"]
    assert sum(shares["assets"].values()) == pytest.approx(shares["total"])


@pytest.mark.parametrize(
    ("handler", "data", "param"),
    [
        (preprocess, {"data": SOME, "options": {"winsorise": 0.5}}, "input_data.options.winsorise"),
        (preprocess, {"data": SOME, "options": {"colour": 1}}, "input_data.options"),
        (preprocess, {"data": {"artifact": {"sha256": "x"}}}, "input_data.data"),
        (analyse, {"market_data": {"artifact": {"sha256": "0" * 64}}}, "input_data.market_data"),
        (analyse, {"market_data": {**SOME, "start": "2022-06-01"}}, "input_data.market_data"),
        (generate, {"analysis": {"moments": 1}}, "analysis.calibration"),
        (generate, {"analysis": None}, "analysis.calibration"),
        (assess, {}, "input_data.scenarios"),
        (assess, {"scenarios": {}, "portfolio": SOME}, "input_data.scenarios"),
        (assess, {"portfolio": SOME, "confidence": 2}, "input_data.confidence"),
        (assess, {"portfolio": SOME, "confidence": []}, "input_data.confidence"),
        (assess, {"portfolio": {**SOME, "start": "2021-06-01"}}, "input_data.portfolio"),
    ],
)
def test_what_is_wrong_has_a_place(bench: Bench, handler: Any, data: dict[str, Any], param: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        bench.run(handler, data)
    assert caught.value.param == param


@pytest.mark.parametrize(
    "change",
    [{"paths": 5}, {"paths": True}, {"years": 0}, {"seed": -1}, {"measure": "q"}, {"stresses": ["flood"]}],
)
def test_scenarios_within_bounds(bench: Bench, analysis: dict[str, Any], change: dict[str, Any]) -> None:
    with pytest.raises(ValidationFailed) as caught:
        bench.run(generate, {"analysis": analysis, **change})
    assert next(iter(change)) in (caught.value.param or "")


def test_a_step_that_nobody_wants_stops(prepared: dict[str, Any]) -> None:
    bench = Bench()
    bench.shelf.put(b"", "x")
    bench.cancelled = True
    with pytest.raises(StepCancelled):
        bench.run(preprocess, {"data": SOME})
