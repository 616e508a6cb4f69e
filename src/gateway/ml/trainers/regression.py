"""Trains a regressor: fit, conformal scores on later days, metrics on days later still."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gateway.ml import formats
from gateway.ml.conformal import quantile
from gateway.ml.families.regression import RegressorBody
from gateway.ml.lightgbm_native import NativeBooster
from gateway.ml.metrics import mae, rmse, rounded
from gateway.ml.trainers.boosting import fit_trees
from gateway.ml.training import (
    Part,
    TrainedModel,
    TrainingTable,
    fitted_schema,
    libraries,
    split_in_time,
    table_hash,
)
from gateway.models.ml_models import Prediction

#: Fit, conformal, test.
SPLIT = (0.6, 0.2, 0.2)
COVERAGE = 0.9


def split(table: TrainingTable) -> tuple[Part, ...]:
    """Fit, conformal, test."""
    return split_in_time(table, SPLIT)


def train(
    table: TrainingTable,
    *,
    scale: Literal["plain", "log"],
    baselines: Mapping[str, NDArray[np.float64]],
    seed: int,
) -> TrainedModel:
    """``table.y`` is the target as modelled (already a logarithm where ``scale`` is log).

    ``baselines``: simple predictions of it for every row, shape (rows,), measured beside the model.
    """
    fit, conformal, test = split(table)
    trees, rounds = fit_trees(
        table.x[fit.rows],
        table.y[fit.rows],
        table.day[fit.rows],
        embargo=table.embargo,
        seed=seed,
        objective={"objective": "regression", "metric": "l2"},
    )
    booster = NativeBooster(trees, len(table.specs))
    residuals = np.abs(table.y[conformal.rows] - booster.raw_scores(table.x[conformal.rows])[:, 0])
    scores = np.sort(residuals)
    body = RegressorBody(
        trees=trees, scale=scale, coverage=COVERAGE, scores=formats.to_bytes(scores), score_count=len(scores)
    )
    values = booster.raw_scores(table.x[test.rows])[:, 0]
    margin = quantile(scores, COVERAGE)
    truth = table.y[test.rows]
    metrics = {
        **score(values, values - margin, values + margin, truth),
        **{f"{name}_rmse": rmse(values[test.rows] - truth) for name, values in baselines.items()},
        **{f"{name}_mae": mae(values[test.rows] - truth) for name, values in baselines.items()},
        "mean_rmse": rmse(truth - table.y[fit.rows].mean()),
    }
    importance = np.abs(booster.contributions(table.x[test.rows])[:, 0, :-1]).mean(axis=0)
    order = np.argsort(-importance, kind="stable")
    card: dict[str, Any] = {
        **table.about,
        "method": (
            f"LightGBM, {rounds} rounds chosen by walk-forward validation"
            f"{', on the logarithm of the target' if scale == 'log' else ''}; "
            "interval by split conformal prediction on later days"
        ),
        "splits": {
            "fit": fit.described(),
            "conformal": conformal.described(),
            "test": test.described(),
            "embargo_days": table.embargo,
        },
        "metrics_scale": scale,
        "importance": {table.names[number]: round(float(importance[number]), 6) for number in order},
        "contributions": f"exact path-dependent Shapley values of the {scale} target",
    }
    return TrainedModel(
        family="regression",
        format=formats.LIGHTGBM_REGRESSOR,
        content=formats.pack(formats.LIGHTGBM_REGRESSOR, body),
        schema=fitted_schema(table.specs, table.x[fit.rows]),
        metrics=rounded(metrics),
        card=card,
        data_hash=table_hash(table),
        seed=seed,
        libraries=libraries("lightgbm", "numpy"),
    )


def score(
    values: NDArray[np.float64], lower: NDArray[np.float64], upper: NDArray[np.float64], truth: NDArray[np.float64]
) -> dict[str, float]:
    """Out-of-sample metrics on the modelled scale; each array has shape (rows,)."""
    spread = float(((truth - truth.mean()) ** 2).sum())
    return rounded(
        {
            "rmse": rmse(values - truth),
            "mae": mae(values - truth),
            "r2": 1.0 - float(((truth - values) ** 2).sum()) / spread if spread > 0 else 0.0,
            "coverage": float(((truth >= lower) & (truth <= upper)).mean()),
            "coverage_target": COVERAGE,
            "mean_width": float((upper - lower).mean()),
            "test_rows": float(len(truth)),
        }
    )


def evaluate(prediction: Prediction, scale: Literal["plain", "log"], truth: NDArray[np.float64]) -> dict[str, float]:
    """The same metrics from any predictor's answers; ``truth`` as modelled."""
    answers = np.array([[row.value, row.lower, row.upper] for row in prediction.predictions], dtype=np.float64)
    modelled = np.log(answers) if scale == "log" else answers
    return score(modelled[:, 0], modelled[:, 1], modelled[:, 2], truth)
