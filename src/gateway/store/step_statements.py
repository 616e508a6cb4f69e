"""What every step of a run costs: the statements that claim it, end it, and tell what follows; see ``prepared``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    ColumnElement,
    Table,
    Text,
    any_,
    bindparam,
    case,
    cast,
    func,
    insert,
    literal_column,
    select,
    text,
    update,
)

from gateway.store.indexed_states import ready, waiting
from gateway.store.prepared import Prepared
from gateway.store.tables import definition, event, run, step

_RUN = run.c.run_id == bindparam("of_run")
_TASK = step.c.task_id == bindparam("of_task")
_HELD = (_TASK, step.c.token == bindparam("held"))
_SHOWN = step.c.parent.is_(None)  # items are counted in their steps


def _insert(table: Table) -> Prepared:
    """A whole row; column ``c`` is named ``new_c``, for SQLAlchemy keeps the columns' own names for itself."""
    return Prepared(insert(table).values({column.key: bindparam(f"new_{column.key}") for column in table.c}))


INSERT_RUN = _insert(run)


def new_row(table: Table, values: Mapping[str, Any]) -> dict[str, Any]:
    """A row for one of these, with the defaults of columns that are not named."""
    return {f"new_{name}": value for name, value in whole_row(table, values).items()}


def whole_row(table: Table, values: Mapping[str, Any]) -> dict[str, Any]:
    """A row by its columns, with the defaults of those that are not named."""
    return {name: values.get(name, default) for name, default in _defaults(table)}


@cache
def _defaults(table: Table) -> tuple[tuple[str, Any], ...]:
    return tuple((column.key, _default(column)) for column in table.c)


def _default(column: Column[Any]) -> Any:
    """Of the schema: a value, or the literal of the server."""
    if column.default is not None:
        return column.default.arg  # type: ignore[attr-defined]
    if column.server_default is None:
        return None
    said = str(column.server_default.arg)  # type: ignore[attr-defined]
    return column.type.python_type(0 if said == "false" else said)


FIND_RUN = Prepared(select(run).where(_RUN))


def _among(column: Column[Any], name: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """``column`` is one of a list, whose length the statement does not say; for SQLite, and for PostgreSQL."""
    values = func.json_each(bindparam(name, type_=Text)).table_valued("value")
    array = cast(bindparam(name, type_=Text), ARRAY(Text))
    return column.in_(select(values.c.value)), column == any_(array)


_OF_RUNS, _ITEMS = _among(run.c.run_id, "runs"), _among(step.c.task_id, "tasks")
LOCK_RUNS = Prepared(
    select(run).where(_OF_RUNS[0]),
    postgresql=select(run).where(_OF_RUNS[1]).order_by(run.c.run_id).with_for_update(),
)

NEWEST_DEFINITION = Prepared(
    select(definition)
    .where(definition.c.workflow_id == bindparam("of_workflow"))
    .order_by(definition.c.created_at.desc())
    .limit(1)
)

FIND_STEP = Prepared(select(step).where(_TASK))
_RUN_OF = select(step.c.run_id)
RUNS_OF = Prepared(_RUN_OF.where(_ITEMS[0]), postgresql=_RUN_OF.where(_ITEMS[1]))
STEPS_OF_RUN = Prepared(select(step).where(step.c.run_id == bindparam("of_run"), _SHOWN).order_by(step.c.position))
#: Which transaction wrote a row: for SQLite, which cannot say, and for PostgreSQL.
_VERSIONS = [literal_column(said, Text).label("version") for said in ("''", "CAST(step.xmin AS TEXT)")]
_STEPS = [
    select(step, version).where(one, _SHOWN)
    for version, one in zip(_VERSIONS, _among(step.c.run_id, "runs"), strict=True)
]
STEPS_OF_RUNS = Prepared(_STEPS[0], postgresql=_STEPS[1])
_BOTH = [
    steps.union_all(select(step, version).where(items))
    for steps, version, items in zip(_STEPS, _VERSIONS, _ITEMS, strict=True)
]
#: The steps of some runs, and some items.
STEPS_AND_ITEMS = Prepared(_BOTH[0], postgresql=_BOTH[1])
#: Which transactions wrote the steps of some runs, where the database says it; and PostgreSQL's number of this one.
_WRITTEN_BY = [
    select(step.c.run_id, step.c.task_id, version).where(one, _SHOWN)
    for version, one in zip(_VERSIONS, _among(step.c.run_id, "runs"), strict=True)
]
VERSIONS_OF_STEPS = Prepared(_WRITTEN_BY[0], postgresql=_WRITTEN_BY[1])
TRANSACTION = Prepared(text("SELECT CAST(CAST(pg_current_xact_id() AS xid) AS TEXT) AS version").columns(version=Text))
#: SQLite's alone: another number after each commit of another connection.
DATA_VERSION = Prepared(text("PRAGMA data_version").columns(data_version=BigInteger))

_due = step.alias("due")
# Not by OR: PostgreSQL would look at every ready step of all runs.
_OWN = select(cast(bindparam("of_run"), Text))
_BEGUN = select(run.c.run_id).where(run.c.parent_run == bindparam("of_run"))
_READY = ready(_due)
_DUE = (
    select(_due.c.task_id)
    .where(_READY, _due.c.not_before <= bindparam("now"))
    .where(_due.c.run_id.in_(_OWN.union_all(_BEGUN)))
    .order_by(_due.c.priority.desc(), _due.c.created_at, _due.c.position)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
#: Ready steps of a run, and of the runs that it began.
LOCK_READY = Prepared(
    select(_due)
    .where(_READY, _due.c.not_before <= bindparam("now"))
    .where(_due.c.run_id.in_(_OWN.union_all(_BEGUN)))
    .order_by(_due.c.priority.desc(), _due.c.created_at, _due.c.position)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
#: ready → queued of a run's steps, and of those of the runs that they began; one with limits stays as it is.
HAND_OUT_OF_RUN = Prepared(
    update(step)
    .where(step.c.task_id.in_(_DUE))
    .values(
        state=case((step.c.limited, "ready"), else_="queued"),
        token=step.c.token + case((step.c.limited, 0), else_=1),
        lease_until=case((step.c.limited, step.c.lease_until), else_=bindparam("new_lease", type_=BigInteger)),
    )
    .returning(
        step.c.task_id,
        step.c.token,
        step.c.queue,
        step.c.priority,
        step.c.created_at,
        step.c.position,
        step.c.limited,
        step.c.run_id,
    )
)
ANY_READY = Prepared(
    select(step.c.task_id)
    .where(step.c.run_id == bindparam("of_run"), ready(), step.c.not_before <= bindparam("now"))
    .limit(1)
)
TALLY = Prepared(
    select(step.c.role, step.c.state, func.count().label("rows"), func.sum(step.c.progress).label("progress"))
    .where(step.c.run_id == bindparam("of_run"), _SHOWN)
    .group_by(step.c.role, step.c.state)
)
ITEMS_ENDED = Prepared(
    select(step.c.item_index, step.c.state, step.c.output, step.c.error)
    .where(step.c.parent == bindparam("of_task"))
    .order_by(step.c.item_index)
)
#: The first item that waits begins, of so many as have ended.
FOLLOWING_ITEMS = Prepared(
    update(step)
    .where(
        step.c.task_id.in_(
            select(_due.c.task_id)
            .where(_due.c.parent == bindparam("of_task"), waiting(_due))
            .order_by(_due.c.item_index)
            .limit(bindparam("most"))
        )
    )
    .values(state="ready")
)


class UpdateMany(NamedTuple):
    """Sets columns of many rows that are as their keys say: ``whole`` is given an array for each of ``names``, on
    PostgreSQL; ``each`` is done for each row. ``texts``: which of the columns are text."""

    names: tuple[str, ...]
    texts: tuple[bool, ...]
    whole: Prepared
    each: Prepared


def _update_many(table: Table, keys: tuple[str, ...], columns: tuple[str, ...]) -> UpdateMany:
    pairs = [(f"key_{name}", table.c[name]) for name in keys] + [(f"new_{name}", table.c[name]) for name in columns]
    arrays = ", ".join(f"CAST(:{name} AS {column.type}[])" for name, column in pairs)
    sets = ", ".join(f"{name} = given.new_{name}" for name in columns)
    where = " AND ".join(f"{table.name}.{name} = given.key_{name}" for name in keys)
    given = ", ".join(name for name, _ in pairs)
    # The first key is asked twice: PostgreSQL, which knows not how long the arrays are, would read the whole table.
    some = f"{table.name}.{keys[0]} = ANY (CAST(:key_{keys[0]} AS TEXT[]))"
    whole = f"UPDATE {table.name} SET {sets} FROM unnest({arrays}) AS given({given}) WHERE {some} AND {where}"  # noqa: S608
    each = (
        update(table)
        .where(*(table.c[name] == bindparam(f"key_{name}") for name in keys))
        .values({name: bindparam(f"new_{name}") for name in columns})
    )
    texts = tuple(isinstance(column.type, Text) for _, column in pairs)
    return UpdateMany(tuple(name for name, _ in pairs), texts, Prepared(text(whole)), Prepared(each))


#: What changes of a step, and of a run, once it is there.
WRITTEN_STEP = (
    "state", "waiting_on", "token", "lease_until", "attempts", "worker", "input", "output", "published", "error",
    "progress", "progress_note", "started_at", "completed_at", "gated", "wake_at", "decision", "record",
)  # fmt: skip
WRITTEN_RUN = (
    "status", "progress", "started_at", "completed_at", "output", "error", "cancel_requested", "deadline",
)  # fmt: skip
UPDATE_MANY = {
    "step": _update_many(step, ("task_id", "token", "state"), WRITTEN_STEP),
    "run": _update_many(run, ("run_id",), WRITTEN_RUN),
}

COUNT_ON = Prepared(
    text(
        "INSERT INTO counter (name, value) VALUES (:name, :count) "
        "ON CONFLICT (name) DO UPDATE SET value = counter.value + :count RETURNING value"
    ).columns(value=BigInteger)
)


#: The same with the events themselves, an array for each column; PostgreSQL's alone.
COUNT_AND_ADD_EVENTS = Prepared(
    text(
        "WITH counted AS (INSERT INTO counter (name, value) VALUES (:name, :count) "
        "ON CONFLICT (name) DO UPDATE SET value = counter.value + :count RETURNING value) "
        "INSERT INTO event (id, type, run_id, task_id, owner, payload, created_at) "
        "SELECT counted.value - :count + given.place, given.type, given.run_id, given.task_id, given.owner, "
        "given.payload, :now FROM counted, unnest(CAST(:types AS TEXT[]), CAST(:runs AS TEXT[]), "
        "CAST(:tasks AS TEXT[]), CAST(:owners AS TEXT[]), CAST(:payloads AS TEXT[])) "
        "WITH ORDINALITY AS given (type, run_id, task_id, owner, payload, place)"
    ).bindparams(bindparam("count", type_=BigInteger), bindparam("now", type_=BigInteger))
)


@cache
def add_events(count: int) -> Prepared:
    """Inserts so many at once; column ``c`` of the n-th is named ``c_n``."""
    rows: list[dict[str, Any]] = [
        {column.key: bindparam(f"{column.key}_{at}") for column in event.c} for at in range(count)
    ]
    return Prepared(insert(event).values(rows))
