"""JSON in a text written shorter: without white space, and lists of like objects as a table.

Digits and the order of keys stay as they are; in a table, escapes may become the characters that they
stand for. A table is ``{"columns": […], "rows": [[…], …]}`` and can be turned back (``expanded``);
where that would not give the very same data, the list stays a list.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from json.encoder import encode_basestring
from typing import Any, NoReturn

from msgspec import Struct

#: Fewer objects than this are no table.
LEAST_ROWS = 3
_START = re.compile(r"^[ \t]*(?=[\[{])", re.MULTILINE)
_REST = re.compile(r"[ \t]*(?:\r?\n|\Z)")
_SPACE = re.compile(r'("(?:[^"\\]|\\.)*")|[ \t\r\n]+')
#: A text in which so many brackets begin no JSON is not searched further.
_MOST_FAILURES = 64
_TABLE = ["columns", "rows"]


class _Number(Struct, frozen=True):
    """A number as it is written."""

    text: str


class _KeyTwice(ValueError):
    pass


def compacted(text: str, *, tables: bool) -> str:
    """The text with every JSON object and list that fills whole lines written shorter."""
    done: list[str] = []
    at = failures = 0
    while failures < _MOST_FAILURES:
        start = _START.search(text, at)
        if start is None:
            break
        end = _end_of_value(text, start.end())
        if end is None:
            failures += 1
            done.append(text[at : start.end() + 1])
            at = start.end() + 1
            continue
        done += [text[at : start.end()], _shorter(text[start.end() : end], tables=tables)]
        at = end
    return "".join(done) + text[at:]


def expanded(text: str) -> str:
    """The JSON with its tables as lists of objects again, without white space."""
    return _written(_unpacked(_decoder().decode(text)))


def _end_of_value(text: str, start: int) -> int | None:
    """Where the JSON ends that begins here; ``None`` where it is none, or more follows on its last line."""
    try:
        _, end = _plain_decoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    return end if _REST.match(text, end) else None


def _shorter(raw: str, *, tables: bool) -> str:
    minified = _SPACE.sub(lambda found: found.group(1) or "", raw)
    if not tables:
        return minified
    try:
        value = _decoder().decode(raw)
        packed = _packed(value)
        if packed == value:
            return minified
        table = _written(packed)
        if len(table) < len(minified) and _written(_unpacked(packed)) == _written(value):
            table.encode()  # a lone surrogate is kept as the escape that it was
            return table
    except (_KeyTwice, RecursionError, UnicodeEncodeError):
        return minified
    return minified


def _packed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _packed(item) for key, item in value.items()}
    if not isinstance(value, list):
        return value
    if len(value) >= LEAST_ROWS and all(isinstance(item, dict) for item in value):
        columns = list(value[0])
        if columns and all(list(item) == columns for item in value):
            return {"columns": columns, "rows": [[_packed(cell) for cell in item.values()] for item in value]}
    return [_packed(item) for item in value]


def _unpacked(value: Any) -> Any:
    if isinstance(value, list):
        return [_unpacked(item) for item in value]
    if not isinstance(value, dict):
        return value
    if list(value) == _TABLE and _is_table(value["columns"], value["rows"]):
        columns = value["columns"]
        return [dict(zip(columns, map(_unpacked, row), strict=True)) for row in value["rows"]]
    return {key: _unpacked(item) for key, item in value.items()}


def _is_table(columns: Any, rows: Any) -> bool:
    return (
        isinstance(columns, list)
        and isinstance(rows, list)
        and len(rows) >= LEAST_ROWS
        and bool(columns)
        and all(isinstance(name, str) for name in columns)
        and len(set(columns)) == len(columns)
        and all(isinstance(row, list) and len(row) == len(columns) for row in rows)
    )


def _written(value: Any) -> str:
    """As JSON without white space, numbers as they were."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{encode_basestring(key)}:{_written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    if isinstance(value, _Number):
        return value.text
    if isinstance(value, str):
        return str(encode_basestring(value))
    return "null" if value is None else "true" if value else "false"


def _decoder() -> json.JSONDecoder:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(items)
        if len(made) < len(items):
            raise _KeyTwice
        return made

    return json.JSONDecoder(parse_int=_Number, parse_float=_Number, parse_constant=_refuse, object_pairs_hook=pairs)


def _plain_decoder() -> json.JSONDecoder:
    keep: Callable[[str], str] = str
    return json.JSONDecoder(parse_int=keep, parse_float=keep, parse_constant=_refuse)


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
