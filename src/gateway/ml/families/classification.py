"""Classification: LightGBM scores, calibrated probabilities, conformal prediction sets, Shapley reasons."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from gateway.errors import ArtifactCorrupt
from gateway.ml import formats
from gateway.ml.answers import Ranges, explained, matrix, only_parameters, parameter
from gateway.ml.conformal import prediction_sets, quantile
from gateway.ml.lightgbm_native import NativeBooster
from gateway.models.ml_models import Features, ModelSchema, Prediction, RowPrediction


class ClassifierBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``scores``: ascending ``1 - p(true class)`` on the conformal fold, little-endian float64.

    Probabilities are ``softmax(raw / temperature + bias)``.
    """

    trees: str
    classes: tuple[str, ...]
    temperature: float
    bias: tuple[float, ...]
    coverage: float
    scores: bytes
    score_count: int


class Classifier:
    """A loaded classifier. Parameter ``coverage`` (0.5 to 0.99) sets that of the prediction set."""

    def __init__(self, body: ClassifierBody, schema: ModelSchema) -> None:
        self._names = tuple(spec.name for spec in schema.features)
        self._booster = NativeBooster(body.trees, len(self._names))
        self._body = body
        self._ranges = Ranges(schema)
        self._bias = np.asarray(body.bias, dtype=np.float64)
        self._scores = formats.from_bytes(body.scores, body.score_count)
        if not len(body.classes) == len(body.bias) == self._booster.outputs:
            raise ArtifactCorrupt("the classes of the artifact do not match its trees")
        if not body.temperature > 0:
            raise ArtifactCorrupt("the temperature of the artifact is not positive")

    def predict(self, features: Features) -> Prediction:
        """Label, probabilities and prediction set a row; contributions are those to the raw score of
        the label that was chosen (log-odds, before calibration)."""
        only_parameters(features, "coverage")
        coverage = parameter(features, "coverage", self._body.coverage, 0.5, 0.99)
        rows = matrix(features, len(self._names))
        probabilities = calibrated(self._booster.raw_scores(rows), self._body.temperature, self._bias)
        inside = prediction_sets(probabilities, quantile(self._scores, coverage))
        chosen = probabilities.argmax(axis=1)
        parts = self._booster.contributions(rows) if features.explain else None
        classes = self._body.classes
        outside = self._ranges.outside(rows)
        answers = []
        for number, (row, label) in enumerate(zip(features.rows, chosen.tolist(), strict=True)):
            part = None if parts is None else parts[number, label]
            answers.append(
                RowPrediction(
                    label=classes[label],
                    probabilities=dict(zip(classes, probabilities[number].tolist(), strict=True)),
                    prediction_set=tuple(name for name, in_set in zip(classes, inside[number], strict=True) if in_set),
                    coverage=coverage,
                    contributions=None if part is None else explained(self._names, row, part[:-1]),
                    base_value=None if part is None else float(part[-1]),
                    out_of_range=outside[number],
                )
            )
        return Prediction(predictions=tuple(answers))


def calibrated(raw: NDArray[np.float64], temperature: float, bias: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shape (n, classes): each row sums to 1."""
    scaled = raw / temperature + bias
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares


def load(content: bytes, schema: ModelSchema) -> Classifier:
    """The classifier in an artifact. ``ArtifactCorrupt`` where it is none."""
    return Classifier(formats.unpack(content, formats.LIGHTGBM_CLASSIFIER, ClassifierBody), schema)
