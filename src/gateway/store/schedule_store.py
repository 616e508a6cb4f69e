"""Schedules, and steps that failed for good, as people ask for them, in SQL."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Row, delete, insert, select, update

from gateway.engine.schedules import Schedule
from gateway.security.access import Caller
from gateway.store.codec import from_json, to_json
from gateway.store.engine import Database
from gateway.store.step_image import ImageTx
from gateway.store.tables import dead_letter, entry, run, schedule, step


class ScheduleQueries(ImageTx):
    """The part of ``EngineTx`` that keeps schedules going."""

    def advance_schedule(
        self, seen: Schedule, next_at: int, *, last_at: int | None, run_id: str | None, note: str
    ) -> bool:
        """Moves a schedule on, if nobody else has and it is still active."""
        values: dict[str, Any] = {"next_at": next_at, "note": note}
        if last_at is not None:
            values["last_at"] = last_at
        if run_id is not None:
            values["last_run_id"] = run_id
        moved = self.raw.execute(
            update(schedule)
            .where(schedule.c.schedule_id == seen.schedule_id, schedule.c.next_at == seen.next_at)
            .where(schedule.c.active.is_(True))
            .values(values)
            .returning(schedule.c.schedule_id)
        )
        return moved.first() is not None


class SqlScheduleStore:
    """One a process; thread safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, new: Schedule) -> None:
        values = msgspec.structs.asdict(new) | {"caller": to_json(new.caller), "run": to_json(new.run)}
        with self._database.begin() as connection:
            connection.execute(insert(schedule).values(**values))

    def get(self, schedule_id: str) -> Schedule | None:
        query = select(schedule).where(schedule.c.schedule_id == schedule_id)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _schedule_of(row)

    def all(self, owner: str | None) -> list[Schedule]:
        """Of an owner (``None``: everybody's), in the order in which they were made."""
        query = select(schedule).order_by(schedule.c.schedule_id)
        if owner is not None:
            query = query.where(schedule.c.owner == owner)
        with self._database.read() as connection:
            return [_schedule_of(row) for row in connection.execute(query)]

    def due(self, now: int, limit: int) -> list[Schedule]:
        query = select(schedule).where(schedule.c.active.is_(True), schedule.c.next_at <= now).limit(limit)
        with self._database.read() as connection:
            return [_schedule_of(row) for row in connection.execute(query)]

    def set_active(self, schedule_id: str, active: bool, next_at: int) -> None:
        with self._database.begin() as connection:
            found = update(schedule).where(schedule.c.schedule_id == schedule_id)
            connection.execute(found.values(active=active, next_at=next_at))

    def remove(self, schedule_id: str) -> None:
        with self._database.begin() as connection:
            connection.execute(delete(schedule).where(schedule.c.schedule_id == schedule_id))


class SqlRunRecords:
    """What is asked of runs that are over."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def entries(self, run_id: str) -> list[dict[str, Any]]:
        """The ledger's entries of a run, oldest first."""
        columns = (
            *(entry.c.entry_id, entry.c.task_id, entry.c.kind, entry.c.model, entry.c.provider),
            *(entry.c.upstream_model, entry.c.cost, entry.c.basis, entry.c.outcome, entry.c.price_card, entry.c.at),
        )
        query = select(*columns).where(entry.c.run_id == run_id).order_by(entry.c.at, entry.c.entry_id)
        with self._database.read() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]

    def runs_of_items(self, run_id: str) -> dict[str, list[str]]:
        """The runs that items of a run's steps are, in the lists' order, by the task id of the step."""
        query = (
            select(step.c.parent, run.c.run_id)
            .join(step, step.c.task_id == run.c.parent_task)
            .where(run.c.parent_run == run_id, step.c.parent.is_not(None))
            .order_by(step.c.item_index)
        )
        found: dict[str, list[str]] = {}
        with self._database.read() as connection:
            for row in connection.execute(query):
                found.setdefault(row.parent, []).append(row.run_id)
        return found

    def dead_letters(self, owner: str | None, limit: int, task_id: str | None = None) -> list[dict[str, Any]]:
        """Steps that failed for good and are not closed, newest first."""
        columns = (dead_letter, step.c.step_id, step.c.task_type, step.c.error, step.c.attempts, step.c.lost)
        query = select(*columns).join(step, step.c.task_id == dead_letter.c.task_id)
        query = query.where(dead_letter.c.closed_at.is_(None)).order_by(dead_letter.c.at.desc()).limit(limit)
        if owner is not None:
            query = query.where(dead_letter.c.owner == owner)
        if task_id is not None:
            query = query.where(dead_letter.c.task_id == task_id)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [{**dict(row._mapping), "error": from_json(row.error)} for row in rows]

    def close_dead_letter(self, task_id: str, by: str, closed_as: str, now: int) -> bool:
        """False: somebody closed it before."""
        with self._database.begin() as connection:
            closed = connection.execute(
                update(dead_letter)
                .where(dead_letter.c.task_id == task_id, dead_letter.c.closed_at.is_(None))
                .values(closed_at=now, closed_by=by, closed_as=closed_as)
                .returning(dead_letter.c.task_id)
            )
            return closed.first() is not None


def _schedule_of(row: Row[Any]) -> Schedule:
    values = dict(row._mapping)
    values["caller"] = msgspec.json.decode(values["caller"], type=Caller)
    values["run"] = from_json(values["run"])
    return Schedule(**values)
