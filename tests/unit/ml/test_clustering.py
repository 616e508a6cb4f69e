"""The segmentation: finds what is there, says why, and is repeatable."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from gateway.ml.runtime import load
from gateway.ml.trainers import clustering
from gateway.ml.training import TrainedModel, TrainingTable
from gateway.models.ml_models import Features, RowPrediction


def answered(model: TrainedModel, x: NDArray[np.float64]) -> tuple[RowPrediction, ...]:
    predictor = load(model.format, model.content, model.schema)
    return predictor.predict(Features(rows=tuple(map(tuple, x.tolist())), explain=True)).predictions


def test_the_same_data_and_seed_give_the_same_bytes(blob_table: TrainingTable, segments: TrainedModel) -> None:
    assert clustering.train(blob_table, order_by="f0", seed=7) == segments


def test_three_groups_are_found_and_numbered_by_the_first_feature(
    blob_table: TrainingTable, segments: TrainedModel
) -> None:
    assert segments.metrics["clusters"] == 3
    found = [row.cluster for row in answered(segments, blob_table.x)]
    assert found == blob_table.y.astype(int).tolist()
    assert segments.metrics["stability"] == 1.0
    assert segments.metrics["silhouette"] > segments.metrics["baseline_silhouette"]


def test_contributions_are_the_margin_over_the_next_nearest(blob_table: TrainingTable, segments: TrainedModel) -> None:
    profiles = np.array([list(cluster["profile"].values()) for cluster in segments.card["clusters"]])
    fit = blob_table.x[clustering.split(blob_table)[0].rows]
    for row, x in zip(answered(segments, blob_table.x[:50]), blob_table.x[:50], strict=True):
        distances = np.sort((((x - profiles) / fit.std(axis=0)) ** 2).sum(axis=1))
        assert row.contributions is not None
        margin = sum(part.contribution for part in row.contributions)
        assert margin == pytest.approx(distances[1] - distances[0], rel=1e-3)
        assert margin >= 0
        assert row.distance == pytest.approx(np.sqrt(distances[0]), rel=1e-2, abs=1e-3)


def test_clusters_have_plain_and_distinct_names(segments: TrainedModel) -> None:
    names = [cluster["name"] for cluster in segments.card["clusters"]]
    assert len(set(names)) == 3
    assert names[0].startswith(("low", "high"))
    assert sum(cluster["share"] for cluster in segments.card["clusters"]) == pytest.approx(1.0, abs=1e-3)


def test_a_name_says_what_stands_out_most() -> None:
    names = ("volatility", "mean_correlation", "beta")
    assert clustering.name_of(np.array([1.9, -0.1, 0.7]), names, {}) == "high volatility, high beta"
    assert clustering.name_of(np.array([0.1, -1.2, 0.2]), names, {}) == "low mean correlation"
    assert clustering.name_of(np.array([0.1, -0.2, 0.0]), names, {}) == "low mean correlation"
    words = {"volatility": ("calm", "wild")}
    assert clustering.name_of(np.array([-0.9, 0.0, 0.6]), names, words) == "calm, high beta"
