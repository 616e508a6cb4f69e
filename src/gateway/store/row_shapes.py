"""Rows of the tables ``run`` and ``step`` as the engine sees them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import Connection, Row

from gateway.engine.rows import RunRow, StepRow
from gateway.engine.step_definition import StepDefinition
from gateway.models.run_budget import Bound
from gateway.security.access import Caller
from gateway.store.large_values import CLAIM, fetch

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
    _decode(values, _OF_RUN, connection)
    values["bounds"] = _BOUNDS.decode(values["bounds"]) if values["bounds"] else ()
    values["caller"] = _caller_of(values["caller"])
    return RunRow(**values)


def step_of(row: Row[Any], connection: Connection | None = None) -> StepRow:
    """A row of the table ``step``, as ``run_of``."""
    return step_from(dict(row._mapping), connection)


def step_from(values: dict[str, Any], connection: Connection | None) -> StepRow:
    """As ``step_of``, of columns by name; changes them."""
    _decode(values, OF_STEP, connection)
    values["spec"] = spec_of(values["spec"])
    return StepRow(**values)


@lru_cache(maxsize=4096)
def spec_of(text: str) -> StepDefinition:
    """The column ``spec``. Every step of a definition is read many times, and changed by nobody."""
    return _SPEC.decode(text)


@lru_cache(maxsize=1024)
def _caller_of(text: str) -> Caller:
    """The column ``caller``: most runs of somebody have the same, and nobody changes it."""
    return _CALLER.decode(text)


def _decode(values: dict[str, Any], names: Sequence[str], connection: Connection | None) -> None:
    """Columns of JSON, decoded where they are."""
    for name in names:
        text = values[name]
        if text is None:
            continue
        if connection is not None and text.startswith(CLAIM):
            values[name] = fetch(connection, text)
        else:
            values[name] = msgspec.json.decode(text)
