"""Checks what a caller sends to a predictive model against that model's schema.

Three forms are read, and exactly one must be given:

- ``{"rows": [[…], …]}``: numbers in the order of the schema;
- ``{"features": …}``: one object by feature name, a list of such objects, a flat list of numbers
  (one row) or a list of such lists;
- ``{"series": […], "horizon": n}``: for time-series models, oldest value first.

Whatever is wrong is a ``ValidationFailed`` whose ``param`` is the path of the offending field and
whose ``mend`` says what is expected. A caller's values are never repeated in the message.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from gateway.errors import ValidationFailed
from gateway.models.ml_models import Features, ModelSchema

_PLACE = "input_data"
#: At most this many names are listed in one message.
_LISTED = 40


def check_features(
    schema: ModelSchema,
    inputs: Mapping[str, Any],
    *,
    explain: bool = False,
    parameters: Mapping[str, Any] | None = None,
) -> Features:
    """The inputs as checked rows of finite floats, in the schema's order.

    A series becomes rows of one value each. Raises ``ValidationFailed`` for an unknown or missing
    name, a value that is not a finite number (``true`` and ``"1"`` are not numbers), a row of the
    wrong length, too many rows, or a series that is too short.
    """
    if not isinstance(inputs, Mapping):
        raise _wrong(_PLACE, "is not an object", _expected(schema))
    given = dict(parameters or {})
    if schema.kind == "series":
        rows, horizon = _series(schema, inputs)
        return Features(rows=rows, horizon=horizon, explain=explain, parameters=given)
    present = [name for name in ("rows", "features") if name in inputs]
    if len(present) != 1:
        raise _wrong(
            f"{_PLACE}.features", "is missing" if not present else "and rows are both given", _expected(schema)
        )
    _only(inputs, {present[0]}, _expected(schema))
    if present[0] == "rows":
        rows = _matrix(schema, inputs["rows"], f"{_PLACE}.rows")
    else:
        rows = _features(schema, inputs["features"])
    return Features(rows=rows, explain=explain, parameters=given)


def out_of_range(schema: ModelSchema, row: Sequence[float]) -> tuple[str, ...]:
    """The names of the features whose value lies outside what the model saw in training."""
    return tuple(
        spec.name
        for spec, value in zip(schema.features, row, strict=True)
        if (spec.minimum is not None and value < spec.minimum) or (spec.maximum is not None and value > spec.maximum)
    )


def _features(schema: ModelSchema, value: Any) -> tuple[tuple[float, ...], ...]:
    place = f"{_PLACE}.features"
    if isinstance(value, Mapping):
        return (_by_name(schema, value, place),)
    if not _is_list(value):
        raise _wrong(place, "is neither an object nor a list", _expected(schema))
    if not value:
        raise _wrong(place, "is empty", _expected(schema))
    if isinstance(value[0], Mapping):
        _count(schema, len(value), place)
        rows = []
        for number, row in enumerate(value):
            if not isinstance(row, Mapping):
                raise _wrong(f"{place}[{number}]", "is not an object like the first row", _expected(schema))
            rows.append(_by_name(schema, row, f"{place}[{number}]"))
        return tuple(rows)
    if _is_list(value[0]):
        return _matrix(schema, value, place)
    return (_row(schema, value, place),)


def _by_name(schema: ModelSchema, row: Mapping[Any, Any], place: str) -> tuple[float, ...]:
    names = [spec.name for spec in schema.features]
    known = set(names)
    unknown = [str(name) for name in row if name not in known]
    if unknown:
        near = get_close_matches(unknown[0][:80], names, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise _wrong(
            f"{place}.{unknown[0][:80]}",
            f"is no feature of this model{hint}",
            _expected(schema),
            unknown=[name[:80] for name in unknown[:_LISTED]],
        )
    missing = [name for name in names if name not in row]
    if missing:
        raise _wrong(
            f"{place}.{missing[0]}",
            f"is missing ({len(missing)} of {len(names)} are)",
            _expected(schema),
            missing=missing,
        )
    return tuple(_number(row[name], place, f".{name}") for name in names)


def _matrix(schema: ModelSchema, value: Any, place: str) -> tuple[tuple[float, ...], ...]:
    if not _is_list(value) or not value:
        raise _wrong(place, "is not a list of rows", _expected(schema))
    _count(schema, len(value), place)
    return tuple(_row(schema, row, f"{place}[{number}]") for number, row in enumerate(value))


def _row(schema: ModelSchema, row: Any, place: str) -> tuple[float, ...]:
    if not _is_list(row):
        raise _wrong(place, "is not a list of numbers", _expected(schema))
    if len(row) != len(schema.features):
        raise _wrong(place, f"has {len(row)} values, not {len(schema.features)}", _expected(schema))
    return tuple(_number(value, place, f"[{column}]") for column, value in enumerate(row))


def _series(schema: ModelSchema, inputs: Mapping[str, Any]) -> tuple[tuple[tuple[float, ...], ...], int]:
    expected = _expected(schema)
    if "series" not in inputs:
        raise _wrong(f"{_PLACE}.series", "is missing", expected)
    _only(inputs, {"series", "horizon"}, expected)
    place, series = f"{_PLACE}.series", inputs["series"]
    if not _is_list(series):
        raise _wrong(place, "is not a list of numbers", expected)
    if not schema.min_length <= len(series) <= schema.max_rows:
        raise _wrong(place, f"has {len(series)} values", expected)
    horizon = inputs.get("horizon", 1)
    if isinstance(horizon, bool) or not isinstance(horizon, int) or not 1 <= horizon <= schema.max_horizon:
        raise _wrong(f"{_PLACE}.horizon", f"is not a whole number from 1 to {schema.max_horizon}", expected)
    rows = tuple((_number(value, place, f"[{number}]"),) for number, value in enumerate(series))
    spec = schema.features[0] if schema.features else None
    if spec is not None and spec.minimum is not None:
        for number, (value,) in enumerate(rows):
            if value < spec.minimum:
                raise _wrong(f"{place}[{number}]", f"is below {spec.minimum:g}", expected)
    return rows, horizon


def _number(value: Any, place: str, field: str) -> float:
    """The value as a finite float; its path is put together only where it is needed."""
    if type(value) is float and math.isfinite(value):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(place + field, "is not a number", "give a JSON number, such as 0.25; no text, no true or false")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _wrong(place + field, "is not finite", "give a finite number; rows with gaps have to be left out")
    return number


def _count(schema: ModelSchema, rows: int, place: str) -> None:
    if rows > schema.max_rows:
        raise _wrong(place, f"has {rows} rows", f"send at most {schema.max_rows} rows a call")


def _only(inputs: Mapping[str, Any], allowed: set[str], expected: str) -> None:
    unknown = [str(name)[:80] for name in inputs if name not in allowed]
    if unknown:
        raise _wrong(f"{_PLACE}.{unknown[0]}", f"is not read beside {' and '.join(sorted(allowed))}", expected)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray)


def _expected(schema: ModelSchema) -> str:
    if schema.kind == "series":
        return (
            f'expected {{"series": [numbers, oldest first, {schema.min_length} to {schema.max_rows} of them], '
            f'"horizon": 1 to {schema.max_horizon}}}'
        )
    names = [spec.name for spec in schema.features]
    listed = ", ".join(names[:_LISTED]) + (", …" if len(names) > _LISTED else "")
    return (
        f'expected {{"features": {{name: number}}}} or a list of them, or {{"rows": [[…]]}} in this order, '
        f"at most {schema.max_rows} rows; the {len(names)} features are: {listed}"
    )


def _wrong(place: str, what: str, expected: str, **details: Any) -> ValidationFailed:
    return ValidationFailed(f"{place} {what}", mend=expected, param=place, **details)
