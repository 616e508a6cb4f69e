"""What steps were answered by models, in SQL; see ``tasks.step_calls``."""

from __future__ import annotations

import msgspec
from sqlalchemy import Row, select

from gateway.engine.rows import KeptCall
from gateway.store.dialect import insert_into
from gateway.store.engine import Database
from gateway.store.large_values import fetch_text, keep_text
from gateway.store.tables import step, step_call


class SqlStepCallStore:
    """One a process; thread safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, call: KeptCall) -> None:
        """Keeps an answer; one that is kept already stays."""
        with self._database.begin() as connection:
            values = msgspec.structs.asdict(call) | {"answer": keep_text(connection, call.answer, call.at)}
            connection.execute(insert_into(connection, step_call).values(**values).on_conflict_do_nothing())

    def of_task(self, task_id: str) -> list[KeptCall]:
        """All answers of a step, in the order in which they came."""
        query = select(step_call).where(step_call.c.task_id == task_id).order_by(step_call.c.at, step_call.c.number)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
            return [_call_of(row, fetch_text(connection, row.answer)) for row in rows]

    def of_run(self, run_id: str) -> list[KeptCall]:
        """The answers of all steps of a run, without what was answered."""
        query = select(step_call).join(step, step.c.task_id == step_call.c.task_id).where(step.c.run_id == run_id)
        with self._database.read() as connection:
            return [_call_of(row, "") for row in connection.execute(query.order_by(step_call.c.at))]

    def task_of(self, run_id: str, step_id: str) -> str | None:
        """The task id of that step (or item) of that run."""
        query = select(step.c.task_id).where(step.c.run_id == run_id, step.c.step_id == step_id)
        with self._database.read() as connection:
            found: str | None = connection.scalar(query)
        return found


def _call_of(row: Row[tuple[object, ...]], answer: str) -> KeptCall:
    return KeptCall(**{**dict(row._mapping), "answer": answer})
