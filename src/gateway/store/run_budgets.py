"""Budgets that come with a run: those of its steps, set with it; and the end of them all after it."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, FromClause, case, delete, exists, insert, or_, select, update

from gateway.engine.rows import NewRun
from gateway.engine.states import RUN_ENDED
from gateway.ledger.budget import Budget, named_id
from gateway.models.run_budget import bounds_of_step
from gateway.money import exact_units
from gateway.store.budget_store import VERSION, lock_budgets, values_of
from gateway.store.engine import Database, next_value
from gateway.store.indexed_states import leased, live
from gateway.store.tables import budget, budget_lease, run, step

#: So many are ended in one transaction.
_MOST = 500


def set_step_budgets(connection: Connection, new: NewRun, now: int) -> None:
    """Within the transaction that makes the run: no call of a step is made before its budget is there. Calls find it
    by its name, so nobody has to hear of it."""
    rows = []
    for item in new.steps:
        asked = item.spec.budget
        if asked is None or item.reused is not None:
            continue
        (bound,) = bounds_of_step(new.run_id, item.spec.step_id, asked)
        made = Budget(
            budget_id=named_id(bound.subject),
            scope=bound.scope,
            subject=bound.subject,
            window="lifetime",
            limit=exact_units(asked.limit_usd),
            window_start=0,
            created_by=new.caller.principal,
            created_at=now,
            parent=new.run_id,
        )
        rows.append(values_of(made))
    if rows:
        connection.execute(insert(budget), rows)


class RunBudgetEnds:
    """``sweep`` ends the budgets of runs and of their steps once nothing more can be charged to them, neither by
    the run nor by any within it, however deep."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def sweep(self) -> int:
        """How many were ended, with the empty shares of processes in them."""
        whose = case((budget.c.scope == "step", budget.c.parent), else_=budget.c.subject)
        within = run.alias("within")
        near = or_(within.c.run_id == run.c.run_id, within.c.parent_run == run.c.run_id)
        over = (
            select(budget.c.budget_id, budget.c.parent.is_(None).label("listed"), run.c.run_id)
            .join(run, run.c.run_id == whose)
            .where(budget.c.active, budget.c.scope.in_(("run", "step")), run.c.status.in_(RUN_ENDED))
            .where(~exists().where(near, _busy(within)))
            .limit(_MOST)
        )
        with self._database.read() as connection:
            rows = connection.execute(over).all()
            deep = _busy_within(connection, {row.run_id for row in rows})
            found = {row.budget_id: row.listed for row in rows if row.run_id not in deep}
        ended = sorted(found)
        if not ended:
            return 0
        with self._database.begin() as connection:
            lock_budgets(connection, ended)
            connection.execute(update(budget).where(budget.c.budget_id.in_(ended)).values(active=False))
            empty = (budget_lease.c.budget_id.in_(ended), budget_lease.c.amount == 0)
            connection.execute(delete(budget_lease).where(*empty))
            if any(found.values()):  # of those that are found by name nobody has to hear
                next_value(connection, VERSION)
        return len(ended)


def _busy(within: FromClause) -> ColumnElement[bool]:
    """Whether the run may still be charged."""
    works = select(step.c.run_id).where(leased("running"))
    return or_(live(of=within), within.c.run_id.in_(works))


def _busy_within(connection: Connection, run_ids: set[str]) -> set[str]:
    """Of these runs those with one somewhere within that may still be charged: however deep, and though all between
    them have ended. (The near ones are asked before, so that they take no places of the ``_MOST``.)"""
    if not run_ids:
        return set()
    tree = select(run.c.run_id, run.c.run_id.label("top")).where(run.c.run_id.in_(run_ids)).cte("tree", recursive=True)
    whole = tree.union_all(select(run.c.run_id, tree.c.top).join(tree, run.c.parent_run == tree.c.run_id))
    busy = select(whole.c.top).distinct().join(run, run.c.run_id == whole.c.run_id).where(_busy(run))
    return set(connection.scalars(busy))
