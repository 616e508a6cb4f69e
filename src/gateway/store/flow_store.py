"""The flow of runs in SQL: the named queries of ``engine.flow_ports.FlowTx``, and nothing that decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from gateway.clock import rfc3339
from gateway.engine.rows import NewItem, RunRow, StepRow, Tally
from gateway.engine.states import STEP_ENDED, STEP_UNSTARTED, check_step_move
from gateway.engine.step_definition import StepDefinition
from gateway.store import step_statements as statements
from gateway.store.codec import to_json
from gateway.store.large_values import fetch, keep, keep_text
from gateway.store.limit_store import LimitQueries
from gateway.store.row_shapes import step_of
from gateway.store.tables import run, signal, step

_JSON = frozenset({"input", "output", "published", "error", "decision", "record"})
_ENDED = tuple(STEP_ENDED)


class FlowQueries(LimitQueries):
    """See ``engine.flow_ports``."""

    connection: Connection
    _locked: dict[str, RunRow]

    # -- moves ------------------------------------------------------------------------------------

    def move(self, held: StepRow, state: str, now: int, **values: Any) -> bool:
        check_step_move(held.state, state)
        columns = {
            name: keep(self.connection, value, now, held.run_id) if name in _JSON else value
            for name, value in values.items()
        }
        token = step.c.token + 1 if held.state in ("queued", "running") else step.c.token
        if state in STEP_ENDED:
            columns.setdefault("completed_at", now)
        moved = self.connection.execute(
            update(step)
            .where(step.c.task_id == held.task_id, step.c.token == held.token, step.c.state == held.state)
            .values(state=state, token=token, **columns)
            .returning(step.c.task_id)
        )
        return moved.first() is not None

    def note_decision(self, held: StepRow, decision: dict[str, Any]) -> None:
        self.connection.execute(update(step).where(step.c.task_id == held.task_id).values(decision=to_json(decision)))

    def release_dependents(self, run_id: str, step_id: str, *, completed: bool) -> list[str]:
        release = statements.RELEASE if completed else statements.RELEASE_TO_ASK
        released = release.all(self.connection, of_run=run_id, ended=step_id)
        return [row["task_id"] for row in released if row["state"] == "waiting" and row["waiting_on"] <= 0]

    def due(self, run_id: str) -> list[str]:
        query = (
            select(step.c.task_id)
            .where(step.c.run_id == run_id, step.c.role == "step", step.c.state == "waiting")
            .where(step.c.waiting_on <= 0, step.c.gated.is_(True))
            .order_by(step.c.position)
        )
        return list(self.connection.scalars(query))

    def end_unstarted(self, run_id: str, state: str, now: int) -> list[tuple[str, str | None]]:
        ended = self.connection.execute(
            update(step)
            .where(step.c.run_id == run_id, step.c.state.in_(STEP_UNSTARTED), step.c.role != "undo")
            .values(state=state, completed_at=now, lease_until=None, token=step.c.token + 1)
            .returning(step.c.task_id, step.c.parent)
        )
        return [(row.task_id, row.parent) for row in ended]

    def hold(self, run_id: str) -> None:
        self.connection.execute(
            update(step)
            .where(step.c.run_id == run_id, step.c.state.in_(("ready", "queued")))
            .values(state="held", token=step.c.token + 1, lease_until=None)
        )

    def unhold(self, run_id: str) -> None:
        held = update(step).where(step.c.run_id == run_id, step.c.state == "held")
        self.connection.execute(held.values(state="ready"))

    # -- the run ----------------------------------------------------------------------------------

    def steps_named(self, run_id: str, names: Sequence[str]) -> list[StepRow]:
        if not names:
            return []
        query = select(step).where(step.c.run_id == run_id, step.c.step_id.in_(names)).order_by(step.c.position)
        return [step_of(row, self.connection) for row in self.connection.execute(query).all()]

    def tally(self, run_id: str) -> Tally:
        total = left = cancelled = undo_waiting = undo_busy = 0
        done = 0.0
        for row in statements.TALLY.all(self.connection, of_run=run_id):
            rows, state = row["rows"], row["state"]
            if row["role"] == "undo":
                undo_waiting += rows if state == "waiting" else 0
                undo_busy += 0 if state == "waiting" or state in STEP_ENDED else rows
                continue
            total += rows
            if state in STEP_ENDED:
                done += rows
                cancelled += rows if state == "cancelled" else 0
            else:
                left += rows
                done += row["progress"] if state in ("running", "gathering") else 0.0
        progress = round(done / total, 4) if total else 1.0
        return Tally(total, left, cancelled, progress, undo_waiting, undo_busy)

    def next_undo(self, run_id: str) -> StepRow | None:
        query = select(step).where(step.c.run_id == run_id, step.c.role == "undo", step.c.state == "waiting")
        undo = {found.spec.undoes: found for row in self.connection.execute(query) if (found := step_of(row))}
        if not undo:
            return None
        done = (
            select(step.c.step_id)
            .where(step.c.run_id == run_id, step.c.step_id.in_(list(undo)), step.c.state == "completed")
            .order_by(step.c.completed_at.desc(), step.c.position.desc())
            .limit(1)
        )
        return undo.get(self.connection.scalar(done))

    def skip_undo(self, run_id: str, now: int) -> None:
        self.connection.execute(
            update(step)
            .where(step.c.run_id == run_id, step.c.role == "undo", step.c.state == "waiting")
            .values(state="skipped", completed_at=now)
        )

    def stop_run(self, run_id: str, error: dict[str, Any] | None) -> None:
        self._locked.pop(run_id, None)
        values: dict[str, Any] = {"cancel_requested": True, "deadline": None}
        if error is not None:
            values["error"] = to_json(error)
        self.connection.execute(update(run).where(run.c.run_id == run_id).values(values))

    def set_progress(self, run_id: str, progress: float) -> None:
        statements.SET_PROGRESS.run(self.connection, of_run=run_id, new_progress=progress)

    # -- items ------------------------------------------------------------------------------------

    def insert_items(self, held: StepRow, spec: StepDefinition, items: Sequence[NewItem], now: int) -> None:
        if not items:
            return
        body = to_json(spec)
        limits = self.limits_of([held.task_id])[held.task_id]
        rows = [
            {
                "task_id": item.task_id,
                "run_id": held.run_id,
                "step_id": f"{held.step_id}[{item.index}]",
                "position": held.position,
                "task_type": held.task_type,
                "spec": body,
                "queue": held.queue,
                "priority": held.priority,
                "state": "ready" if item.ready else "waiting",
                "not_before": held.not_before,
                "created_at": now,
                "role": "item",
                "parent": held.task_id,
                "item_index": item.index,
                "item": keep(self.connection, item.value, now, held.run_id) or "null",
                "limited": bool(limits),
            }
            for item in items
        ]
        self.connection.execute(insert(step), rows)
        self.insert_limits([(item.task_id, one) for item in items for one in limits])

    def items(self, task_id: str) -> list[StepRow]:
        query = select(step).where(step.c.parent == task_id).order_by(step.c.item_index)
        return [step_of(row, self.connection) for row in self.connection.execute(query).all()]

    def waiting_items(self, task_id: str, limit: int) -> list[StepRow]:
        waiting = select(step).where(step.c.parent == task_id, step.c.state == "waiting")
        query = waiting.order_by(step.c.item_index).limit(limit)
        return [step_of(row, self.connection) for row in self.connection.execute(query).all()]

    def items_over(self, task_id: str, count: int, *, begin: int, total: int) -> int:
        if begin:
            statements.FOLLOWING_ITEMS.run(self.connection, of_task=task_id, most=begin)
        left = statements.ITEMS_OVER.one(self.connection, of_task=task_id, ended=count, total=total)
        return 0 if left is None else int(left["waiting_on"])

    def items_failed(self, task_id: str) -> int:
        query = select(func.count()).where(step.c.parent == task_id, step.c.state == "failed")
        return int(self.connection.scalar(query) or 0)

    def end_items(self, task_id: str, now: int) -> None:
        self.connection.execute(
            update(step)
            .where(step.c.parent == task_id, step.c.state.in_(STEP_UNSTARTED))
            .values(state="cancelled", completed_at=now, lease_until=None, token=step.c.token + 1)
        )

    # -- waiting for somebody ---------------------------------------------------------------------

    def unwanted(self, held: StepRow) -> bool:
        query = select(run.c.cancel_requested, run.c.status).where(run.c.run_id == held.run_id)
        row = self.connection.execute(query).one_or_none()
        if row is None or row.status in ("completed", "failed", "cancelled"):
            return True
        if row.cancel_requested and held.role != "undo":
            return True
        if held.role != "item":
            return False
        return self.connection.scalar(select(step.c.state).where(step.c.task_id == held.parent)) != "gathering"

    def add_signal(self, run_id: str, name: str, payload: Any, by: str, now: int) -> None:
        text = keep_text(self.connection, to_json(payload), now, run_id)
        self.connection.execute(insert(signal).values(run_id=run_id, name=name, payload=text, by=by, at=now))

    def take_signal(self, run_id: str, name: str, task_id: str) -> dict[str, Any] | None:
        oldest = (
            select(signal)
            .where(signal.c.run_id == run_id, signal.c.name == name, signal.c.taken_by.is_(None))
            .order_by(signal.c.number)
            .limit(1)
        )
        row = self.connection.execute(oldest).one_or_none()
        if row is None:
            return None
        self.connection.execute(update(signal).where(signal.c.number == row.number).values(taken_by=task_id))
        return {"payload": fetch(self.connection, row.payload), "by": row.by, "at": rfc3339(row.at)}

    def parked_on_signal(self, run_id: str, name: str) -> StepRow | None:
        query = (select(step).where(step.c.run_id == run_id, step.c.role == "step", step.c.state == "parked")).order_by(
            step.c.position
        )
        parked = (step_of(row) for row in self.connection.execute(query))
        return next((one for one in parked if one.spec.signal is not None and one.spec.signal.name == name), None)

    def overslept(self, now: int, limit: int) -> list[StepRow]:
        query = select(step).where(step.c.state == "parked", step.c.wake_at < now).limit(limit)
        return [step_of(row) for row in self.connection.execute(query)]
