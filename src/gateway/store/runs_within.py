"""The runs that are steps of a run, or items of its lists, for people: a page of them, and what they come to."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Row, Select, func, select

from gateway.store.charged import spent_by
from gateway.store.tables import run, step

#: The list of which the step is an item.
_WHOLE = step.alias("whole")
#: The step that people see.
_SHOWN = func.coalesce(_WHOLE.c.step_id, step.c.step_id)


class ChildRun(Struct, frozen=True):
    """A run within a run: its step, its place in a list, and what it was charged so far with all within it, in units
    and tokens. Times in microseconds."""

    run_id: str
    workflow_id: str
    status: str
    progress: float
    created_at: int
    started_at: int | None
    completed_at: int | None
    step_id: str
    item_index: int | None
    cost: int
    tokens: int


class RunsOfStep(Struct, frozen=True):
    """All runs of one step in numbers: how many there are of each status, and what they were charged."""

    step_id: str
    by_status: dict[str, int]
    cost: int
    tokens: int


def children_of(
    connection: Connection, run_id: str, *, step_id: str | None, status: str | None, before: str | None, limit: int
) -> list[ChildRun]:
    """Newest first, with ids below ``before``."""
    names = ("run_id", "workflow_id", "status", "progress", "created_at", "started_at", "completed_at")
    query = _children(run_id, *(run.c[name] for name in names), _SHOWN.label("step_id"), step.c.item_index)
    for column, value in ((_SHOWN, step_id), (run.c.status, status)):
        if value is not None:
            query = query.where(column == value)
    if before is not None:
        query = query.where(run.c.run_id < before)
    rows = connection.execute(query.order_by(run.c.run_id.desc()).limit(limit)).all()
    ids = [row.run_id for row in rows]
    spent = spent_by(connection, select(run.c.run_id, run.c.run_id.label("top")).where(run.c.run_id.in_(ids)))
    return [_child(row, *spent.get(row.run_id, (0, 0))) for row in rows]


def steps_with_runs(connection: Connection, run_id: str) -> list[RunsOfStep]:
    """By the steps' ids; only those that have begun a run."""
    query = _children(run_id, _SHOWN.label("step_id"), run.c.status, func.count().label("runs"))
    counts: dict[str, dict[str, int]] = {}
    for row in connection.execute(query.group_by(_SHOWN, run.c.status).order_by(_SHOWN, run.c.status)):
        counts.setdefault(row.step_id, {})[row.status] = int(row.runs)
    spent = spent_by(connection, _children(run_id, run.c.run_id, _SHOWN.label("top"))) if counts else {}
    return [RunsOfStep(name, by_status, *spent.get(name, (0, 0))) for name, by_status in counts.items()]


def _child(row: Row[Any], cost: int, tokens: int) -> ChildRun:
    return ChildRun(**row._mapping, cost=cost, tokens=tokens)


def _children(run_id: str, *columns: ColumnElement[Any]) -> Select[Any]:
    joined = run.join(step, step.c.task_id == run.c.parent_task).outerjoin(_WHOLE, _WHOLE.c.task_id == step.c.parent)
    return select(*columns).select_from(joined).where(run.c.parent_run == run_id)
