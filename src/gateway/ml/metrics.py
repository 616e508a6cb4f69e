"""How good answers are: proper scores, errors and coverage, as plain floats rounded for reading."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LEAST_PROBABILITY = 1e-12


def log_loss(probabilities: NDArray[np.float64], labels: NDArray[np.intp]) -> float:
    """Mean ``-ln p(true class)``, in nats."""
    chosen = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(chosen, _LEAST_PROBABILITY)).mean())


def brier(probabilities: NDArray[np.float64], labels: NDArray[np.intp]) -> float:
    """Mean squared distance between the probabilities and the outcome, summed over the classes."""
    outcome = np.eye(probabilities.shape[1])[labels]
    return float(((probabilities - outcome) ** 2).sum(axis=1).mean())


def calibration_error(probabilities: NDArray[np.float64], labels: NDArray[np.intp], bins: int = 10) -> float:
    """Expected calibration error of the likeliest class: mean |confidence - accuracy| over bins of
    confidence, weighted by their size."""
    confidence = probabilities.max(axis=1)
    right = (probabilities.argmax(axis=1) == labels).astype(float)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(confidence[place == number].mean() - right[place == number].mean()) * (place == number).mean()
        for number in range(bins)
        if (place == number).any()
    ]
    return float(sum(gaps))


def macro_recall(predicted: NDArray[np.intp], labels: NDArray[np.intp]) -> float:
    """Balanced accuracy: the mean recall over the classes that occur."""
    return float(np.mean([(predicted[labels == label] == label).mean() for label in np.unique(labels)]))


def rmse(errors: NDArray[np.float64]) -> float:
    return float(np.sqrt((errors**2).mean()))


def mae(errors: NDArray[np.float64]) -> float:
    return float(np.abs(errors).mean())


def rounded(metrics: dict[str, float]) -> dict[str, float]:
    """Six decimals: enough to compare, short enough to read."""
    return {name: round(float(value), 6) for name, value in metrics.items()}
