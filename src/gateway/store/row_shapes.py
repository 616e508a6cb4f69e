"""Rows of the tables ``run`` and ``step`` as the engine sees them."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Row

from gateway.engine.rows import RunRow, StepRow
from gateway.engine.step_definition import StepDefinition
from gateway.security.access import Caller
from gateway.store.codec import from_json

_CALLER = msgspec.json.Decoder(Caller)
_SPEC = msgspec.json.Decoder(StepDefinition)
_OF_RUN = ("input", "output", "error", "metadata", "output_mapping", "origin", "pins")
_OF_STEP = ("input", "output", "published", "error", "item", "decision", "record")


def run_of(row: Row[Any]) -> RunRow:
    """A row of the table ``run``."""
    values = dict(row._mapping)
    for name in _OF_RUN:
        values[name] = from_json(values[name])
    values["caller"] = _CALLER.decode(values["caller"])
    return RunRow(**values)


def step_of(row: Row[Any]) -> StepRow:
    """A row of the table ``step``."""
    values = dict(row._mapping)
    for name in _OF_STEP:
        values[name] = from_json(values[name])
    values["spec"] = _SPEC.decode(values["spec"])
    return StepRow(**values)
