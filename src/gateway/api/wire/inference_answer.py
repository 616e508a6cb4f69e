"""Answers of the Open Inference Protocol (V2): predictions to tensors, and what a model takes and gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gateway.models.ml_models import Family, ModelSchema, ModelVersion, RowPrediction

#: The output tensors of each family. A model of the operator's own may give less.
OUTPUTS: Mapping[Family, tuple[str, ...]] = {
    "classification": ("label", "probabilities", "classes", "prediction_set", "out_of_range"),
    "regression": ("value", "lower", "upper", "out_of_range"),
    "time_series": ("value", "lower", "upper"),
    "anomaly_detection": ("score", "is_anomaly", "out_of_range"),
    "clustering": ("label", "cluster", "distance", "out_of_range"),
}
#: What comes beside them where reasons are asked for.
REASONS = ("contributions", "base_value")


def encode(
    version: ModelVersion, rows: Sequence[RowPrediction], wanted: Sequence[str], answer_id: str
) -> dict[str, Any]:
    """The body of the answer; all outputs where ``wanted`` names none. What is wanted and is not given stands in
    ``parameters.left_out``."""
    tensors = _outputs(version, rows) | _reasons(rows)
    parameters: dict[str, Any] = {}
    for fact in ("coverage", "threshold"):
        value = getattr(rows[0], fact) if rows else None
        if value is not None:
            parameters[fact] = value
    left_out = [name for name in wanted if name not in tensors]
    if left_out:
        parameters["left_out"] = ",".join(left_out)
    return {
        "model_name": version.model,
        "model_version": str(version.version),
        "id": answer_id,
        "parameters": parameters,
        "outputs": [tensor for name, tensor in tensors.items() if not wanted or name in wanted],
    }


def metadata(version: ModelVersion, versions: Sequence[int]) -> dict[str, Any]:
    """What a model takes and gives."""
    schema = version.schema
    if schema.kind == "series":
        inputs = [_meta("series", "FP64", [-1]), _meta("horizon", "INT64", [1])]
    else:
        inputs = [_meta(spec.name, "FP64", [-1]) for spec in schema.features]
    return {
        "name": version.model,
        "versions": [str(number) for number in versions],
        "platform": version.format,
        "inputs": inputs,
        "outputs": [_meta(name, *_KINDS[name](schema)) for name in OUTPUTS[version.family]],
    }


def _meta(name: str, datatype: str, shape: list[int]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape}


#: Datatype and shape of each output, -1 where the data decide.
_KINDS: Mapping[str, Callable[[ModelSchema], tuple[str, list[int]]]] = {
    "label": lambda _: ("BYTES", [-1]),
    "probabilities": lambda _: ("FP64", [-1, -1]),
    "classes": lambda _: ("BYTES", [-1]),
    "prediction_set": lambda _: ("BOOL", [-1, -1]),
    "value": lambda _: ("FP64", [-1]),
    "lower": lambda _: ("FP64", [-1]),
    "upper": lambda _: ("FP64", [-1]),
    "score": lambda _: ("FP64", [-1]),
    "is_anomaly": lambda _: ("BOOL", [-1]),
    "cluster": lambda _: ("INT64", [-1]),
    "distance": lambda _: ("FP64", [-1]),
    "out_of_range": lambda schema: ("BOOL", [-1, len(schema.features)]),
    "contributions": lambda schema: ("FP64", [-1, len(schema.features)]),
    "base_value": lambda _: ("FP64", [-1]),
}


def _outputs(version: ModelVersion, rows: Sequence[RowPrediction]) -> dict[str, dict[str, Any]]:
    """Every tensor that the model gives, by name."""
    found: dict[str, dict[str, Any]] = {}
    classes = list((rows[0].probabilities or {}) if rows else {})
    features = [spec.name for spec in version.schema.features]
    tables: dict[str, tuple[list[str], Callable[[RowPrediction, str], Any]]] = {
        "probabilities": (classes, lambda row, label: (row.probabilities or {}).get(label)),
        "prediction_set": (
            classes,
            lambda row, label: None if row.prediction_set is None else label in row.prediction_set,
        ),
        "out_of_range": (features, lambda row, feature: feature in (row.out_of_range or ())),
    }
    for name in OUTPUTS[version.family]:
        if name == "classes":
            shape, data = [len(classes)], list(classes)
        elif name in tables:
            columns, cell = tables[name]
            shape, data = [len(rows), len(columns)], [cell(row, column) for row in rows for column in columns]
        else:
            shape, data = [len(rows)], [getattr(row, name) for row in rows]
        if data and None not in data:
            found[name] = _told(name, _KINDS[name](version.schema)[0], shape, data)
    return found


def _reasons(rows: Sequence[RowPrediction]) -> dict[str, dict[str, Any]]:
    """How much each feature moved each answer; none where the model gives no reasons."""
    parts = [row.contributions or () for row in rows]
    width = len(parts[0]) if parts else 0
    if not width or any(len(part) != width for part in parts):
        return {}
    values = [one.contribution for part in parts for one in part]
    found = {"contributions": _told("contributions", "FP64", [len(rows), width], values)}
    found["contributions"]["parameters"] = {"columns": ",".join(one.feature for one in parts[0])}
    if all(row.base_value is not None for row in rows):
        found["base_value"] = _told("base_value", "FP64", [len(rows)], [row.base_value for row in rows])
    return found


def _told(name: str, datatype: str, shape: list[int], data: list[Any]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}
