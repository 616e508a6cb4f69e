"""Rows of the tables ``run`` and ``step`` as the engine sees them."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection, Row

from gateway.engine.rows import RunRow, StepRow
from gateway.engine.step_definition import StepDefinition
from gateway.security.access import Caller
from gateway.store.codec import from_json
from gateway.store.large_values import fetch

_CALLER = msgspec.json.Decoder(Caller)
_SPEC = msgspec.json.Decoder(StepDefinition)
_OF_RUN = ("input", "output", "error", "metadata", "output_mapping", "origin", "pins")
_OF_STEP = ("input", "output", "published", "error", "item", "decision", "record")


def run_of(row: Row[Any], connection: Connection | None = None) -> RunRow:
    """A row of the table ``run``. Without a ``connection`` large values stay claim checks (lists need none)."""
    values = dict(row._mapping)
    for name in _OF_RUN:
        values[name] = _value(values[name], connection)
    values["caller"] = _CALLER.decode(values["caller"])
    return RunRow(**values)


def step_of(row: Row[Any], connection: Connection | None = None) -> StepRow:
    """A row of the table ``step``, as ``run_of``."""
    values = dict(row._mapping)
    for name in _OF_STEP:
        values[name] = _value(values[name], connection)
    values["spec"] = _SPEC.decode(values["spec"])
    return StepRow(**values)


def _value(text: str | None, connection: Connection | None) -> Any:
    return from_json(text) if connection is None else fetch(connection, text)
