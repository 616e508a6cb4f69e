"""Clustering: the nearest of some named centroids, after standardising each feature."""

from __future__ import annotations

import msgspec
import numpy as np

from gateway.errors import ArtifactCorrupt
from gateway.ml import formats
from gateway.ml.answers import Ranges, explained, matrix, only_parameters
from gateway.models.ml_models import Features, ModelSchema, Prediction, RowPrediction


class CentroidsBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``centroids``: shape (clusters, features), in standardised units; ``names``: one a cluster."""

    names: tuple[str, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    centroids: bytes


class Centroids:
    """A loaded clustering model. It takes no parameters."""

    def __init__(self, body: CentroidsBody, schema: ModelSchema) -> None:
        self._names = tuple(spec.name for spec in schema.features)
        if not len(body.means) == len(body.scales) == len(self._names) or len(body.names) < 2:
            raise ArtifactCorrupt("the scaler of the artifact does not match its schema")
        self._means = np.asarray(body.means)
        self._scales = np.asarray(body.scales)
        if not (self._scales > 0).all():
            raise ArtifactCorrupt("a scale of the artifact is not positive")
        self._centroids = formats.from_bytes(body.centroids, len(body.names), len(self._names))
        self._clusters = body.names
        self._ranges = Ranges(schema)

    def predict(self, features: Features) -> Prediction:
        """Cluster, its name and the distance to its centroid a row. Contributions say why this cluster
        and not the next nearest: by how much each feature makes the squared distance to that one the
        larger. They sum to the difference of the two squared distances."""
        only_parameters(features)
        rows = matrix(features, len(self._names))
        outside = self._ranges.outside(rows)
        scaled = (rows - self._means) / self._scales
        squares = (scaled[:, None, :] - self._centroids[None, :, :]) ** 2
        distances = squares.sum(axis=2)
        order = np.argsort(distances, axis=1, kind="stable")
        answers = []
        for number, row in enumerate(features.rows):
            first, second = int(order[number, 0]), int(order[number, 1])
            answers.append(
                RowPrediction(
                    cluster=first,
                    label=self._clusters[first],
                    distance=float(np.sqrt(distances[number, first])),
                    contributions=explained(self._names, row, squares[number, second] - squares[number, first])
                    if features.explain
                    else None,
                    base_value=0.0 if features.explain else None,
                    out_of_range=outside[number],
                )
            )
        return Prediction(predictions=tuple(answers))


def load(content: bytes, schema: ModelSchema) -> Centroids:
    """The clustering model in an artifact. ``ArtifactCorrupt`` where it is none."""
    return Centroids(formats.unpack(content, formats.CENTROIDS, CentroidsBody), schema)
