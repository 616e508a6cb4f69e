"""States as the partial indexes of ``tables`` name them, said in the text of a query.

A parameter hides from both planners what it will be: that the index of ready steps has all rows with ``state = ?``
neither of them believes. So the states are literals here, and a query of one state of several says the whole condition
of its index as well.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    FromClause,
    and_,
    literal_column,
    select,
)

from gateway.engine.states import RUN_LIVE
from gateway.store.tables import run, step

_LEASED, _RESTING = ("queued", "running"), ("parked", "gathering")
_UNBEGUN = ("waiting", "held")
_STEP_BAD, _RUN_BAD = ("failed", "cancelled", "skipped"), ("failed", "cancelled")


def _said(column: Column[Any] | ColumnElement[Any], states: Collection[str]) -> ColumnElement[bool]:
    literals: list[ColumnElement[str]] = [literal_column(f"'{state}'") for state in states]
    return column == literals[0] if len(literals) == 1 else column.in_(literals)


def _one(column: Column[Any] | ColumnElement[Any], states: Collection[str], state: str | None) -> ColumnElement[bool]:
    whole = _said(column, states)
    return whole if state is None else and_(whole, _said(column, (state,)))


def waiting(of: FromClause = step) -> ColumnElement[bool]:
    """Of steps: waiting; of items these are an index."""
    return _said(of.c.state, ("waiting",))


def ready(of: FromClause = step) -> ColumnElement[bool]:
    """Of steps: ready."""
    return _said(of.c.state, ("ready",))


def leased(state: str | None = None, of: FromClause = step) -> ColumnElement[bool]:
    """Of steps: handed out to a worker; or the one of these states."""
    return _one(of.c.state, _LEASED, state)


def resting(state: str | None = None, of: FromClause = step) -> ColumnElement[bool]:
    """Of steps: parked, or gathering; or the one of these."""
    return _one(of.c.state, _RESTING, state)


def ended_badly(state: str | None = None, of: FromClause = step) -> ColumnElement[bool]:
    """Of steps: ended, but not completed; or the one of these states."""
    return _one(of.c.state, _STEP_BAD, state)


def live(status: str | None = None, of: FromClause = run) -> ColumnElement[bool]:
    """Of runs: not ended; or the one of these statuses."""
    return _one(of.c.status, RUN_LIVE, status)


def run_is(status: str) -> ColumnElement[bool]:
    """Of runs: that status, by its index where it has one."""
    if status in RUN_LIVE:
        return live(status)
    return _one(run.c.status, _RUN_BAD, status) if status in _RUN_BAD else run.c.status == status


def unbegun() -> ColumnElement[bool]:
    """Of steps: waiting or held. There is no index of them, which each step would be written into: they are found by
    their runs, which have not ended."""
    return and_(_said(step.c.state, _UNBEGUN), step.c.run_id.in_(select(run.c.run_id).where(live())))


def steps_in(states: Collection[str]) -> list[ColumnElement[bool]] | None:
    """Of steps: any of these states, a condition for each index that has some of them; ``None``: those of one state can
    only be looked for."""
    parts = []
    for group in (("ready",), _LEASED, _RESTING, _STEP_BAD, _UNBEGUN):
        if asked := [state for state in group if state in states]:
            whole = unbegun() if group is _UNBEGUN else _said(step.c.state, group)
            parts.append(and_(whole, _said(step.c.state, asked)))
    known = {"ready", *_LEASED, *_RESTING, *_STEP_BAD, *_UNBEGUN}
    return parts if known.issuperset(states) else None
