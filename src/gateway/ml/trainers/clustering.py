"""Trains the segmentation: k-means on standardised features, k by silhouette, clusters named by profile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, silhouette_score
from threadpoolctl import threadpool_limits

from gateway.ml import formats
from gateway.ml.families.clustering import Centroids, CentroidsBody
from gateway.ml.metrics import rounded
from gateway.ml.training import (
    Part,
    TrainedModel,
    TrainingTable,
    fitted_schema,
    libraries,
    split_in_time,
    table_hash,
)
from gateway.models.ml_models import Features, Prediction

#: Fit, test.
SPLIT = (0.8, 0.2)
CLUSTERS = (2, 3, 4, 5, 6)
#: Fewer members than this share and a cluster is an outlier, not a segment.
_LEAST_SHARE = 0.05
#: Standard deviations from the mean of all at which a feature belongs in a cluster's name.
_TELLING = 0.5


def split(table: TrainingTable) -> tuple[Part, ...]:
    """Fit, test."""
    return split_in_time(table, SPLIT, least_rows=10)


def train(
    table: TrainingTable, *, order_by: str, seed: int, words: Mapping[str, tuple[str, str]] | None = None
) -> TrainedModel:
    """Clusters are numbered by the mean of the feature ``order_by``, lowest first. ``words``: what a
    low and a high value of a feature is called in a cluster's name."""
    fit, test = split(table)
    fitted = table.x[fit.rows]
    means, scales = fitted.mean(axis=0), fitted.std(axis=0)
    scales = np.where(scales > 0, scales, 1.0)
    scaled = (fitted - means) / scales
    silhouettes: dict[int, float] = {}
    found: dict[int, NDArray[np.float64]] = {}
    with threadpool_limits(1):  # one thread adds in one order: the same bytes every time
        for clusters in CLUSTERS:
            if clusters >= len(scaled):
                break
            kmeans = KMeans(clusters, n_init=20, random_state=seed).fit(scaled)
            if np.bincount(kmeans.labels_).min() < _LEAST_SHARE * len(scaled):
                continue
            silhouettes[clusters] = float(silhouette_score(scaled, kmeans.labels_))
            found[clusters] = np.asarray(kmeans.cluster_centers_, dtype=np.float64)
    best = max(silhouettes, key=lambda clusters: (silhouettes[clusters], -clusters))
    centroids = found[best]
    centroids = centroids[np.argsort(centroids[:, table.names.index(order_by)], kind="stable")]
    names = _distinct([name_of(centroid, table.names, words or {}) for centroid in centroids])
    body = CentroidsBody(
        names=tuple(names),
        means=tuple(means.tolist()),
        scales=tuple(scales.tolist()),
        centroids=formats.to_bytes(centroids),
    )
    schema = fitted_schema(table.specs, fitted)
    model = Centroids(body, schema)
    members = _assigned(model, fitted)
    metrics = {**score(_assigned(model, table.x[test.rows]), table.x[test.rows], means, scales)}
    metrics |= {
        "fit_silhouette": silhouettes[best],
        "clusters": float(best),
        "stability": _stability(model, scaled, fitted, best, seed),
    }
    card: dict[str, Any] = {
        **table.about,
        "method": f"k-means on standardised features; {best} clusters, the number with the best silhouette of the fit",
        "silhouette_by_clusters": {str(clusters): round(value, 4) for clusters, value in silhouettes.items()},
        "clusters": [
            {
                "cluster": number,
                "name": names[number],
                "share": round(float((members == number).mean()), 4),
                "profile": {
                    name: round(float(value), 6)
                    for name, value in zip(table.names, centroids[number] * scales + means, strict=True)
                },
            }
            for number in range(best)
        ],
        "splits": {"fit": fit.described(), "test": test.described(), "embargo_days": table.embargo},
        "contributions": "by how much each feature makes the next nearest centroid the farther (squared distance)",
    }
    return TrainedModel(
        family="clustering",
        format=formats.CENTROIDS,
        content=formats.pack(formats.CENTROIDS, body),
        schema=schema,
        metrics=rounded(metrics),
        card=card,
        data_hash=table_hash(table),
        seed=seed,
        libraries=libraries("numpy", "scikit-learn"),
    )


def score(
    members: NDArray[np.intp], x: NDArray[np.float64], means: NDArray[np.float64], scales: NDArray[np.float64]
) -> dict[str, float]:
    """Out-of-sample figures. ``baseline_silhouette`` is that of the best split on one feature alone
    at its median, measured in the same space."""
    scaled = (x - means) / scales
    halves = [(scaled[:, column] > np.median(scaled[:, column])).astype(int) for column in range(x.shape[1])]
    return rounded(
        {
            "silhouette": _silhouette(scaled, members),
            "baseline_silhouette": max(_silhouette(scaled, half) for half in halves),
            "clusters_used": float(len(np.unique(members))),
            "test_rows": float(len(x)),
        }
    )


def evaluate(prediction: Prediction, x: NDArray[np.float64]) -> dict[str, float]:
    """The same figures from any predictor's answers, standardised by the rows themselves."""
    members = np.array([row.cluster for row in prediction.predictions], dtype=np.intp)
    scales = x.std(axis=0)
    return score(members, x, x.mean(axis=0), np.where(scales > 0, scales, 1.0))


def name_of(centroid: NDArray[np.float64], names: tuple[str, ...], words: Mapping[str, tuple[str, str]]) -> str:
    """A plain name from what stands out most: ``high volatility, low beta``."""
    order = np.argsort(-np.abs(centroid), kind="stable")
    telling = [number for number in order[:2] if abs(centroid[number]) >= _TELLING] or [int(order[0])]
    said = []
    for number in telling:
        plain = names[number].replace("_", " ")
        low, high = words.get(names[number], (f"low {plain}", f"high {plain}"))
        said.append(high if centroid[number] > 0 else low)
    return ", ".join(said)


def _distinct(names: list[str]) -> list[str]:
    return [name if names.count(name) == 1 else f"{name} ({number + 1})" for number, name in enumerate(names)]


def _assigned(model: Centroids, x: NDArray[np.float64]) -> NDArray[np.intp]:
    answer = model.predict(Features(rows=tuple(map(tuple, x.tolist()))))
    return np.array([row.cluster for row in answer.predictions], dtype=np.intp)


def _silhouette(scaled: NDArray[np.float64], members: NDArray[np.intp]) -> float:
    kinds = len(np.unique(members))
    if not 2 <= kinds < len(scaled):
        return -1.0
    with threadpool_limits(1):
        return float(silhouette_score(scaled, members))


def _stability(
    model: Centroids, scaled: NDArray[np.float64], x: NDArray[np.float64], clusters: int, seed: int
) -> float:
    """Adjusted Rand index between this clustering and one of the later half of the rows alone."""
    later = np.arange(len(scaled)) >= len(scaled) // 2
    with threadpool_limits(1):
        again = KMeans(clusters, n_init=20, random_state=seed + 1).fit(scaled[later])
    return float(adjusted_rand_score(_assigned(model, x[later]), again.labels_))
