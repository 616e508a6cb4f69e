"""What every training shares: the table, splits in time with an embargo, the result, its identity.

Time only runs forward here: a model is fitted on the past, calibrated on later days, its conformal
scores and its metrics come from days later still, and between two parts lies an embargo of at least
the length of a label's window, so that no label reaches into the next part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.errors import ValidationFailed
from gateway.models.ml_models import Family, FeatureSpec, ModelSchema


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A model before it is registered. The same data and seed give the same ``content``."""

    family: Family
    format: str
    content: bytes
    schema: ModelSchema
    metrics: dict[str, float]
    card: dict[str, Any]
    data_hash: str
    seed: int
    libraries: dict[str, str]


@dataclass(frozen=True, slots=True)
class TrainingTable:
    """Rows to learn from. ``x``: (rows, features), finite; ``y``: (rows,), the target (zeros where
    there is none); ``day``: (rows,), each row's position in the market's calendar; ``dates``: (rows,)
    the date of that day. ``about`` goes into the card (data set, label, how the rows were made).
    ``embargo`` is in days of that calendar."""

    specs: tuple[FeatureSpec, ...]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    day: NDArray[np.int64]
    dates: NDArray[np.datetime64]
    about: dict[str, Any]
    embargo: int

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(spec.name for spec in self.specs)


@dataclass(frozen=True, slots=True)
class Part:
    """One stretch of time of a split: the rows in it, and its first and last date (ISO)."""

    rows: NDArray[np.intp]
    start: str
    end: str

    def described(self) -> dict[str, Any]:
        return {"start": self.start, "end": self.end, "rows": len(self.rows)}


def split_in_time(table: TrainingTable, fractions: Sequence[float], least_rows: int = 50) -> tuple[Part, ...]:
    """Consecutive parts of the calendar with the given fractions of its length (they sum to 1).

    The last ``embargo`` days of each part but the last are left out. ``ValidationFailed`` where a
    part would have fewer than ``least_rows`` rows.
    """
    first, past = int(table.day.min()), int(table.day.max()) + 1
    edges = first + np.round(np.concatenate([[0.0], np.cumsum(fractions)]) * (past - first)).astype(int)
    edges[-1] = past
    parts = []
    for number, (start, end) in enumerate(pairwise(edges.tolist())):
        last = end if number == len(fractions) - 1 else end - table.embargo
        rows = np.flatnonzero((table.day >= start) & (table.day < last))
        if len(rows) < least_rows:
            raise ValidationFailed(
                f"there is too little data to train on: a part of the split has {len(rows)} rows, not {least_rows}",
                mend="send a longer history (several years of days), or leave data out to use the bundled set",
                param="data",
            )
        parts.append(Part(rows, str(table.dates[rows].min()), str(table.dates[rows].max())))
    return tuple(parts)


def walk_forward(
    day: NDArray[np.int64], folds: int, embargo: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Expanding-window folds over rows: fit on all days before, validate on the next stretch, with
    ``embargo`` days between. Yields (fit rows, validation rows)."""
    first, past = int(day.min()), int(day.max()) + 1
    edges = np.linspace(first, past, folds + 2).round().astype(int)
    for start, end in pairwise(edges[1:].tolist()):
        yield np.flatnonzero(day < start - embargo), np.flatnonzero((day >= start) & (day < end))


def fitted_schema(specs: Sequence[FeatureSpec], x: NDArray[np.float64], **fields: Any) -> ModelSchema:
    """The schema of a model fitted on ``x``: each feature with the range it had there."""
    low, high = x.min(axis=0).tolist(), x.max(axis=0).tolist()
    return ModelSchema(
        features=tuple(
            FeatureSpec(spec.name, spec.description, spec.unit, minimum=low[column], maximum=high[column])
            for column, spec in enumerate(specs)
        ),
        **fields,
    )


def data_hash(names: Sequence[str], *arrays: NDArray[Any]) -> str:
    """SHA-256 over the names and the arrays' shapes, types and values."""
    digest = hashlib.sha256("\n".join(names).encode())
    for array in arrays:
        values = array.astype("datetime64[D]").astype("<i8") if array.dtype.kind == "M" else array
        digest.update(f"|{values.dtype.str}{values.shape}|".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def table_hash(table: TrainingTable) -> str:
    """The identity of a training table."""
    return data_hash(table.names, table.x, table.y, table.day, table.dates)


def libraries(*names: str) -> dict[str, str]:
    """The installed versions of the packages that a model was made with."""
    return {name: version(name) for name in names}
