"""The classifier and the regressor: same bytes, exact Shapley values, conformal coverage."""

from __future__ import annotations

from itertools import combinations
from math import factorial
from typing import Any

import lightgbm as lgb
import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import betabinom

from gateway.errors import ValidationFailed
from gateway.ml.families.classification import ClassifierBody
from gateway.ml.families.regression import RegressorBody
from gateway.ml.lightgbm_native import NativeBooster
from gateway.ml.runtime import load
from gateway.ml.trainers import classification, regression
from gateway.ml.training import TrainedModel, TrainingTable
from gateway.models.ml_models import Features, Prediction

from .conftest import CLASSES, class_rows, target_rows


def answered(model: TrainedModel, x: NDArray[np.float64], *, explain: bool = False, **parameters: Any) -> Prediction:
    rows = tuple(map(tuple, x.tolist()))
    predictor = load(model.format, model.content, model.schema)
    return predictor.predict(Features(rows=rows, explain=explain, parameters=parameters))


def trees_of(model: TrainedModel) -> str:
    return str(msgspec.json.decode(model.content)["body"]["trees"])


def test_the_same_data_and_seed_give_the_same_bytes(class_table: TrainingTable, classifier: TrainedModel) -> None:
    again = classification.train(class_table, CLASSES, seed=7)
    other = classification.train(class_table, CLASSES, seed=8)
    assert again == classifier
    assert other.content != classifier.content
    assert other.data_hash == classifier.data_hash


def test_the_regressor_is_as_repeatable(target_table: TrainingTable, regressor: TrainedModel) -> None:
    zero = {"zero": np.zeros(len(target_table.y))}
    assert regression.train(target_table, scale="log", baselines=zero, seed=7).content == regressor.content


def test_serving_agrees_with_the_training_library(classifier: TrainedModel) -> None:
    x, _ = class_rows(300, 50)
    booster = lgb.Booster(model_str=trees_of(classifier))
    native = NativeBooster(trees_of(classifier), 5)
    np.testing.assert_array_equal(native.raw_scores(x), booster.predict(x, raw_score=True, num_threads=1))
    contributions = np.asarray(booster.predict(x, pred_contrib=True, num_threads=1)).reshape(300, 3, 6)
    np.testing.assert_array_equal(native.contributions(x), contributions)


def test_contributions_sum_to_the_raw_score(classifier: TrainedModel, regressor: TrainedModel) -> None:
    x, _ = class_rows(500, 51)
    native = NativeBooster(trees_of(classifier), 5)
    assert np.abs(native.contributions(x).sum(axis=2) - native.raw_scores(x)).max() <= 1e-9
    for row, raw in zip(answered(classifier, x, explain=True).predictions, native.raw_scores(x), strict=True):
        assert row.label is not None
        assert row.contributions is not None
        total = (row.base_value or 0.0) + sum(part.contribution for part in row.contributions)
        assert abs(total - raw[CLASSES.index(row.label)]) <= 1e-9
    y, _ = target_rows(200, 52)
    for row in answered(regressor, y, explain=True).predictions:
        assert row.contributions is not None
        assert row.value is not None
        total = (row.base_value or 0.0) + sum(part.contribution for part in row.contributions)
        assert abs(total - np.log(row.value)) <= 1e-9


def test_contributions_equal_shapley_values_over_all_coalitions(regressor: TrainedModel) -> None:
    trees = lgb.Booster(model_str=trees_of(regressor)).dump_model()["tree_info"]
    native = NativeBooster(trees_of(regressor), 4)
    x, _ = target_rows(3, 53)
    for row, found in zip(x, native.contributions(x)[:, 0, :-1], strict=True):
        worth = {
            subset: sum(_expected(tree["tree_structure"], row, subset) for tree in trees)
            for size in range(5)
            for subset in combinations(range(4), size)
        }
        for feature in range(4):
            exact = 0.0
            for subset, value in worth.items():
                if feature in subset:
                    continue
                weight = factorial(len(subset)) * factorial(3 - len(subset)) / factorial(4)
                exact += weight * (worth[tuple(sorted((*subset, feature)))] - value)
            assert exact == pytest.approx(found[feature], abs=1e-9)


def _expected(node: dict[str, Any], row: NDArray[np.float64], known: tuple[int, ...]) -> float:
    """The tree's value where only the ``known`` features are given: unknown splits by training counts."""
    if "leaf_value" in node:
        return float(node["leaf_value"])
    left, right = node["left_child"], node["right_child"]
    if node["split_feature"] in known:
        return _expected(left if row[node["split_feature"]] <= node["threshold"] else right, row, known)
    counts = [child.get("internal_count", child.get("leaf_count")) for child in (left, right)]
    shares = [count / sum(counts) for count in counts]
    return float(shares[0] * _expected(left, row, known) + shares[1] * _expected(right, row, known))


def test_prediction_sets_cover_as_the_theory_says(classifier: TrainedModel) -> None:
    """Over draws of the calibration fold, hits among m fresh rows are Beta-Binomial."""
    fresh, calibration = 4_000, msgspec.json.decode(classifier.content)["body"]["score_count"]
    x, y = class_rows(fresh, 60)
    for coverage in (0.8, 0.9, 0.95):
        answer = answered(classifier, x, coverage=coverage)
        hits = sum(
            CLASSES[int(label)] in (row.prediction_set or ()) for row, label in zip(answer.predictions, y, strict=True)
        )
        low, high = _band(fresh, calibration, coverage)
        assert low <= hits <= high


def test_intervals_cover_as_the_theory_says(regressor: TrainedModel) -> None:
    fresh, calibration = 4_000, msgspec.json.decode(regressor.content)["body"]["score_count"]
    x, y = target_rows(fresh, 61)
    for coverage in (0.5, 0.9):
        answer = answered(regressor, x, coverage=coverage)
        hits = sum(
            (row.lower or 0.0) <= np.exp(truth) <= (row.upper or 0.0)
            for row, truth in zip(answer.predictions, y, strict=True)
        )
        low, high = _band(fresh, calibration, coverage)
        assert low <= hits <= high


def _band(fresh: int, calibration: int, coverage: float) -> tuple[float, float]:
    rank = np.ceil((calibration + 1) * coverage - 1e-9)
    law = betabinom(fresh, rank, calibration + 1 - rank)
    return float(law.ppf(0.0005)), float(law.ppf(0.9995))


def test_models_beat_their_baselines_and_are_calibrated(classifier: TrainedModel, regressor: TrainedModel) -> None:
    assert classifier.metrics["log_loss"] < 0.85 * classifier.metrics["baseline_log_loss"]
    assert classifier.metrics["calibration_error"] < 0.06
    assert regressor.metrics["rmse"] < 0.36  # the noise is 0.3
    assert regressor.metrics["zero_rmse"] > 0.7
    assert regressor.metrics["r2"] > 0.7


def test_a_row_is_answered_alike_alone_and_among_others(classifier: TrainedModel, regressor: TrainedModel) -> None:
    for model, x in ((classifier, class_rows(64, 70)[0]), (regressor, target_rows(64, 71)[0])):
        together = answered(model, x, explain=True).predictions
        alone = tuple(answered(model, x[row : row + 1], explain=True).predictions[0] for row in range(64))
        assert together == alone


def test_probabilities_sum_to_one_and_the_label_is_the_likeliest(classifier: TrainedModel) -> None:
    for row in answered(classifier, class_rows(100, 72)[0]).predictions:
        assert row.probabilities is not None
        assert sum(row.probabilities.values()) == pytest.approx(1.0)
        assert row.label == max(row.probabilities, key=row.probabilities.__getitem__)
        assert row.label in (row.prediction_set or ())


def test_values_outside_training_are_named(classifier: TrainedModel) -> None:
    inside, outside = answered(classifier, np.array([[0.0] * 5, [0.0, 99.0, 0.0, -99.0, 0.0]])).predictions
    assert inside.out_of_range is None
    assert outside.out_of_range == ("f1", "f3")


@pytest.mark.parametrize("parameters", [{"coverage": 1.0}, {"coverage": "0.9"}, {"coverage": True}, {"cover": 0.9}])
def test_wrong_parameters_are_refused(classifier: TrainedModel, parameters: dict[str, Any]) -> None:
    with pytest.raises(ValidationFailed) as refused:
        answered(classifier, np.zeros((1, 5)), **parameters)
    assert str(refused.value.param).startswith("model_config.parameters.")


def test_an_interval_is_never_infinite(regressor: TrainedModel) -> None:
    """Too few scores for the coverage asked: the widest residual seen stands in."""
    document = msgspec.json.decode(regressor.content)
    body = msgspec.convert(document["body"], RegressorBody)
    few = msgspec.structs.replace(body, scores=body.scores[:40], score_count=5)
    content = msgspec.json.encode({**document, "body": few})
    (row,) = load(regressor.format, content, regressor.schema).predict(Features(rows=((0.0,) * 4,))).predictions
    assert np.isfinite([row.value or np.nan, row.lower or np.nan, row.upper or np.nan]).all()


def test_calibration_undoes_overconfidence(class_table: TrainingTable) -> None:
    random = np.random.default_rng(9)
    scores = random.normal(size=(20_000, 3))
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    labels = (random.random(20_000)[:, None] > shares.cumsum(axis=1)).sum(axis=1)
    temperature, bias = classification.fit_calibration(3.0 * scores + np.array([0.6, 0.0, -0.6]), labels)
    assert temperature == pytest.approx(3.0, rel=0.06)
    # The true biases are -0.2, 0 and 0.2; the penalty holds them back, never past them.
    assert -0.2 < bias[0] < -0.05
    assert bias[1] == pytest.approx(0.0, abs=0.03)
    assert 0.05 < bias[2] < 0.2


def test_classes_that_do_not_match_the_trees_are_refused(classifier: TrainedModel) -> None:
    document = msgspec.json.decode(classifier.content)
    body = msgspec.convert(document["body"], ClassifierBody)
    two = msgspec.structs.replace(body, classes=("low", "high"), bias=(0.0, 0.0))
    with pytest.raises(Exception, match="do not match"):
        load(classifier.format, msgspec.json.encode({**document, "body": two}), classifier.schema)
