"""Loads registered model versions and keeps the recently used ones ready."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from threading import Lock
from types import MappingProxyType

from gateway.errors import ArtifactCorrupt, NotSupported
from gateway.ml import formats
from gateway.ml.families import anomaly_detection, classification, clustering, regression, time_series
from gateway.models.artifacts import ArtifactStore
from gateway.models.ml_models import ModelSchema, ModelVersion, Predictor

#: The one way from stored bytes to something that predicts: a format that is not here is not loaded.
LOADERS: Mapping[str, Callable[[bytes, ModelSchema], Predictor]] = MappingProxyType(
    {
        formats.LIGHTGBM_CLASSIFIER: classification.load,
        formats.LIGHTGBM_REGRESSOR: regression.load,
        formats.ECOD: anomaly_detection.load,
        formats.EXPONENTIAL_SMOOTHING: time_series.load,
        formats.CENTROIDS: clustering.load,
    }
)


def load(format_name: str, content: bytes, schema: ModelSchema) -> Predictor:
    """The model in these bytes. ``NotSupported`` for a format outside the list, ``ArtifactCorrupt``
    for bytes that are no such model."""
    loader = LOADERS.get(format_name)
    if loader is None:
        raise NotSupported(
            f"the model format {format_name[:80]!r} is not one this gateway loads",
            mend=f"formats it loads: {', '.join(sorted(LOADERS))}",
        )
    return loader(content, schema)


class ModelRuntime:
    """Predictors by artifact, the least recently used dropped beyond ``capacity``. Thread safe."""

    def __init__(self, artifacts: ArtifactStore, *, capacity: int = 32) -> None:
        self._artifacts = artifacts
        self._capacity = capacity
        self._lock = Lock()
        self._loaded: OrderedDict[tuple[str, str, ModelSchema], Predictor] = OrderedDict()

    def predictor(self, version: ModelVersion) -> Predictor:
        """The predictor of this version, loaded at first use.

        Raises ``NotSupported`` for an unknown format, ``ArtifactCorrupt`` where the stored bytes do
        not have the version's hash or are not what the version says.
        """
        key = (version.artifact, version.format, version.schema)
        with self._lock:
            found = self._loaded.get(key)
            if found is not None:
                self._loaded.move_to_end(key)
                return found
        if formats.FORMATS.get(version.format, version.family) != version.family:
            raise ArtifactCorrupt(f"the format {version.format} is not of the family {version.family}")
        content = self._artifacts.get(version.artifact)
        if hashlib.sha256(content).hexdigest() != version.artifact:
            raise ArtifactCorrupt(
                f"the artifact of {version.model} version {version.version} does not have its hash",
                mend="roll back to another version, or train the model again",
            )
        predictor = load(version.format, content, version.schema)
        # Loaded outside the lock: two threads may load the same model once, none waits for another's.
        with self._lock:
            kept = self._loaded.setdefault(key, predictor)
            while len(self._loaded) > self._capacity:
                self._loaded.popitem(last=False)
        return kept
