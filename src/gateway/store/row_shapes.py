"""Rows of the tables ``run`` and ``step`` as the engine sees them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import Connection, Row

from gateway.engine.rows import RunRow, StepRow
from gateway.engine.step_definition import StepDefinition
from gateway.models.run_budget import Bound
from gateway.security.access import Caller
from gateway.store.codec import from_json
from gateway.store.large_values import fetch

_CALLER = msgspec.json.Decoder(Caller)
_BOUNDS = msgspec.json.Decoder(tuple[Bound, ...])
_SPEC = msgspec.json.Decoder(StepDefinition)
_OF_RUN = ("input", "output", "error", "metadata", "output_mapping", "origin", "pins")
#: Columns of a step that are JSON, and what is made of them.
OF_STEP = ("input", "output", "published", "error", "item", "decision", "record")


def run_of(row: Row[Any], connection: Connection | None = None) -> RunRow:
    """A row of the table ``run``. Without a ``connection`` large values stay claim checks (lists need none)."""
    return run_from(dict(row._mapping), connection)


def run_from(values: dict[str, Any], connection: Connection | None) -> RunRow:
    """As ``run_of``, of columns by name; changes them."""
    for name in _OF_RUN:
        values[name] = _value(values[name], connection)
    values["bounds"] = _BOUNDS.decode(values["bounds"]) if values["bounds"] else ()
    values["caller"] = _CALLER.decode(values["caller"])
    return RunRow(**values)


def step_of(row: Row[Any], connection: Connection | None = None) -> StepRow:
    """A row of the table ``step``, as ``run_of``."""
    return step_from(dict(row._mapping), connection)


def step_from(values: dict[str, Any], connection: Connection | None) -> StepRow:
    """As ``step_of``, of columns by name; changes them."""
    for name in OF_STEP:
        if values[name] is not None:
            values[name] = _value(values[name], connection)
    values["spec"] = spec_of(values["spec"])
    return StepRow(**values)


@lru_cache(maxsize=4096)
def spec_of(text: str) -> StepDefinition:
    """The column ``spec``. Every step of a definition is read many times, and changed by nobody."""
    return _SPEC.decode(text)


def _value(text: str | None, connection: Connection | None) -> Any:
    return from_json(text) if connection is None else fetch(connection, text)
