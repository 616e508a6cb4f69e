"""What every step of a run costs: the statements that claim it, end it, and tell what follows; see ``prepared``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Column, Table, Text, bindparam, case, cast, func, insert, or_, select, text, update

from gateway.store.prepared import Prepared
from gateway.store.tables import definition, edge, event, run, step

_RUN = run.c.run_id == bindparam("of_run")
_TASK = step.c.task_id == bindparam("of_task")
_HELD = (_TASK, step.c.token == bindparam("held"))
_SHOWN = or_(step.c.role == "step", step.c.role == "undo")  # items are counted in their steps


def _insert(table: Table) -> Prepared:
    """A whole row; column ``c`` is named ``new_c``, for SQLAlchemy keeps the columns' own names for itself."""
    return Prepared(insert(table).values({column.key: bindparam(f"new_{column.key}") for column in table.c}))


INSERT_RUN, INSERT_STEP, INSERT_EDGE = _insert(run), _insert(step), _insert(edge)


def new_row(table: Table, values: Mapping[str, Any]) -> dict[str, Any]:
    """A row for one of these, with the defaults of columns that are not named."""
    return {f"new_{name}": values.get(name, default) for name, default in _defaults(table)}


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
LOCK_RUN = Prepared(select(run).where(_RUN).with_for_update())
SET_PROGRESS = Prepared(update(run).where(_RUN).values(progress=bindparam("new_progress")))

NEWEST_DEFINITION = Prepared(
    select(definition)
    .where(definition.c.workflow_id == bindparam("of_workflow"))
    .order_by(definition.c.created_at.desc())
    .limit(1)
)

FIND_STEP = Prepared(select(step).where(_TASK))
STEPS_OF_RUN = Prepared(select(step).where(step.c.run_id == bindparam("of_run"), _SHOWN).order_by(step.c.position))

_due = step.alias("due")
# Not by OR: PostgreSQL would look at every ready step of all runs.
_OWN = select(cast(bindparam("of_run"), Text))
_BEGUN = select(run.c.run_id).where(run.c.parent_run == bindparam("of_run"))
# Found by its run: SQLite, which knows not how many rows there are of what, would go through all that are ready.
_READY = func.coalesce(_due.c.state, "") == "ready"
_DUE = (
    select(_due.c.task_id)
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
    )
)
ANY_READY = Prepared(
    select(step.c.task_id)
    .where(step.c.run_id == bindparam("of_run"), step.c.state == "ready", step.c.not_before <= bindparam("now"))
    .limit(1)
)
#: queued → running.
START = Prepared(
    update(step)
    .where(*_HELD, step.c.state == "queued", step.c.run_id == bindparam("of_run"))
    .where(or_(step.c.role == "undo", bindparam("any_role")))
    .values(
        state="running",
        worker=bindparam("new_worker"),
        lease_until=bindparam("new_lease"),
        attempts=step.c.attempts + 1,
        started_at=func.coalesce(step.c.started_at, bindparam("now", type_=BigInteger)),
        progress=0.0,
        progress_note="",
    )
    .returning(*step.c)
)
SAVE_INPUT = Prepared(update(step).where(*_HELD, step.c.state == "running").values(input=bindparam("new_input")))
#: running → an ended state.
END = Prepared(
    update(step)
    .where(*_HELD, step.c.state == "running")
    .values(
        state=bindparam("new_state"),
        completed_at=bindparam("now"),
        lease_until=None,
        output=bindparam("new_output"),
        published=bindparam("new_published"),
        error=bindparam("new_error"),
        record=bindparam("new_record"),
        progress=case((bindparam("done"), 1.0), else_=step.c.progress),
    )
    .returning(step.c.task_id)
)
_WAITING = (
    step.c.run_id == bindparam("of_run"),
    step.c.step_id.in_(
        select(edge.c.step_id).where(edge.c.run_id == bindparam("of_run"), edge.c.depends_on == bindparam("ended"))
    ),
    step.c.state == "waiting",
    step.c.role == "step",
)
_LEFT = (step.c.task_id, step.c.state, step.c.waiting_on)
#: One dependency less; ready where it was the last and nothing more is asked.
RELEASE = Prepared(
    update(step)
    .where(*_WAITING)
    .values(
        waiting_on=step.c.waiting_on - 1,
        state=case(((step.c.waiting_on <= 1) & step.c.gated.is_(False), "ready"), else_="waiting"),
    )
    .returning(*_LEFT)
)
#: The same after a step that gave nothing: those that waited on it are asked what that means to them.
RELEASE_TO_ASK = Prepared(
    update(step).where(*_WAITING).values(waiting_on=step.c.waiting_on - 1, gated=True).returning(*_LEFT)
)
TALLY = Prepared(
    select(step.c.role, step.c.state, func.count().label("rows"), func.sum(step.c.progress).label("progress"))
    .where(step.c.run_id == bindparam("of_run"), _SHOWN)
    .group_by(step.c.role, step.c.state)
)
#: The first item that waits begins, of so many as have ended.
FOLLOWING_ITEMS = Prepared(
    update(step)
    .where(
        step.c.task_id.in_(
            select(_due.c.task_id)
            .where(_due.c.parent == bindparam("of_task"), _due.c.state == "waiting")
            .order_by(_due.c.item_index)
            .limit(bindparam("most"))
        )
    )
    .values(state="ready")
)
_LEFT_ITEMS = step.c.waiting_on - bindparam("ended", type_=BigInteger)
ITEMS_OVER = Prepared(
    update(step)
    .where(_TASK, step.c.state == "gathering")
    .values(waiting_on=_LEFT_ITEMS, progress=1 - _LEFT_ITEMS / (1.0 * bindparam("total", type_=BigInteger)))
    .returning(step.c.waiting_on)
)

COUNT_ON = Prepared(
    text(
        "INSERT INTO counter (name, value) VALUES (:name, :count) "
        "ON CONFLICT (name) DO UPDATE SET value = counter.value + :count RETURNING value"
    ).columns(value=BigInteger)
)


@cache
def add_events(count: int) -> Prepared:
    """Inserts so many at once; column ``c`` of the n-th is named ``c_n``."""
    rows: list[dict[str, Any]] = [
        {column.key: bindparam(f"{column.key}_{at}") for column in event.c} for at in range(count)
    ]
    return Prepared(insert(event).values(rows))
