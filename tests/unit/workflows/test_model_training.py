"""Training as a step: the version, the comparison with the champion, the promotion; and the built-ins."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest

from gateway.errors import ModelNotFound, PermissionDenied, StepCancelled, ValidationFailed
from gateway.ml.trainers import classification, regression
from gateway.risk.market_data import bundled
from gateway.workflows.builtin_models import BUILTIN, FIRST_SEED, missing, train_builtin
from gateway.workflows.model_training import train
from gateway.workflows.training_data import LABEL_DAYS, future_volatility, sub_portfolios

from .model_kit import Bench, prepared, trained


def test_every_built_in_is_repeatable_and_measured_beside_a_baseline() -> None:
    for name, model in BUILTIN.items():
        again = model.train(prepared(name), FIRST_SEED)
        assert again == trained(name), name
        assert model.metric in again.metrics
        assert model.baseline in again.metrics
        assert {"intended_use", "trained_on", "period", "label", "method", "splits", "limits"} <= set(again.card)
        assert msgspec.json.decode(msgspec.json.encode(again.card)) == again.card
        assert again.family == model.family


def test_prepared_and_trained_from_market_data_it_is_the_same_again() -> None:
    for name in ("market-anomaly", "portfolio-segments", "price-forecaster"):
        assert train_builtin(name, bundled("sp500-20")) == trained(name)


@pytest.mark.parametrize("name", ["risk-classifier", "volatility-regressor", "price-forecaster", "portfolio-segments"])
def test_it_beats_the_simple_method_out_of_sample(name: str) -> None:
    model, metrics = BUILTIN[name], trained(name).metrics
    assert model.better(metrics[model.metric], metrics[model.baseline])


def test_the_parts_of_every_split_are_in_order_with_an_embargo() -> None:
    for name in BUILTIN:
        splits = dict(trained(name).card["splits"])
        assert splits.pop("embargo_days") >= LABEL_DAYS
        parts = list(splits.values())
        for before, after in pairwise(parts):
            gap = np.datetime64(after["start"]) - np.datetime64(before["end"])
            assert gap > np.timedelta64(LABEL_DAYS, "D"), name


def test_labels_look_only_at_the_days_after() -> None:
    """Changing every price up to a day changes no label from that day on; changing the label's own
    days does."""
    market = bundled("sp500-20")
    days = np.array([4_000])
    honest = future_volatility(market, days)
    returns = market.portfolio_returns()[4_000 : 4_000 + LABEL_DAYS]
    assert honest[0] == pytest.approx(np.sqrt(np.mean(returns**2) * 252))
    assert np.isnan(future_volatility(market, np.array([len(market.dates) - LABEL_DAYS]))).all()
    assert np.isfinite(future_volatility(market, np.array([len(market.dates) - LABEL_DAYS - 1]))).all()


def test_class_limits_are_terciles_of_the_fit_period_alone() -> None:
    table, (low, high) = prepared("risk-classifier").classes(classification.SPLIT)
    fit = classification.split(table)[0].rows
    shares = np.bincount(table.y[fit].astype(int)) / len(fit)
    assert shares == pytest.approx([1 / 3] * 3, abs=0.01)
    assert 0 < low < high


def test_sub_portfolios_are_seeded_and_share_their_days() -> None:
    market = bundled("sp500-20")
    one, same, other = (sub_portfolios(market, seed) for seed in (1, 1, 2))
    assert [part.assets for part in one] == [part.assets for part in same]
    assert [part.assets for part in one] != [part.assets for part in other]
    for part in one:
        assert part.weights.sum() == pytest.approx(1.0)
        assert set(part.assets) < set(market.assets)
    table = prepared("volatility-regressor").table
    parts = regression.split(table)
    assert not set(table.day[parts[0].rows].tolist()) & set(table.day[parts[1].rows].tolist())


def test_the_first_version_becomes_champion() -> None:
    bench = Bench()
    assert set(missing(bench.registry)) == set(BUILTIN)
    output = bench.run(train, {"model": "market-anomaly", "promote": False})
    assert (output["version"], output["champion"], output["promoted"]) == (1, 1, True)
    assert output["comparison"]["champion"] is None
    assert bench.registry.resolve("market-anomaly").version == 1
    assert "market-anomaly" not in missing(bench.registry)
    assert output["metrics"] == trained("market-anomaly").metrics
    assert bench.progress == sorted(bench.progress)


def test_the_same_data_and_seed_find_their_version_again() -> None:
    bench = Bench("market-anomaly")
    output = bench.run(train, {"model": "market-anomaly"})
    assert output["already_registered"] is True
    assert output["version"] == 1
    assert output["promoted"] is False
    assert len(bench.registry.versions("market-anomaly")) == 1


def test_a_challenger_is_measured_on_the_same_days_as_the_champion() -> None:
    bench = Bench("risk-classifier")
    output = bench.run(train, {"model": "risk-classifier", "seed": 5})
    comparison = output["comparison"]
    assert output["version"] == 2
    assert comparison["champion_version"] == 1
    assert comparison["better"] == (comparison["challenger"] < comparison["champion"])
    assert output["promoted"] == comparison["better"]
    assert bench.registry.resolve("risk-classifier").version == (2 if output["promoted"] else 1)
    assert comparison["challenger_metrics"]["test_rows"] == comparison["champion_metrics"]["test_rows"]
    assert set(output["plots"]) == {"comparison", "importance"}


@pytest.mark.parametrize(("promote", "champion"), [(True, 2), (False, 1)])
def test_promotion_can_be_ordered_or_forbidden(promote: bool, champion: int) -> None:
    bench = Bench("market-anomaly")
    data = {"dataset": "sp500-20", "start": "1995-01-01"}
    output = bench.run(train, {"model": "market-anomaly", "data": data, "promote": promote})
    assert output["version"] == 2
    assert output["champion"] == champion
    assert bench.registry.resolve("market-anomaly").version == champion
    if promote:
        bench.registry.rollback("market-anomaly", by="tester")
        assert bench.registry.resolve("market-anomaly").version == 1


def test_a_champion_that_cannot_be_loaded_blocks_nobody() -> None:
    bench = Bench("market-anomaly")
    bench.shelf.kept.clear()
    data = {"dataset": "sp500-20", "start": "1995-01-01"}
    output = bench.run(train, {"model": "market-anomaly", "data": data})
    assert "could not be measured" in output["comparison"]["caveat"]
    assert output["champion"] == 2


def test_a_champion_that_knew_the_test_days_is_pointed_out() -> None:
    bench = Bench("market-anomaly")
    data = {"dataset": "sp500-20", "end": "2005-12-31"}
    output = bench.run(train, {"model": "market-anomaly", "data": data, "promote": False})
    assert "known to it" in output["comparison"]["caveat"]


def test_the_permission_to_train_is_needed() -> None:
    bench = Bench(role="developer")
    with pytest.raises(PermissionDenied):
        bench.run(train, {"model": "market-anomaly"})


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ({"model": "gpt"}, ModelNotFound),
        ({"model": "market-anomaly", "promote": "maybe"}, ValidationFailed),
        ({"model": "market-anomaly", "promote": 1}, ValidationFailed),
        ({"model": "market-anomaly", "seed": -1}, ValidationFailed),
        ({"model": "market-anomaly", "seed": True}, ValidationFailed),
        ({"model": "market-anomaly", "options": {"rounds": 3}}, ValidationFailed),
        ({"model": "risk-classifier", "data": {"dataset": "sp500-20", "start": "2021-01-01"}}, ValidationFailed),
        ({"model": "market-anomaly", "data": {"dataset": "sp500-20", "start": "2022-09-01"}}, ValidationFailed),
        ({"model": "price-forecaster", "data": {"dataset": "sp500-20", "start": "2021-01-01"}}, ValidationFailed),
        ({"model": "portfolio-segments", "data": {"dataset": "sp500-20", "start": "2021-01-01"}}, ValidationFailed),
    ],
)
def test_wrong_input_is_refused(data: dict[str, Any], error: type[Exception]) -> None:
    bench = Bench()
    with pytest.raises(error):
        bench.run(train, data)
    assert bench.registry.versions("market-anomaly") == []


def test_a_cancelled_training_registers_nothing() -> None:
    bench = Bench()
    bench.cancelled = True
    with pytest.raises(StepCancelled):
        bench.run(train, {"model": "market-anomaly"})
    assert bench.rows.kept == {}
