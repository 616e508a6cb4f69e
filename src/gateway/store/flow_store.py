"""The flow of runs in SQL: the named queries of ``engine.flow_ports.FlowTx``, and nothing that decides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import func, insert, select, update

from gateway.clock import rfc3339
from gateway.engine.rows import ItemEnd, NewItem, StepRow, Tally
from gateway.engine.states import STEP_ENDED, STEP_UNSTARTED, check_step_move
from gateway.engine.step_definition import StepDefinition
from gateway.store import step_statements as statements
from gateway.store.codec import to_json
from gateway.store.indexed_states import ended_badly, resting, waiting
from gateway.store.kept_rows import KeptStep
from gateway.store.large_values import fetch, keep, keep_text
from gateway.store.limit_store import LimitQueries
from gateway.store.row_shapes import spec_of, step_of
from gateway.store.step_image import insert_steps
from gateway.store.tables import run, signal, step

_JSON = frozenset({"input", "output", "published", "error", "decision", "record"})
_ENDED = tuple(STEP_ENDED)


class FlowQueries(LimitQueries):
    """See ``engine.flow_ports``."""

    # -- moves ------------------------------------------------------------------------------------

    def move(self, held: StepRow, state: str, now: int, **values: Any) -> bool:
        check_step_move(held.state, state)
        one = self.held_step(held.task_id, held.run_id, held.token, held.state)
        if one is None:
            return False
        columns = {
            name: keep(self.raw, value, now, held.run_id) if name in _JSON else value for name, value in values.items()
        }
        if held.state in ("queued", "running"):
            columns["token"] = held.token + 1
        if state in STEP_ENDED:
            columns.setdefault("completed_at", now)
        one.set(state=state, **columns)
        return True

    def note_decision(self, held: StepRow, decision: dict[str, Any]) -> None:
        self.connection.execute(update(step).where(step.c.task_id == held.task_id).values(decision=to_json(decision)))

    def release_dependents(self, run_id: str, step_id: str, *, completed: bool) -> list[str]:
        to_ask = []
        for one in self.image.of_run(run_id):
            values = one.values
            if values["state"] != "waiting" or values["role"] != "step":
                continue
            if step_id not in spec_of(values["spec"]).dependencies:
                continue
            left, gated = values["waiting_on"] - 1, values["gated"] or not completed
            one.set(waiting_on=left, gated=gated, state="waiting" if gated or left > 0 else "ready")
            if gated and left <= 0:
                to_ask.append(values["task_id"])
        return to_ask

    def due(self, run_id: str) -> list[str]:
        return [
            one.values["task_id"]
            for one in self.image.of_run(run_id)
            if one.values["role"] == "step"
            and one.values["state"] == "waiting"
            and one.values["waiting_on"] <= 0
            and one.values["gated"]
        ]

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
        if run_id not in self.image.runs:
            query = select(step).where(step.c.run_id == run_id, step.c.step_id.in_(names)).order_by(step.c.position)
            return [step_of(row, self.raw) for row in self.settled.execute(query).all()]
        return [one.row(self.raw) for one in self.image.of_run(run_id) if one.values["step_id"] in names]

    def tally(self, run_id: str) -> Tally:
        total = left = cancelled = undo_waiting = undo_busy = 0
        done = 0.0
        for role, state, rows, progress in self._counted(run_id):
            if role == "undo":
                undo_waiting += rows if state == "waiting" else 0
                undo_busy += 0 if state == "waiting" or state in STEP_ENDED else rows
                continue
            total += rows
            if state in STEP_ENDED:
                done += rows
                cancelled += rows if state == "cancelled" else 0
            else:
                left += rows
                done += progress if state in ("running", "gathering") else 0.0
        share = round(done / total, 4) if total else 1.0
        return Tally(total, left, cancelled, share, undo_waiting, undo_busy)

    def _counted(self, run_id: str) -> Iterable[tuple[str, str, int, float]]:
        """Its steps by role and state: how many, and the sum of their progress."""
        if run_id in self.image.runs:
            for one in self.image.of_run(run_id):
                yield one.values["role"], one.values["state"], 1, one.values["progress"]
            return
        for row in statements.TALLY.all(self.settled, of_run=run_id):
            yield row["role"], row["state"], row["rows"], row["progress"]

    def next_undo(self, run_id: str) -> StepRow | None:
        shown = (step.c.run_id == run_id, step.c.parent.is_(None))
        query = select(step).where(*shown, step.c.role == "undo", step.c.state == "waiting")
        undo = {found.spec.undoes: found for row in self.settled.execute(query) if (found := step_of(row))}
        if not undo:
            return None
        done = (
            select(step.c.step_id)
            .where(step.c.run_id == run_id, step.c.step_id.in_(list(undo)), step.c.state == "completed")
            .order_by(step.c.completed_at.desc(), step.c.position.desc())
            .limit(1)
        )
        return undo.get(self.raw.scalar(done))

    def skip_undo(self, run_id: str, now: int) -> None:
        for one in self.image.of_run(run_id):
            if one.values["role"] == "undo" and one.values["state"] == "waiting":
                one.set(state="skipped", completed_at=now)

    def stop_run(self, run_id: str, error: dict[str, Any] | None) -> None:
        columns: dict[str, Any] = {"cancel_requested": True, "deadline": None}
        if error is None:
            self.kept_run(run_id).set(columns)
        else:
            self.kept_run(run_id).set({**columns, "error": to_json(error)}, error=error)

    def set_progress(self, run_id: str, progress: float) -> None:
        self.kept_run(run_id).set({"progress": progress})

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
                "item": keep(self.raw, item.value, now, held.run_id) or "null",
                "limited": bool(limits),
            }
            for item in items
        ]
        insert_steps(self.raw, [row for row in rows if row["state"] != "ready"])
        self.image.add_items(held.run_id, [row for row in rows if row["state"] == "ready"])
        if limits:
            self.image.write()
            self.insert_limits([(item.task_id, one) for item in items for one in limits])

    def items(self, task_id: str) -> list[StepRow]:
        query = select(step).where(step.c.parent == task_id).order_by(step.c.item_index)
        return [step_of(row, self.raw) for row in self.settled.execute(query).all()]

    def items_ended(self, task_id: str) -> list[ItemEnd]:
        rows = statements.ITEMS_ENDED.all(self.settled, of_task=task_id)
        return [
            ItemEnd(row["item_index"], row["state"], fetch(self.raw, row["output"]), fetch(self.raw, row["error"]))
            for row in rows
        ]

    def waiting_items(self, task_id: str, limit: int) -> list[StepRow]:
        query = select(step).where(step.c.parent == task_id, waiting()).order_by(step.c.item_index).limit(limit)
        return [step_of(row, self.raw) for row in self.settled.execute(query).all()]

    def items_over(self, held: StepRow, count: int, *, begin: int, total: int) -> int:
        whole = self.image.find(held.task_id, held.run_id)
        assert whole is not None  # noqa: S101 - a step of a locked run does not go away
        if begin and self._some_wait(whole):
            statements.FOLLOWING_ITEMS.run(self.raw, of_task=held.task_id, most=begin)
            self.image.more_ready(held.run_id)
        if whole.values["state"] != "gathering":
            return 0
        left: int = whole.values["waiting_on"] - count
        whole.set(waiting_on=left, progress=1 - left / total)
        return left

    @staticmethod
    def _some_wait(whole: KeptStep) -> bool:
        """Whether there may be items of the step that have not begun: with each that ended another did."""
        asked = spec_of(whole.values["spec"]).for_each
        return asked is None or whole.values["waiting_on"] > asked.concurrency

    def items_failed(self, task_id: str) -> int:
        query = select(func.count()).where(step.c.parent == task_id, ended_badly("failed"))
        return int(self.settled.scalar(query) or 0)

    def end_items(self, task_id: str, now: int) -> None:
        self.connection.execute(
            update(step)
            .where(step.c.parent == task_id, step.c.state.in_(STEP_UNSTARTED))
            .values(state="cancelled", completed_at=now, lease_until=None, token=step.c.token + 1)
        )

    # -- waiting for somebody ---------------------------------------------------------------------

    def unwanted(self, held: StepRow) -> bool:
        query = select(run.c.cancel_requested, run.c.status).where(run.c.run_id == held.run_id)
        row = self.settled.execute(query).one_or_none()
        if row is None or row.status in ("completed", "failed", "cancelled"):
            return True
        if row.cancel_requested and held.role != "undo":
            return True
        if held.role != "item":
            return False
        return self.raw.scalar(select(step.c.state).where(step.c.task_id == held.parent)) != "gathering"

    def add_signal(self, run_id: str, name: str, payload: Any, by: str, now: int) -> None:
        text = keep_text(self.raw, to_json(payload), now, run_id)
        self.raw.execute(insert(signal).values(run_id=run_id, name=name, payload=text, by=by, at=now))

    def take_signal(self, run_id: str, name: str, task_id: str) -> dict[str, Any] | None:
        oldest = (
            select(signal)
            .where(signal.c.run_id == run_id, signal.c.name == name, signal.c.taken_by.is_(None))
            .order_by(signal.c.number)
            .limit(1)
        )
        row = self.raw.execute(oldest).one_or_none()
        if row is None:
            return None
        self.raw.execute(update(signal).where(signal.c.number == row.number).values(taken_by=task_id))
        return {"payload": fetch(self.raw, row.payload), "by": row.by, "at": rfc3339(row.at)}

    def parked_on_signal(self, run_id: str, name: str) -> StepRow | None:
        query = select(step).where(step.c.run_id == run_id, step.c.parent.is_(None), step.c.role == "step")
        query = query.where(resting("parked")).order_by(step.c.position)
        parked = (step_of(row) for row in self.settled.execute(query))
        return next((one for one in parked if one.spec.signal is not None and one.spec.signal.name == name), None)

    def overslept(self, now: int, limit: int) -> list[StepRow]:
        query = select(step).where(resting("parked"), step.c.wake_at < now).limit(limit)
        return [step_of(row) for row in self.settled.execute(query)]
