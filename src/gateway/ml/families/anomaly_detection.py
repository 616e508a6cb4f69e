"""Anomaly detection: ECOD (empirical-cumulative-distribution outlier detection), own implementation.

A row's score is the sum over the features of ``-ln(tail probability)``, with the distribution of
the training days: a row is scored alike alone or among thousands, and each feature's term is its
exact contribution. Which tail counts is fixed for each feature at training. Beyond the outermost
part of the training sample the tail is continued by a generalised Pareto law, so that the worst
days are still told apart: with the shape 1/3 of stock returns' cubic law (Gopikrishnan et al.,
1998) and a scale from the median excess, which no single wrong price can move. (Z. Li et al.,
"ECOD: Unsupervised Outlier Detection Using Empirical Cumulative Distribution Functions", 2022; the
tail choice a feature and the continuation are ours.)
"""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from gateway.errors import ArtifactCorrupt
from gateway.ml import formats
from gateway.ml.answers import Ranges, explained, matrix, only_parameters, parameter
from gateway.models.ml_models import Features, ModelSchema, Prediction, RowPrediction

Tail = Literal["left", "right", "both"]

#: Shape of the continued tail: P(X > x) falls with the third power of x.
_SHAPE = 1 / 3
_LEAST_SCALE = 1e-12


class EcodBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``sample``: each feature's training values, ascending, feature after feature (features x size).
    ``held_out``: ascending scores of days not used for the sample; their quantiles are thresholds.
    ``tail_share``: the outer share of the sample beyond which the tail is continued.
    """

    tails: tuple[Tail, ...]
    sample: bytes
    sample_size: int
    tail_share: float
    held_out: bytes
    held_out_size: int
    false_alarm_rate: float


class Ecod:
    """A loaded detector. Parameter ``false_alarm_rate`` (0.0005 to 0.2) sets the threshold: the share
    of held-out days that it would have flagged."""

    def __init__(self, body: EcodBody, schema: ModelSchema) -> None:
        self._names = tuple(spec.name for spec in schema.features)
        if len(body.tails) != len(self._names) or not 0 < body.tail_share < 0.5:
            raise ArtifactCorrupt("the tails of the artifact do not match its schema")
        sample = formats.from_bytes(body.sample, len(self._names), body.sample_size)
        self._right = [_RightTail(values, body.tail_share) for values in sample]
        self._left = [_RightTail(-values[::-1], body.tail_share) for values in sample]
        self._held_out = formats.from_bytes(body.held_out, body.held_out_size)
        self._body = body
        self._ranges = Ranges(schema)

    def parts(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Shape (n, features): each feature's share of the score."""
        parts = np.empty_like(rows)
        for column, tail in enumerate(self._body.tails):
            values = rows[:, column]
            right = self._right[column].surprise(values) if tail != "left" else None
            left = self._left[column].surprise(-values) if tail != "right" else None
            if right is None or left is None:
                parts[:, column] = left if right is None else right
            else:  # the nearer tail, its probability doubled: either side is as surprising
                parts[:, column] = np.maximum(np.maximum(left, right) - np.log(2.0), 0.0)
        return parts

    def threshold(self, false_alarm_rate: float) -> float:
        """The score that this share of the held-out days exceeded."""
        return float(np.quantile(self._held_out, 1.0 - false_alarm_rate, method="higher"))

    def predict(self, features: Features) -> Prediction:
        """Score, threshold and verdict a row; contributions sum to the score."""
        only_parameters(features, "false_alarm_rate")
        rate = parameter(features, "false_alarm_rate", self._body.false_alarm_rate, 0.0005, 0.2)
        threshold = self.threshold(rate)
        rows = matrix(features, len(self._names))
        parts, outside = self.parts(rows), self._ranges.outside(rows)
        # Summed column after column: a row's score does not depend on how many rows came with it.
        scores = sum_columns(parts).tolist()
        return Prediction(
            predictions=tuple(
                RowPrediction(
                    score=score,
                    threshold=threshold,
                    is_anomaly=score > threshold,
                    contributions=explained(self._names, row, parts[number]) if features.explain else None,
                    base_value=0.0 if features.explain else None,
                    out_of_range=outside[number],
                )
                for number, (row, score) in enumerate(zip(features.rows, scores, strict=True))
            )
        )


class _RightTail:
    """``-ln P(X >= x)`` for one feature: the empirical distribution, continued by a Pareto law."""

    def __init__(self, ascending: NDArray[np.float64], tail_share: float) -> None:
        self._values = ascending
        self._size = len(ascending)
        outer = max(int(self._size * tail_share), 1)
        self._edge = float(ascending[self._size - outer])
        excess = ascending[self._size - outer :] - self._edge
        # The median of that law is scale * (2 ** shape - 1) / shape. Ties with the edge (features that
        # are shares of few assets) say nothing of its scale.
        beyond = excess[excess > 0]
        middle = float(np.median(beyond)) if len(beyond) else 0.0
        self._scale = max(middle * _SHAPE / (2**_SHAPE - 1), _LEAST_SCALE)
        at_least = self._size - int(np.searchsorted(ascending, self._edge, side="left"))
        self._at_edge = -float(np.log((at_least + 1) / (self._size + 1)))

    def surprise(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Shape of ``values``, in nats, never negative."""
        at_least = self._size - np.searchsorted(self._values, values, side="left")
        inside = -np.log((at_least + 1) / (self._size + 1))
        excess = np.maximum(values - self._edge, 0.0)
        beyond = self._at_edge + np.log1p(_SHAPE * excess / self._scale) / _SHAPE
        # Never less than the sample itself says: a feature of few values has no smooth tail.
        return np.where(values > self._edge, np.maximum(beyond, inside), inside)


def sum_columns(parts: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum over axis 1 in a fixed order, whatever the number of rows."""
    total = np.zeros(len(parts))
    for column in range(parts.shape[1]):
        total += parts[:, column]
    return total


def load(content: bytes, schema: ModelSchema) -> Ecod:
    """The detector in an artifact. ``ArtifactCorrupt`` where it is none."""
    return Ecod(formats.unpack(content, formats.ECOD, EcodBody), schema)
