"""Budgets that come with a run: those of its steps, set with it; and the end of them all after it."""

from __future__ import annotations

from sqlalchemy import Connection, case, delete, exists, insert, or_, select, update

from gateway.engine.rows import NewRun
from gateway.engine.states import RUN_ENDED, RUN_LIVE
from gateway.ledger.budget import Budget, named_id
from gateway.models.run_budget import bounds_of_step
from gateway.money import exact_units
from gateway.store.budget_store import VERSION, lock_budgets, values_of
from gateway.store.engine import Database, next_value
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
    """``sweep`` ends the budgets of runs and of their steps once nothing more can be charged to them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def sweep(self) -> int:
        """How many were ended, with the empty shares of processes in them."""
        whose = case((budget.c.scope == "step", budget.c.parent), else_=budget.c.subject)
        within = run.alias("within")
        busy = (
            exists()
            .where(or_(within.c.run_id == run.c.run_id, within.c.parent_run == run.c.run_id))
            .where(
                or_(
                    within.c.status.in_(RUN_LIVE),
                    exists().where(step.c.run_id == within.c.run_id, step.c.state == "running"),
                )
            )
        )
        over = (
            select(budget.c.budget_id, (budget.c.parent.is_(None)).label("listed"))
            .join(run, run.c.run_id == whose)
            .where(budget.c.active, budget.c.scope.in_(("run", "step")), run.c.status.in_(RUN_ENDED), ~busy)
            .limit(_MOST)
        )
        with self._database.read() as connection:
            found = {row.budget_id: row.listed for row in connection.execute(over)}
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
