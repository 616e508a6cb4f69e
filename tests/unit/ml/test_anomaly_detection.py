"""ECOD: against a plain reference, alike for any batch, its threshold at the stated rate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gateway.errors import ValidationFailed
from gateway.ml.families.anomaly_detection import EcodBody
from gateway.ml.runtime import load
from gateway.ml.trainers import anomaly_detection
from gateway.ml.training import TrainedModel, TrainingTable
from gateway.models.ml_models import Features, RowPrediction


def answered(model: TrainedModel, x: NDArray[np.float64], **parameters: Any) -> tuple[RowPrediction, ...]:
    predictor = load(model.format, model.content, model.schema)
    rows = tuple(map(tuple, x.tolist()))
    return predictor.predict(Features(rows=rows, explain=True, parameters=parameters)).predictions


def test_the_same_data_gives_the_same_bytes(anomaly_table: TrainingTable, detector: TrainedModel) -> None:
    assert anomaly_detection.train(anomaly_table, seed=7) == detector


def test_the_longer_tail_is_the_suspicious_one(detector: TrainedModel) -> None:
    assert detector.card["tails"] == {"f0": "both", "f1": "right", "f2": "left"}


def test_scores_equal_the_plain_definition(anomaly_table: TrainingTable, detector: TrainedModel) -> None:
    """Within the sample's bulk, where the continuation of the tail plays no part."""
    sample = anomaly_table.x[anomaly_detection.split(anomaly_table)[0].rows]
    x = np.array([[0.1, 0.5, -0.5], [-1.0, 2.0, -0.01], [1.5, 0.01, -2.5]])

    def tail(values: NDArray[np.bool_]) -> float:
        return -float(np.log((values.sum() + 1) / (len(sample) + 1)))

    for row, answer in zip(x, answered(detector, x), strict=True):
        both = max(tail(sample[:, 0] >= row[0]), tail(sample[:, 0] <= row[0])) - np.log(2.0)
        expected = max(both, 0.0) + tail(sample[:, 1] >= row[1]) + tail(sample[:, 2] <= row[2])
        assert answer.score == pytest.approx(expected, abs=1e-12)


def test_a_row_scores_alike_alone_and_among_thousands(anomaly_table: TrainingTable, detector: TrainedModel) -> None:
    together = answered(detector, anomaly_table.x)
    backwards = answered(detector, anomaly_table.x[::-1])
    assert together == backwards[::-1]
    for number in range(0, 4_000, 97):
        assert answered(detector, anomaly_table.x[number : number + 1]) == (together[number],)


def test_contributions_sum_to_the_score(anomaly_table: TrainingTable, detector: TrainedModel) -> None:
    for row in answered(detector, anomaly_table.x[:200]):
        assert row.contributions is not None
        assert row.score == pytest.approx(sum(part.contribution for part in row.contributions), abs=1e-9)
        assert all(part.contribution >= 0 for part in row.contributions)


def test_the_threshold_flags_the_stated_share_of_held_out_days(
    anomaly_table: TrainingTable, detector: TrainedModel
) -> None:
    held_out = anomaly_table.x[anomaly_detection.split(anomaly_table)[1].rows]
    for rate in (0.005, 0.01, 0.05):
        flagged = np.mean([row.is_anomaly for row in answered(detector, held_out, false_alarm_rate=rate)])
        assert rate - 1 / len(held_out) <= flagged <= rate


def test_fresh_days_alarm_at_about_that_rate(detector: TrainedModel) -> None:
    """Same law, other draw: 1 % of 20,000, with the noise of a threshold from 995 held-out days."""
    random = np.random.default_rng(33)
    columns = [random.normal(size=20_000), random.exponential(size=20_000), -random.exponential(size=20_000)]
    flagged = sum(bool(row.is_anomaly) for row in answered(detector, np.column_stack(columns)))
    assert 80 <= flagged <= 350


@settings(deadline=None, max_examples=60)
@given(st.floats(0.0, 1e6), st.floats(0.0, 1e6))
def test_farther_out_is_never_less_surprising(detector: TrainedModel, near: float, far: float) -> None:
    near, far = sorted((near, far))
    first, second = answered(detector, np.array([[0.0, near, -0.5], [0.0, far, -0.5]]))
    assert first.score is not None
    assert second.score is not None
    assert first.score <= second.score
    assert np.isfinite(second.score)


def test_the_worst_days_are_told_apart_beyond_the_sample(detector: TrainedModel) -> None:
    scores = [row.score or 0.0 for row in answered(detector, np.array([[0, 20, -0.5], [0, 30, -0.5], [0, 40, -0.5]]))]
    assert scores[0] < scores[1] < scores[2]


def test_one_wrong_value_in_the_sample_moves_no_other_score(anomaly_table: TrainingTable) -> None:
    wrong = anomaly_table.x.copy()
    wrong[100, 1] = 1e9
    table = replace(anomaly_table, x=wrong)
    rows = np.array([[0.0, 4.0, -0.5], [0.0, 8.0, -0.5], [0.0, 12.0, -0.5]])
    honest = answered(anomaly_detection.train(anomaly_table, seed=1), rows)
    for one, other in zip(honest, answered(anomaly_detection.train(table, seed=1), rows), strict=True):
        assert other.score == pytest.approx(one.score, abs=np.log(2) + 0.1)


def test_a_feature_with_few_values_is_not_blown_up(anomaly_table: TrainingTable) -> None:
    """A share of ten assets: all of them falling is rare, as rare as it was in the sample."""
    shares = anomaly_table.x.copy()
    shares[:, 1] = np.random.default_rng(5).binomial(10, 0.5, len(shares)) / 10
    model = anomaly_detection.train(replace(anomaly_table, x=shares), seed=1)
    (row,) = answered(model, np.array([[0.0, 1.0, -0.5]]))
    assert row.contributions is not None
    assert row.contributions[1].contribution == pytest.approx(np.log(2**10) - np.log(2), abs=1.5)


def test_a_constant_feature_does_no_harm(anomaly_table: TrainingTable) -> None:
    flat = anomaly_table.x.copy()
    flat[:, 1] = 2.0
    table = replace(anomaly_table, x=flat)
    same, other = answered(anomaly_detection.train(table, seed=1), np.array([[0.0, 2.0, -0.5], [0.0, 3.0, -0.5]]))
    assert same.contributions is not None
    assert same.contributions[1].contribution == pytest.approx(0.0, abs=1e-12)
    assert other.is_anomaly


@pytest.mark.parametrize("rate", [0.0, 0.5, -1, "0.01", float("nan")])
def test_a_wrong_rate_is_refused(detector: TrainedModel, rate: Any) -> None:
    with pytest.raises(ValidationFailed):
        answered(detector, np.zeros((1, 3)), false_alarm_rate=rate)


def test_tails_that_do_not_match_the_schema_are_refused(detector: TrainedModel) -> None:
    document = msgspec.json.decode(detector.content)
    body = msgspec.convert(document["body"], EcodBody)
    wrong = msgspec.structs.replace(body, tails=("both",))
    with pytest.raises(Exception, match="do not match"):
        load(detector.format, msgspec.json.encode({**document, "body": wrong}), detector.schema)
