"""Synthetic training tables and models trained on them once a session."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from gateway.ml.trainers import anomaly_detection, classification, clustering, regression
from gateway.ml.training import TrainedModel, TrainingTable
from gateway.models.ml_models import FeatureSpec

CLASSES = ("low", "medium", "high")


def make_table(x: NDArray[np.float64], y: NDArray[np.float64], embargo: int = 5) -> TrainingTable:
    day = np.arange(len(x))
    return TrainingTable(
        specs=tuple(FeatureSpec(f"f{number}") for number in range(x.shape[1])),
        x=x,
        y=y,
        day=day,
        dates=np.datetime64("2000-01-01") + day,
        about={"trained_on": "synthetic"},
        embargo=embargo,
    )


def class_rows(count: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Independent rows of 5 features whose class depends on the first three."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(count, 5))
    scores = np.stack([x[:, 0], 0.3 * x[:, 1], x[:, 2] - x[:, 0]], axis=1)
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return x, (random.random(count)[:, None] > shares.cumsum(axis=1)).sum(axis=1).astype(np.float64)


def target_rows(count: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Independent rows of 4 features; the target is a log with noise 0.3."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(count, 4))
    return x, np.sin(x[:, 0]) + 0.5 * x[:, 1] * (x[:, 2] > 0) + random.normal(0, 0.3, count)


@pytest.fixture(scope="session")
def class_table() -> TrainingTable:
    return make_table(*class_rows(6_000, 1))


@pytest.fixture(scope="session")
def classifier(class_table: TrainingTable) -> TrainedModel:
    return classification.train(class_table, CLASSES, seed=7)


@pytest.fixture(scope="session")
def target_table() -> TrainingTable:
    return make_table(*target_rows(5_000, 2))


@pytest.fixture(scope="session")
def regressor(target_table: TrainingTable) -> TrainedModel:
    return regression.train(target_table, scale="log", baselines={"zero": np.zeros(len(target_table.y))}, seed=7)


@pytest.fixture(scope="session")
def anomaly_table() -> TrainingTable:
    random = np.random.default_rng(3)
    x = np.column_stack([random.normal(size=4_000), random.exponential(size=4_000), -random.exponential(size=4_000)])
    return make_table(x, np.zeros(4_000))


@pytest.fixture(scope="session")
def detector(anomaly_table: TrainingTable) -> TrainedModel:
    return anomaly_detection.train(anomaly_table, seed=7)


@pytest.fixture(scope="session")
def blob_table() -> TrainingTable:
    """Three well separated groups in three features of very different scale, shuffled in time."""
    random = np.random.default_rng(4)
    middles = np.array([[0.1, 50.0, -3.0], [0.3, 10.0, 0.0], [0.6, 30.0, 4.0]])
    member = random.integers(0, 3, 300)
    x = middles[member] + random.normal(size=(300, 3)) * np.array([0.02, 2.0, 0.3])
    return make_table(x, member.astype(np.float64), embargo=0)


@pytest.fixture(scope="session")
def segments(blob_table: TrainingTable) -> TrainedModel:
    return clustering.train(blob_table, order_by="f0", seed=7)
