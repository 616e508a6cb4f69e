"""Requests of the Open Inference Protocol (V2): tensors to the rows of a predictive model.

A model of rows takes either one tensor of shape (rows, features), its columns in the order of the model's metadata,
or one tensor for each feature, by name, of shape (rows) or (rows, 1). A time-series model takes ``series``, oldest
first, and ``horizon``, one whole number. Data are JSON: nested, or flat in row-major order. Tensors as bytes (an
extension of some servers) are refused by name.

Specification: https://github.com/kserve/open-inference-protocol (inference_rest.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from gateway.api.wire.inference_answer import OUTPUTS, REASONS
from gateway.errors import NotSupported, ValidationFailed
from gateway.models.ml_models import ModelSchema, ModelVersion

_WHOLE = {"INT8": (-(2**7), 2**7), "INT16": (-(2**15), 2**15), "INT32": (-(2**31), 2**31), "INT64": (-(2**63), 2**63)}
_WHOLE |= {"UINT8": (0, 2**8), "UINT16": (0, 2**16), "UINT32": (0, 2**32), "UINT64": (0, 2**64)}
_NUMBERS = {"FP16", "FP32", "FP64", "BF16", *_WHOLE}
_OTHERS = {"BOOL", "BYTES"}
_MOST_TENSORS = 2_000
_BINARY = "leave binary data out (tritonclient: binary_data=False), and send tensors as JSON"


class Inference(Struct, frozen=True):
    """What a request asks: ``inputs`` as ``governance.feature_validation`` reads them; ``outputs`` are the tensors that
    are wanted, all where it names none."""

    id: str
    inputs: dict[str, Any]
    explain: bool
    outputs: tuple[str, ...]


def decode(body: Mapping[str, Any], version: ModelVersion) -> Inference:
    """Reads the body of ``infer``. Raises ``ValidationFailed`` with the path of what is wrong."""
    _only(body, ("id", "parameters", "inputs", "outputs"), "")
    given = body.get("id", "")
    if not isinstance(given, str) or len(given) > 200:
        raise ValidationFailed("id: a text of at most 200 characters is expected", param="id")
    parameters = _parameters(body.get("parameters"), "parameters", ("explain",))
    explain = parameters.get("explain", False)
    if not isinstance(explain, bool):
        raise ValidationFailed("parameters.explain: true or false is expected", param="parameters.explain")
    tensors = body.get("inputs")
    if not isinstance(tensors, list) or not tensors:
        raise ValidationFailed(f"inputs: a list of tensors is expected; {_expected(version.schema)}", param="inputs")
    if len(tensors) > _MOST_TENSORS:
        raise ValidationFailed(f"inputs: at most {_MOST_TENSORS} tensors", param="inputs")
    read: dict[str, _Tensor] = {}
    for number, raw in enumerate(tensors):
        tensor = _tensor(raw, f"inputs[{number}]")
        if tensor.name in read:
            raise ValidationFailed(f"inputs[{number}].name: it stands there twice", param=f"inputs[{number}].name")
        read[tensor.name] = tensor
    inputs = _series(version.schema, read) if version.schema.kind == "series" else _rows(version.schema, read)
    return Inference(given, inputs, explain, _wanted(body.get("outputs"), version, explain=explain))


class _Tensor(Struct, frozen=True):
    """``values`` are flat; ``rows`` is the first dimension, ``columns`` what is left of the shape."""

    name: str
    place: str
    rows: int
    columns: int
    flat: bool
    values: list[Any]


def _tensor(raw: Any, place: str) -> _Tensor:
    if not isinstance(raw, Mapping):
        raise ValidationFailed(f"{place}: a tensor is an object with name, shape, datatype and data", param=place)
    _only(raw, ("name", "shape", "datatype", "parameters", "data"), place)
    parameters = raw.get("parameters")
    if isinstance(parameters, Mapping) and "binary_data_size" in parameters:
        raise NotSupported(f"{place}: binary data are not read here", mend=_BINARY, param=f"{place}.parameters")
    _parameters(parameters, f"{place}.parameters", ("content_type",))
    name, datatype = raw.get("name"), raw.get("datatype")
    if not isinstance(name, str) or not 1 <= len(name) <= 200:
        raise ValidationFailed(f"{place}.name: the name of the tensor is expected", param=f"{place}.name")
    if datatype not in _NUMBERS:
        what = "numbers are expected" if datatype in _OTHERS else "no such datatype"
        raise ValidationFailed(
            f"{place}.datatype: {what}", mend="FP64, FP32, INT64 and the like", param=f"{place}.datatype"
        )
    shape = _shape(raw.get("shape"), f"{place}.shape")
    values = _flat(raw.get("data"), shape, f"{place}.data")
    _check_values(values, datatype, f"{place}.data")
    columns = math.prod(shape[1:])
    return _Tensor(name, place, shape[0], columns, len(shape) == 1, values)


def _shape(shape: Any, place: str) -> list[int]:
    fits = isinstance(shape, list) and 1 <= len(shape) <= 2
    if not fits or any(type(size) is not int or not 1 <= size < 2**31 for size in shape):
        raise ValidationFailed(
            f"{place}: one or two whole numbers from 1 are expected: rows, or rows and columns", param=place
        )
    return list(shape)


def _flat(data: Any, shape: Sequence[int], place: str) -> list[Any]:
    """The values in row-major order."""
    if not isinstance(data, list):
        raise ValidationFailed(f"{place}: a list of numbers is expected", param=place)
    nested = any(isinstance(item, list) for item in data)
    if nested:
        if len(shape) != 2 or len(data) != shape[0]:
            raise ValidationFailed(f"{place}: it has not the shape {list(shape)}", param=place)
        flat: list[Any] = []
        for row in data:
            if not isinstance(row, list) or len(row) != shape[1]:
                raise ValidationFailed(f"{place}: it has not the shape {list(shape)}", param=place)
            flat += row
        return flat
    if len(data) != math.prod(shape):
        raise ValidationFailed(f"{place}: {len(data)} values are not of the shape {list(shape)}", param=place)
    return data


def _check_values(values: Sequence[Any], datatype: str, place: str) -> None:
    low, high = _WHOLE.get(datatype, (0, 0))
    for number, value in enumerate(values):
        kind = type(value)
        if kind is float and datatype not in _WHOLE:
            if math.isfinite(value):
                continue
        elif kind is int and (datatype not in _WHOLE or low <= value < high):
            continue
        raise ValidationFailed(f"{place}[{number}]: not a finite {datatype}", param=f"{place}[{number}]")


def _rows(schema: ModelSchema, tensors: Mapping[str, _Tensor]) -> dict[str, Any]:
    names = [spec.name for spec in schema.features]
    first = next(iter(tensors.values()))
    if first.rows > schema.max_rows:
        raise ValidationFailed(
            f"{first.place}.shape: {first.rows} rows",
            mend=f"at most {schema.max_rows} a call",
            param=f"{first.place}.shape",
        )
    if len(tensors) == 1 and not first.flat and (len(names) > 1 or first.name not in names):
        if first.columns != len(names):
            raise ValidationFailed(
                f"{first.place}.shape: {first.columns} columns are not the model's {len(names)} features",
                mend=_expected(schema),
                param=f"{first.place}.shape",
            )
        values, width = first.values, first.columns
        return {"rows": [values[at : at + width] for at in range(0, len(values), width)]}
    for tensor in tensors.values():
        if tensor.name not in names:
            raise ValidationFailed(
                f"{tensor.place}.name: no feature of this model", mend=_expected(schema), param=f"{tensor.place}.name"
            )
        if tensor.columns != 1 or tensor.rows != first.rows:
            raise ValidationFailed(
                f"{tensor.place}.shape: [{first.rows}] or [{first.rows}, 1] is expected, as of the first tensor",
                param=f"{tensor.place}.shape",
            )
    missing = [name for name in names if name not in tensors]
    if missing:
        raise ValidationFailed(
            f"inputs: {len(missing)} of {len(names)} features are missing, the first is {missing[0]}",
            mend=_expected(schema),
            param="inputs",
        )
    return {"rows": [list(row) for row in zip(*(tensors[name].values for name in names), strict=True)]}


def _series(schema: ModelSchema, tensors: Mapping[str, _Tensor]) -> dict[str, Any]:
    for name, tensor in tensors.items():
        if name not in ("series", "horizon"):
            raise ValidationFailed(
                f"{tensor.place}.name: this model takes series and horizon",
                mend=_expected(schema),
                param=f"{tensor.place}.name",
            )
    series, horizon = tensors.get("series"), tensors.get("horizon")
    if series is None or series.columns != 1:
        place = "inputs" if series is None else f"{series.place}.shape"
        raise ValidationFailed(f"{place}: a tensor series of shape [n]", mend=_expected(schema), param=place)
    if not schema.min_length <= series.rows <= schema.max_rows:
        raise ValidationFailed(
            f"{series.place}.shape: {series.rows} values", mend=_expected(schema), param=f"{series.place}.shape"
        )
    if horizon is None:
        return {"series": series.values}
    if len(horizon.values) != 1 or not 1 <= horizon.values[0] <= schema.max_horizon:
        raise ValidationFailed(f"{horizon.place}: one whole number", mend=_expected(schema), param=horizon.place)
    return {"series": series.values, "horizon": horizon.values[0]}


def _wanted(raw: Any, version: ModelVersion, *, explain: bool) -> tuple[str, ...]:
    if raw is None:
        return ()
    if not isinstance(raw, list):
        raise ValidationFailed("outputs: a list of objects with a name is expected", param="outputs")
    known = (*OUTPUTS[version.family], *(REASONS if explain else ()))
    wanted: list[str] = []
    for number, item in enumerate(raw):
        place = f"outputs[{number}]"
        if not isinstance(item, Mapping):
            raise ValidationFailed(f"{place}: an object with a name is expected", param=place)
        _only(item, ("name", "parameters"), place)
        parameters = item.get("parameters")
        if isinstance(parameters, Mapping) and parameters.get("binary_data") is True:
            raise NotSupported(f"{place}: binary data are not written here", mend=_BINARY, param=f"{place}.parameters")
        _parameters(parameters, f"{place}.parameters", ("binary_data",))
        name = item.get("name")
        if not isinstance(name, str) or name not in known:
            raise ValidationFailed(
                f"{place}.name: no output of this model", mend=f"it gives: {', '.join(known)}", param=f"{place}.name"
            )
        if name not in wanted:
            wanted.append(name)
    return tuple(wanted)


def _parameters(raw: Any, place: str, known: tuple[str, ...]) -> Mapping[str, Any]:
    if raw is None:
        return {}
    if not isinstance(raw, Mapping):
        raise ValidationFailed(f"{place}: an object is expected", param=place)
    if raw.get("binary_data_output") is True:
        raise NotSupported(f"{place}: binary data are not written here", mend=_BINARY, param=place)
    _only({name: value for name, value in raw.items() if name != "binary_data_output"}, known, place)
    return raw


def _only(raw: Mapping[str, Any], known: Sequence[str], place: str) -> None:
    for name in raw:
        if name not in known:
            path = f"{place}.{name[:80]}" if place else name[:80]
            raise ValidationFailed(f"{path}: no such field", mend=f"the fields here are {', '.join(known)}", param=path)


def _expected(schema: ModelSchema) -> str:
    if schema.kind == "series":
        return (
            f"series has shape [n], oldest first, {schema.min_length} to {schema.max_rows} numbers; "
            f"horizon shape [1], 1 to {schema.max_horizon}"
        )
    return (
        f"one tensor of shape [rows, {len(schema.features)}], or a tensor of shape [rows] for each feature; "
        "GET /v2/models/{name} lists them in order"
    )
