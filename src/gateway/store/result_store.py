"""Results that equal steps may take, and steps that failed for good, in SQL."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, insert, select

from gateway.store.artifact_uses import result_holder
from gateway.store.dialect import insert_into
from gateway.store.large_values import fetch, keep
from gateway.store.tables import dead_letter, step_result


class ResultQueries:
    """The part of ``EngineTx`` that keeps results and failures."""

    connection: Connection

    def kept_result(self, key: str, now: int) -> tuple[str, dict[str, Any]] | None:
        """(task id, output) of an equal step whose result may still be taken."""
        query = select(step_result).where(step_result.c.key == key, step_result.c.expires_at > now)
        row = self.connection.execute(query).one_or_none()
        return None if row is None else (row.task_id, fetch(self.connection, row.output))

    def keep_result(self, key: str, output: dict[str, Any], task_id: str, until: int, now: int) -> None:
        """Makes a result one that equal steps may take; the newest counts."""
        text = keep(self.connection, output, now, result_holder(key))
        values = {"output": text, "task_id": task_id, "created_at": now, "expires_at": until}
        row = insert_into(self.connection, step_result).values(key=key, **values)
        self.connection.execute(row.on_conflict_do_update(index_elements=[step_result.c.key], set_=values))

    def bury(self, task_id: str, run_id: str, owner: str, code: str, now: int) -> None:
        """Puts a step that failed for good where people find it."""
        values = {"task_id": task_id, "run_id": run_id, "owner": owner, "code": code, "at": now}
        self.connection.execute(insert(dead_letter).values(**values))
