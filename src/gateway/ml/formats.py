"""How a model's artifact is packed: one JSON document of plain data, never anything executable.

The document is ``{"container": 1, "format": NAME, "body": {…}}``. ``FORMATS`` is the whole list of
formats this gateway loads; each body is a msgspec struct that refuses unknown fields, so a document
that does not match is refused before any of it is used. Arrays are kept as little-endian float64.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from gateway.errors import ArtifactCorrupt
from gateway.models.ml_models import Family

CONTAINER = 1

LIGHTGBM_CLASSIFIER = "lightgbm-classifier-v1"
LIGHTGBM_REGRESSOR = "lightgbm-regressor-v1"
ECOD = "ecod-v1"
EXPONENTIAL_SMOOTHING = "exponential-smoothing-v1"
CENTROIDS = "centroids-v1"

#: Every format that is loaded, and the family it serves.
FORMATS: Mapping[str, Family] = MappingProxyType(
    {
        LIGHTGBM_CLASSIFIER: "classification",
        LIGHTGBM_REGRESSOR: "regression",
        ECOD: "anomaly_detection",
        EXPONENTIAL_SMOOTHING: "time_series",
        CENTROIDS: "clustering",
    }
)

Body = TypeVar("Body", bound=msgspec.Struct)


class _Container(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    container: int
    format: str
    body: msgspec.Raw


def pack(format_name: str, body: msgspec.Struct) -> bytes:
    """The artifact's bytes. The same body gives the same bytes."""
    return msgspec.json.encode(
        _Container(container=CONTAINER, format=format_name, body=msgspec.Raw(msgspec.json.encode(body)))
    )


def unpack(content: bytes, format_name: str, body: type[Body]) -> Body:
    """The body of an artifact that must be of ``format_name``. ``ArtifactCorrupt`` otherwise."""
    try:
        container = msgspec.json.decode(content, type=_Container)
        if container.container != CONTAINER or container.format != format_name:
            raise ArtifactCorrupt(f"the artifact is not a {format_name} of container version {CONTAINER}")
        return msgspec.json.decode(container.body, type=body)
    except msgspec.MsgspecError as error:
        raise ArtifactCorrupt(f"the artifact is no readable {format_name}: {error}") from error


def to_bytes(values: NDArray[np.float64]) -> bytes:
    """The values as little-endian float64, row by row."""
    return np.ascontiguousarray(values, dtype="<f8").tobytes()


def from_bytes(content: bytes, *shape: int) -> NDArray[np.float64]:
    """The array of that shape. ``ArtifactCorrupt`` for another size or a value that is not finite."""
    expected = 8 * int(np.prod(shape))
    if len(content) != expected:
        raise ArtifactCorrupt(f"an array of the artifact has {len(content)} bytes, not {expected}")
    values = np.frombuffer(content, dtype="<f8").astype(np.float64).reshape(shape)
    if not np.isfinite(values).all():
        raise ArtifactCorrupt("an array of the artifact holds values that are not finite")
    return values
