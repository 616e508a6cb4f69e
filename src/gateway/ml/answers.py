"""What the families share when they answer: the input as a matrix, checked parameters, explanations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gateway.errors import ValidationFailed
from gateway.models.ml_models import Contribution, Features, ModelSchema


def matrix(features: Features, columns: int) -> NDArray[np.float64]:
    """The rows as an array of shape (n, columns)."""
    return np.asarray(features.rows, dtype=np.float64).reshape(len(features.rows), columns)


def explained(names: Sequence[str], row: Sequence[float], parts: NDArray[np.float64]) -> tuple[Contribution, ...]:
    """One row's contributions in the order of the schema; ``parts`` has shape (features,)."""
    return tuple(
        Contribution(feature=name, value=float(value), contribution=part)
        for name, value, part in zip(names, row, parts.tolist(), strict=True)
    )


class Ranges:
    """Finds the values that lie outside what the model saw in training."""

    def __init__(self, schema: ModelSchema) -> None:
        self._names = [spec.name for spec in schema.features]
        self._low = np.array([-np.inf if spec.minimum is None else spec.minimum for spec in schema.features])
        self._high = np.array([np.inf if spec.maximum is None else spec.maximum for spec in schema.features])

    def outside(self, rows: NDArray[np.float64]) -> list[tuple[str, ...] | None]:
        """For each row the names of such features, ``None`` where there are none."""
        beyond = (rows < self._low) | (rows > self._high)
        found: list[tuple[str, ...] | None] = [None] * len(rows)
        for number in np.flatnonzero(beyond.any(axis=1)).tolist():
            found[number] = tuple(self._names[column] for column in np.flatnonzero(beyond[number]).tolist())
        return found


def only_parameters(features: Features, *known: str) -> None:
    """Raises ``ValidationFailed`` for a parameter that this family does not take."""
    for name in features.parameters:
        if name not in known:
            raise ValidationFailed(
                f"model_config.parameters.{name[:80]} is no parameter of this model",
                mend=f"it takes: {', '.join(known) or 'none'}",
                param=f"model_config.parameters.{name[:80]}",
            )


def parameter(features: Features, name: str, default: float, low: float, high: float) -> float:
    """The number given for ``name``, or the default. ``ValidationFailed`` outside low to high."""
    value = features.parameters.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValidationFailed(
            f"model_config.parameters.{name} is not a number from {low:g} to {high:g}",
            mend=f"leave it out for {default:g}",
            param=f"model_config.parameters.{name}",
        )
    return float(value)
