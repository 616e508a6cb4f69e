"""Predictive models: what goes in, what comes out, and the port that a loaded model fills."""

from __future__ import annotations

from typing import Any, Literal, Protocol

from msgspec import Struct, field

Family = Literal["classification", "regression", "anomaly_detection", "time_series", "clustering"]


class FeatureSpec(Struct, frozen=True):
    """One input column: its unit and the range seen in training (values outside are flagged)."""

    name: str
    description: str = ""
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None


class ModelSchema(Struct, frozen=True):
    """What a model takes: ordered features, and at most this many rows a call.

    A time-series model takes one ``series`` (oldest first) and a ``horizon`` instead of rows.
    """

    features: tuple[FeatureSpec, ...]
    kind: Literal["rows", "series"] = "rows"
    max_rows: int = 10_000
    min_length: int = 0
    max_horizon: int = 0


class Features(Struct, frozen=True):
    """Checked input: ``rows`` has shape (n, len(schema.features)), all finite."""

    rows: tuple[tuple[float, ...], ...] = ()
    horizon: int = 0
    explain: bool = False
    parameters: dict[str, Any] = field(default_factory=dict)


class Contribution(Struct, frozen=True):
    """How much one feature moved one answer, in the unit of the model's raw score."""

    feature: str
    value: float
    contribution: float


class RowPrediction(Struct, frozen=True, omit_defaults=True):
    """The answer for one row (or for one step ahead of a series).

    classification: ``label``, ``probabilities``, ``prediction_set`` (conformal, at ``coverage``);
    regression and time series: ``value`` with ``lower`` and ``upper`` at ``coverage``;
    anomaly detection: ``score``, ``threshold``, ``is_anomaly``; clustering: ``cluster``,
    ``distance``. ``contributions`` where an explanation was asked.
    """

    label: str | None = None
    probabilities: dict[str, float] | None = None
    prediction_set: tuple[str, ...] | None = None
    value: float | None = None
    lower: float | None = None
    upper: float | None = None
    coverage: float | None = None
    score: float | None = None
    threshold: float | None = None
    is_anomaly: bool | None = None
    cluster: int | None = None
    distance: float | None = None
    contributions: tuple[Contribution, ...] | None = None
    base_value: float | None = None
    out_of_range: tuple[str, ...] | None = None


class Prediction(Struct, frozen=True):
    """What a model version answered for all rows."""

    predictions: tuple[RowPrediction, ...]


class Predictor(Protocol):
    """The port: one loaded model version. Called from any thread; never slower the second time."""

    def predict(self, features: Features) -> Prediction:
        """Answer every row, in order."""
        ...


class ModelVersion(Struct, frozen=True):
    """One immutable version of one model, as registered.

    ``artifact`` is the SHA-256 of the stored bytes; ``data_hash`` that of the training data.
    ``metrics`` were measured out of sample; ``card`` says on what, how, and the limits of use.
    """

    model: str
    version: int
    family: Family
    format: str
    artifact: str
    schema: ModelSchema
    metrics: dict[str, float]
    card: dict[str, Any]
    data_hash: str
    seed: int
    libraries: dict[str, str]
    created_at: int
    created_by: str
    aliases: tuple[str, ...] = ()
