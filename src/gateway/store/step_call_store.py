"""What steps were answered by models, in SQL; see ``tasks.step_calls``."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import ColumnElement, Row, and_, delete, insert, or_, select, tuple_, update

from gateway.engine.rows import BegunCall, KeptCall
from gateway.store.dialect import insert_into
from gateway.store.engine import Database
from gateway.store.large_values import fetch_text, keep_text
from gateway.store.tables import step, step_call, step_call_begun

_BEGUN = step_call_begun.c
_NAMES = ("task_id", "request", "number")
#: Begun calls with their answers, where they have some.
_WITH_ANSWER = step_call_begun.outerjoin(
    step_call, and_(*(_BEGUN[name] == step_call.c[name] for name in (*_NAMES, "generation")))
)


class SqlStepCallStore:
    """One a process; thread safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, call: BegunCall) -> bool:
        """Notes a call that is about to be made. False: the step is another worker's by now, make it not."""
        query = select(step.c.token).where(step.c.task_id == call.task_id, step.c.state == "running")
        with self._database.begin() as connection:
            if connection.scalar(query.with_for_update()) != call.token:
                return False
            connection.execute(insert(step_call_begun).values(**msgspec.structs.asdict(call)))
        return True

    def ended(self, call: BegunCall) -> None:
        """The call came to an end other than an answer."""
        with self._database.begin() as connection:
            connection.execute(delete(step_call_begun).where(_is_any_of([call])))

    def unanswered(self, task_id: str, token: int, generation: int) -> list[BegunCall]:
        """Calls that were begun under an earlier token and never answered, and those about which something was
        done already."""
        open_now = and_(step_call.c.task_id.is_(None), _BEGUN.generation == generation)
        query = (
            select(step_call_begun)
            .select_from(_WITH_ANSWER)
            .where(_BEGUN.task_id == task_id, _BEGUN.token < token)
            .where(or_(_BEGUN.followed_by.is_not(None), open_now))
            .order_by(_BEGUN.at, _BEGUN.number)
        )
        with self._database.read() as connection:
            return [BegunCall(**row._mapping) for row in connection.execute(query)]

    def unanswered_in(self, run_id: str) -> list[BegunCall]:
        """The same of all steps of a run, with calls that are on their way."""
        query = (
            select(step_call_begun)
            .select_from(_WITH_ANSWER.join(step, step.c.task_id == _BEGUN.task_id))
            .where(step.c.run_id == run_id)
            .where(or_(_BEGUN.followed_by.is_not(None), step_call.c.task_id.is_(None)))
            .order_by(_BEGUN.at, _BEGUN.number)
        )
        with self._database.read() as connection:
            return [BegunCall(**row._mapping) for row in connection.execute(query)]

    def follow(self, calls: Sequence[BegunCall], followed_by: str) -> None:
        """Notes what was done about calls that were not answered."""
        if calls:
            with self._database.begin() as connection:
                noted = update(step_call_begun).where(_is_any_of(calls))
                connection.execute(noted.values(followed_by=followed_by))

    def add(self, call: KeptCall) -> None:
        """Keeps an answer; one that is kept already stays."""
        with self._database.begin() as connection:
            answer = keep_text(connection, call.answer, call.at, call.task_id)
            values = msgspec.structs.asdict(call) | {"answer": answer}
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


def _is_any_of(calls: Sequence[BegunCall]) -> ColumnElement[bool]:
    names = tuple_(*(_BEGUN[name] for name in (*_NAMES, "token")))
    return names.in_([(call.task_id, call.request, call.number, call.token) for call in calls])


def _call_of(row: Row[tuple[object, ...]], answer: str) -> KeptCall:
    return KeptCall(**{**dict(row._mapping), "answer": answer})
