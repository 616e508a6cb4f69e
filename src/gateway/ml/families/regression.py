"""Regression: LightGBM on a log or plain target, a split-conformal interval, Shapley reasons."""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np

from gateway.errors import ArtifactCorrupt
from gateway.ml import formats
from gateway.ml.answers import Ranges, explained, matrix, only_parameters, parameter
from gateway.ml.conformal import quantile
from gateway.ml.lightgbm_native import NativeBooster
from gateway.models.ml_models import Features, ModelSchema, Prediction, RowPrediction


class RegressorBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``scores``: ascending absolute residuals of the raw (modelled) target on the conformal fold.

    With ``scale`` log the trees model the logarithm and the answer is its exponential.
    """

    trees: str
    scale: Literal["plain", "log"]
    coverage: float
    scores: bytes
    score_count: int


class Regressor:
    """A loaded regressor. Parameter ``coverage`` (0.5 to 0.99) sets that of the interval."""

    def __init__(self, body: RegressorBody, schema: ModelSchema) -> None:
        self._names = tuple(spec.name for spec in schema.features)
        self._booster = NativeBooster(body.trees, len(self._names))
        self._body = body
        self._ranges = Ranges(schema)
        self._scores = formats.from_bytes(body.scores, body.score_count)
        if self._booster.outputs != 1:
            raise ArtifactCorrupt("the trees of the artifact have more than one output")

    def predict(self, features: Features) -> Prediction:
        """Value and interval a row; contributions are in the unit of the modelled target (its
        logarithm where ``scale`` is log)."""
        only_parameters(features, "coverage")
        coverage = parameter(features, "coverage", self._body.coverage, 0.5, 0.99)
        rows = matrix(features, len(self._names))
        raw = self._booster.raw_scores(rows)[:, 0]
        margin = quantile(self._scores, coverage)
        if not np.isfinite(margin):
            margin = float(self._scores[-1])
        ends = np.stack([raw, raw - margin, raw + margin])
        value, lower, upper = (np.exp(ends) if self._body.scale == "log" else ends).tolist()
        parts = self._booster.contributions(rows)[:, 0, :] if features.explain else None
        outside = self._ranges.outside(rows)
        return Prediction(
            predictions=tuple(
                RowPrediction(
                    value=value[number],
                    lower=lower[number],
                    upper=upper[number],
                    coverage=coverage,
                    contributions=None if parts is None else explained(self._names, row, parts[number, :-1]),
                    base_value=None if parts is None else float(parts[number, -1]),
                    out_of_range=outside[number],
                )
                for number, row in enumerate(features.rows)
            )
        )


def load(content: bytes, schema: ModelSchema) -> Regressor:
    """The regressor in an artifact. ``ArtifactCorrupt`` where it is none."""
    return Regressor(formats.unpack(content, formats.LIGHTGBM_REGRESSOR, RegressorBody), schema)
