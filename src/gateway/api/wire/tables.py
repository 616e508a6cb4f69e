"""Tables as files: CSV that a spreadsheet can open safely, and Parquet with exact money."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from decimal import Decimal
from importlib import import_module
from typing import Any, Literal

from msgspec import Struct
from starlette.responses import Response

from gateway.errors import ValidationFailed
from gateway.money import plain

FORMATS = ("json", "csv", "parquet")
#: What a spreadsheet takes for the beginning of a formula, also after blanks.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
Kind = Literal["text", "whole", "usd"]


class Column(Struct, frozen=True):
    """A column's name, and what stands in it."""

    name: str
    kind: Kind = "text"


def format_of(text: str | None) -> str:
    """The format that is asked for. ``ValidationFailed`` for none of ours."""
    if text is not None and text not in FORMATS:
        raise ValidationFailed(f"format: one of {', '.join(FORMATS)}", param="format")
    return text or "json"


def file_response(kind: str, name: str, columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> Response:
    """The table as a file of that format to keep."""
    content, media_type = (
        (csv_of(columns, rows).encode(), "text/csv; charset=utf-8")
        if kind == "csv"
        else (parquet_of(columns, rows), "application/vnd.apache.parquet")
    )
    return Response(content, 200, {"content-disposition": f'attachment; filename="{name}.{kind}"'}, media_type)


def csv_of(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> str:
    """RFC 4180, UTF-8. Text that a spreadsheet would take for a formula has an apostrophe before it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([column.name for column in columns])
    for row in rows:
        writer.writerow([_cell(column.kind, row.get(column.name)) for column in columns])
    return out.getvalue()


def harmless(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.lstrip(" \u00a0").startswith(_FORMULA) or text.startswith("'") else text


def parquet_of(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Apache Parquet: money as decimals of ten places, counts as 64-bit integers."""
    arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    kinds = {"text": arrow.string(), "whole": arrow.int64(), "usd": arrow.decimal128(30, 10)}
    arrays = [arrow.array([row.get(column.name) for row in rows], kinds[column.kind]) for column in columns]
    sink = io.BytesIO()
    parquet.write_table(arrow.table(arrays, names=[column.name for column in columns]), sink)
    return sink.getvalue()


def _cell(kind: Kind, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return plain(value)
    return harmless(str(value)) if kind == "text" else str(value)
