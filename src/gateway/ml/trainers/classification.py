"""Trains a classifier: fit, calibrate on later days, conformal scores on days later still, then measure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from gateway.ml import formats
from gateway.ml.conformal import prediction_sets, quantile
from gateway.ml.families.classification import ClassifierBody, calibrated
from gateway.ml.lightgbm_native import NativeBooster
from gateway.ml.metrics import brier, calibration_error, log_loss, macro_recall, rounded
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

#: Fit, calibrate, conformal, test.
SPLIT = (0.55, 0.15, 0.15, 0.15)
COVERAGE = 0.9
#: How strongly the class biases of the calibration are held near 0.
_BIAS_PENALTY = 0.1


def split(table: TrainingTable) -> tuple[Part, ...]:
    """Fit, calibrate, conformal, test: the last is never seen before the metrics."""
    return split_in_time(table, SPLIT)


def train(
    table: TrainingTable,
    classes: tuple[str, ...],
    *,
    seed: int,
    baselines: Mapping[str, NDArray[np.float64]] | None = None,
) -> TrainedModel:
    """``table.y`` holds the class numbers. ``baselines``: the probabilities that simple methods give
    every row, shape (rows, classes), measured beside the model.

    Raises ``ValidationFailed`` for too little data.
    """
    fit, calibrate, conformal, test = split(table)
    objective = {"objective": "multiclass", "num_class": len(classes), "metric": "multi_logloss"}
    trees, rounds = fit_trees(
        table.x[fit.rows],
        table.y[fit.rows],
        table.day[fit.rows],
        embargo=table.embargo,
        seed=seed,
        objective=objective,
    )
    booster = NativeBooster(trees, len(table.specs))
    labels = table.y.astype(np.intp)
    temperature, bias = fit_calibration(booster.raw_scores(table.x[calibrate.rows]), labels[calibrate.rows])

    def probabilities(part: Part) -> NDArray[np.float64]:
        return calibrated(booster.raw_scores(table.x[part.rows]), temperature, bias)

    held = probabilities(conformal)
    scores = np.sort(1.0 - held[np.arange(len(held)), labels[conformal.rows]])
    prior = np.bincount(labels[fit.rows], minlength=len(classes)) / len(fit.rows)
    body = ClassifierBody(
        trees=trees,
        classes=classes,
        temperature=temperature,
        bias=tuple(bias.tolist()),
        coverage=COVERAGE,
        scores=formats.to_bytes(scores),
        score_count=len(scores),
    )
    shares = probabilities(test)
    sets = prediction_sets(shares, quantile(scores, COVERAGE))
    simple = {
        f"{name}_log_loss": log_loss(given[test.rows], labels[test.rows]) for name, given in (baselines or {}).items()
    }
    metrics = {**score(shares, sets, labels[test.rows], prior), **rounded(simple)}
    importance = np.abs(booster.contributions(table.x[test.rows])[:, :, :-1]).mean(axis=(0, 1))
    card: dict[str, Any] = {
        **table.about,
        "method": (
            f"LightGBM, {rounds} rounds chosen by walk-forward validation; probabilities calibrated by temperature "
            "and class bias on later days; prediction sets by split conformal prediction on days later still"
        ),
        "classes": list(classes),
        "splits": {
            "fit": fit.described(),
            "calibrate": calibrate.described(),
            "conformal": conformal.described(),
            "test": test.described(),
            "embargo_days": table.embargo,
        },
        "class_shares": {
            "fit": _shares(labels[fit.rows], classes),
            "test": _shares(labels[test.rows], classes),
        },
        "importance": _ranked(table.names, importance),
        "contributions": "exact path-dependent Shapley values of the raw score (log-odds before calibration)",
    }
    return TrainedModel(
        family="classification",
        format=formats.LIGHTGBM_CLASSIFIER,
        content=formats.pack(formats.LIGHTGBM_CLASSIFIER, body),
        schema=fitted_schema(table.specs, table.x[fit.rows]),
        metrics=metrics,
        card=card,
        data_hash=table_hash(table),
        seed=seed,
        libraries=libraries("lightgbm", "numpy", "scipy"),
    )


def fit_calibration(raw: NDArray[np.float64], labels: NDArray[np.intp]) -> tuple[float, NDArray[np.float64]]:
    """Temperature and class biases with the least penalised log-loss. The biases sum to 0."""
    classes = raw.shape[1]

    def unpacked(free: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        return float(np.exp(free[0])), np.append(free[1:], -free[1:].sum())

    def loss(free: NDArray[np.float64]) -> float:
        temperature, bias = unpacked(free)
        return log_loss(calibrated(raw, temperature, bias), labels) + _BIAS_PENALTY * float((bias**2).sum())

    found = minimize(loss, np.zeros(classes), method="L-BFGS-B", bounds=[(-2.0, 2.0)] * classes)
    return unpacked(np.asarray(found.x))


def score(
    shares: NDArray[np.float64],
    sets: NDArray[np.bool_],
    labels: NDArray[np.intp],
    prior: NDArray[np.float64],
) -> dict[str, float]:
    """Out-of-sample metrics, beside those of always answering the class shares of the fit."""
    flat = np.tile(prior, (len(labels), 1))
    return rounded(
        {
            "log_loss": log_loss(shares, labels),
            "baseline_log_loss": log_loss(flat, labels),
            "brier": brier(shares, labels),
            "baseline_brier": brier(flat, labels),
            "accuracy": float((shares.argmax(axis=1) == labels).mean()),
            "baseline_accuracy": float((labels == prior.argmax()).mean()),
            "balanced_accuracy": macro_recall(shares.argmax(axis=1), labels),
            "calibration_error": calibration_error(shares, labels),
            "coverage": float(sets[np.arange(len(labels)), labels].mean()),
            "coverage_target": COVERAGE,
            "mean_set_size": float(sets.sum(axis=1).mean()),
            "test_rows": float(len(labels)),
        }
    )


def evaluate(prediction: Prediction, classes: tuple[str, ...], labels: NDArray[np.intp]) -> dict[str, float]:
    """The same metrics from any predictor's answers (baseline: equal shares)."""
    shares = np.array(
        [[(row.probabilities or {}).get(name, 0.0) for name in classes] for row in prediction.predictions]
    )
    sets = np.array([[name in (row.prediction_set or ()) for name in classes] for row in prediction.predictions])
    return score(shares, sets, labels, np.full(len(classes), 1.0 / len(classes)))


def _shares(labels: NDArray[np.intp], classes: tuple[str, ...]) -> dict[str, float]:
    counts = np.bincount(labels, minlength=len(classes)) / len(labels)
    return {name: round(float(share), 4) for name, share in zip(classes, counts, strict=True)}


def _ranked(names: tuple[str, ...], importance: NDArray[np.float64]) -> dict[str, float]:
    order = np.argsort(-importance, kind="stable")
    return {names[number]: round(float(importance[number]), 6) for number in order}
