"""What runs and steps were charged so far: a step with its items, and a run with all the runs within it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import CTE, ColumnElement, Connection, Select, bindparam, func, or_, select

from gateway.store.prepared import Prepared
from gateway.store.tables import entry, run, step

#: The step that people see of an item is the one that has it.
_SHOWN = func.coalesce(step.c.parent, step.c.task_id)
_SUM = func.sum(entry.c.cost).label("cost")
_TOKENS = func.sum(entry.c.input_tokens + entry.c.output_tokens).label("tokens")


def _own(steps: ColumnElement[bool], top: ColumnElement[str] = _SHOWN) -> Select[str, Any]:
    """By ``top``: the entries of the steps and items that are meant."""
    own = select(top.label("top"), _SUM).select_from(entry.join(step, step.c.task_id == entry.c.task_id))
    return own.where(steps).group_by(top)


def _within(steps: ColumnElement[bool], top: ColumnElement[str] = _SHOWN) -> Select[Any]:
    """By ``top``: the entries of the runs that these steps and items are, and of all within those."""
    first = select(run.c.run_id, top.label("top")).select_from(run.join(step, step.c.task_id == run.c.parent_task))
    return _summed(first.where(steps).cte("within", recursive=True))


def _summed(within: CTE, *sums: ColumnElement[Any]) -> Select[Any]:
    """The entries of these runs, and of the runs within them, by what each is counted to."""
    deeper = select(run.c.run_id, within.c.top).join(within, run.c.parent_run == within.c.run_id)
    whole = within.union_all(deeper)
    found = select(whole.c.top, *(sums or (_SUM,))).select_from(entry.join(whole, whole.c.run_id == entry.c.run_id))
    return found.group_by(whole.c.top)


_OF_RUN = step.c.run_id == bindparam("of_run")
_RUN_OWN, _RUN_WITHIN = Prepared(_own(_OF_RUN & (entry.c.run_id == bindparam("of_run")))), Prepared(_within(_OF_RUN))


def charged_in_run(connection: Connection, run_id: str, *, within: bool) -> dict[str, int]:
    """Units by the task ids of the run's steps; ``within`` where one of them is a run itself."""
    rows = _RUN_OWN.all(connection, of_run=run_id)
    if within:
        rows += _RUN_WITHIN.all(connection, of_run=run_id)
    return _added([(row["top"], row["cost"]) for row in rows])


def charged_by_steps(connection: Connection, task_ids: Sequence[str]) -> dict[str, int]:
    """Units by task id."""
    if not task_ids:
        return {}
    whole = or_(step.c.task_id.in_(task_ids), step.c.parent.in_(task_ids))
    items = step.c.task_id.in_(task_ids) & step.c.parent.is_not(None)
    told = (_own(whole), _within(whole)), (_own(items, step.c.task_id), _within(items, step.c.task_id))
    steps, alone = (_added([(top, cost) for query in both for top, cost in connection.execute(query)]) for both in told)
    return steps | alone


def charged_by_runs(connection: Connection, run_ids: Sequence[str]) -> dict[str, int]:
    """Units by run id."""
    if not run_ids:
        return {}
    first = select(run.c.run_id, run.c.run_id.label("top")).where(run.c.run_id.in_(run_ids))
    return _added([(top, cost) for top, cost in connection.execute(_summed(first.cte("within", recursive=True)))])


def spent_by(connection: Connection, first: Select[Any]) -> dict[str, tuple[int, int]]:
    """Units and tokens of the runs that ``first`` selects (``run_id``, ``top``) and of those within, by ``top``."""
    rows = connection.execute(_summed(first.cte("within", recursive=True), _SUM, _TOKENS))
    return {row.top: (int(row.cost), int(row.tokens)) for row in rows}


def _added(rows: Sequence[tuple[str, int]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for top, cost in rows:
        found[top] = found.get(top, 0) + int(cost)
    return found
