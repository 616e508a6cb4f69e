"""Runs that are steps of others, in SQL: see ``engine.children``."""

from __future__ import annotations

from sqlalchemy import or_, select

from gateway.engine.definition import WorkflowDefinition
from gateway.engine.rows import RunRow
from gateway.engine.states import RUN_ENDED
from gateway.store.indexed_states import live, resting
from gateway.store.row_shapes import run_of
from gateway.store.step_image import ImageTx
from gateway.store.tables import definition, run, step


class ChildQueries(ImageTx):
    """The part of ``EngineTx`` that knows of runs within runs."""

    def definition(self, version: str) -> WorkflowDefinition | None:
        """The definition of that hash."""
        body = self.raw.scalar(select(definition.c.body).where(definition.c.hash == version))
        return None if body is None else WorkflowDefinition.decode(body)

    def children_ended(self, limit: int) -> list[tuple[str, RunRow]]:
        """Steps that wait for a run which has ended."""
        query = (
            select(run)
            .join(step, step.c.task_id == run.c.parent_task)
            .where(resting("gathering"), run.c.status.in_(RUN_ENDED))
            .limit(limit)
        )
        return [(row.parent_task, run_of(row, self.raw)) for row in self.settled.execute(query).all()]

    def children_live(self, run_id: str) -> list[str]:
        """Runs that are steps of this one and have not ended."""
        query = select(run.c.run_id).where(run.c.parent_run == run_id, live())
        return list(self.settled.scalars(query.order_by(run.c.created_at, run.c.run_id)))

    def children_unwanted(self, limit: int) -> list[str]:
        """Runs that go on although their step has ended, or is to end, or was the item of a list that has."""
        parent, whole = run.alias("parent"), step.alias("whole")
        query = (
            select(run.c.run_id)
            .join(step, step.c.task_id == run.c.parent_task)
            .join(parent, parent.c.run_id == run.c.parent_run)
            .outerjoin(whole, whole.c.task_id == step.c.parent)
            .where(run.c.parent_run.is_not(None), live(), run.c.cancel_requested.is_(False))
            .where(or_(step.c.state != "gathering", whole.c.state != "gathering", parent.c.cancel_requested.is_(True)))
            .limit(limit)
        )
        return list(self.settled.scalars(query))
