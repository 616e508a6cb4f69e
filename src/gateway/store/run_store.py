"""Runs and steps in SQL: the named queries of ``engine.ports.EngineTx``, and nothing that decides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, case, func, insert, select, update

from gateway.engine.definition import StepDefinition
from gateway.engine.rows import Doorbell, NewRun, RunRow, StepRow
from gateway.engine.states import RUN_ENDED
from gateway.events.event import EventDraft
from gateway.security.access import Caller
from gateway.store.codec import from_json, to_json, to_json_or_none
from gateway.store.engine import Database
from gateway.store.event_store import insert_events
from gateway.store.tables import edge, run, step
from gateway.store.webhook_store import insert_deliveries

_LIVE = ("pending", "running")
_UNSTARTED = ("waiting", "ready", "queued")


class SqlEngineStore:
    """Opens transactions of the engine; see ``engine.ports.EngineStore``."""

    def __init__(self, database: Database, *, default_webhook_url: str = "") -> None:
        self._database = database
        self._webhook_url = default_webhook_url

    @contextmanager
    def begin(self) -> Iterator[SqlEngineTx]:
        with self._database.begin() as connection:
            yield SqlEngineTx(connection, self._webhook_url)

    @contextmanager
    def read(self) -> Iterator[SqlEngineTx]:
        with self._database.read() as connection:
            yield SqlEngineTx(connection, self._webhook_url)


class SqlEngineTx:
    """One transaction; see ``engine.ports.EngineTx``."""

    def __init__(self, connection: Connection, default_webhook_url: str = "") -> None:
        self.connection = connection
        self._webhook_url = default_webhook_url

    # -- runs -------------------------------------------------------------------------------------

    def insert_run(self, new: NewRun, now: int) -> None:
        self.connection.execute(
            insert(run).values(
                run_id=new.run_id,
                kind=new.kind,
                workflow_id=new.workflow_id,
                definition_hash=new.definition_hash,
                status="pending",
                input=to_json(new.input),
                priority=new.priority,
                owner=new.caller.principal,
                caller=to_json(new.caller),
                request_id=new.request_id,
                metadata=to_json(new.metadata),
                webhook_url=new.webhook_url,
                deadline=new.deadline,
                config_epoch=new.config_epoch,
                created_at=now,
            )
        )
        edges = [
            {"run_id": new.run_id, "step_id": item.spec.step_id, "depends_on": name}
            for item in new.steps
            for name in item.spec.dependencies
        ]
        self.connection.execute(
            insert(step),
            [
                {
                    "task_id": item.task_id,
                    "run_id": new.run_id,
                    "step_id": item.spec.step_id,
                    "position": position,
                    "task_type": item.spec.task_type,
                    "spec": to_json(item.spec),
                    "queue": item.queue,
                    "priority": new.priority,
                    "state": "waiting" if item.spec.dependencies else "ready",
                    "waiting_on": len(item.spec.dependencies),
                    "created_at": now,
                }
                for position, item in enumerate(new.steps)
            ],
        )
        if edges:
            self.connection.execute(insert(edge), edges)

    def lock_run(self, run_id: str) -> RunRow | None:
        row = self.connection.execute(select(run).where(run.c.run_id == run_id).with_for_update()).one_or_none()
        return None if row is None else run_of(row)

    def run(self, run_id: str) -> RunRow | None:
        row = self.connection.execute(select(run).where(run.c.run_id == run_id)).one_or_none()
        return None if row is None else run_of(row)

    def set_run(
        self,
        run_id: str,
        status: str,
        now: int,
        *,
        progress: float | None = None,
        output: dict[str, Any] | None = None,
        error: dict[str, Any] | None = None,
    ) -> None:
        values: dict[str, Any] = {"status": status}
        if status != "pending":
            values["started_at"] = func.coalesce(run.c.started_at, now)
        if status in RUN_ENDED:
            values |= {"completed_at": now, "output": to_json_or_none(output), "error": to_json_or_none(error)}
        if progress is not None:
            values["progress"] = progress
        self.connection.execute(update(run).where(run.c.run_id == run_id).values(values))

    def request_cancel(self, run_id: str) -> None:
        self.connection.execute(update(run).where(run.c.run_id == run_id).values(cancel_requested=True))

    def cancel_requested(self, run_id: str) -> bool:
        query = select(run.c.cancel_requested, run.c.status).where(run.c.run_id == run_id)
        row = self.connection.execute(query).one_or_none()
        return row is None or bool(row.cancel_requested) or row.status not in _LIVE

    def overdue_runs(self, now: int, limit: int) -> list[str]:
        query = select(run.c.run_id).where(run.c.status.in_(_LIVE), run.c.deadline < now).limit(limit)
        return list(self.connection.scalars(query))

    # -- steps ------------------------------------------------------------------------------------

    def step(self, task_id: str) -> StepRow | None:
        row = self.connection.execute(select(step).where(step.c.task_id == task_id)).one_or_none()
        return None if row is None else step_of(row)

    def steps(self, run_id: str) -> list[StepRow]:
        query = select(step).where(step.c.run_id == run_id).order_by(step.c.position)
        return [step_of(row) for row in self.connection.execute(query)]

    def claim_ready(self, now: int, lease_until: int, limit: int, run_id: str | None = None) -> list[Doorbell]:
        due = (
            select(step.c.task_id)
            .where(step.c.state == "ready", step.c.not_before <= now)
            .order_by(step.c.priority.desc(), step.c.created_at, step.c.position)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        if run_id is not None:
            due = due.where(step.c.run_id == run_id)
        chosen = list(self.connection.scalars(due))
        if not chosen:
            return []
        taken = self.connection.execute(
            update(step)
            .where(step.c.task_id.in_(chosen), step.c.state == "ready")
            .values(state="queued", token=step.c.token + 1, lease_until=lease_until)
            .returning(step.c.task_id, step.c.token, step.c.queue, step.c.priority)
        )
        bells = {row.task_id: Doorbell(row.task_id, row.token, row.queue, row.priority) for row in taken}
        return [bells[task_id] for task_id in chosen if task_id in bells]

    def start_step(self, task_id: str, token: int, worker: str, now: int, lease_until: int) -> bool:
        return self._moved(
            task_id,
            token,
            ("queued",),
            {
                "state": "running",
                "worker": worker,
                "lease_until": lease_until,
                "attempts": step.c.attempts + 1,
                "started_at": func.coalesce(step.c.started_at, now),
                "progress": 0.0,
                "progress_note": "",
            },
        )

    def save_input(self, task_id: str, token: int, data: dict[str, Any]) -> None:
        self._moved(task_id, token, ("running",), {"input": to_json(data)})

    def extend_lease(self, task_id: str, token: int, lease_until: int) -> bool:
        return self._moved(task_id, token, ("running",), {"lease_until": lease_until})

    def save_progress(self, task_id: str, token: int, progress: float, note: str) -> bool:
        return self._moved(task_id, token, ("running",), {"progress": progress, "progress_note": note[:500]})

    def end_step(
        self,
        task_id: str,
        token: int,
        state: str,
        now: int,
        *,
        output: dict[str, Any] | None = None,
        published: dict[str, Any] | None = None,
        error: dict[str, Any] | None = None,
    ) -> bool:
        values: dict[str, Any] = {
            "state": state,
            "completed_at": now,
            "lease_until": None,
            "output": to_json_or_none(output),
            "published": to_json_or_none(published),
            "error": to_json_or_none(error),
        }
        if state == "completed":
            values["progress"] = 1.0
        return self._moved(task_id, token, ("running",), values)

    def give_back(
        self,
        task_id: str,
        token: int,
        not_before: int,
        *,
        lost: bool,
        error: dict[str, Any] | None,
        waits: bool = False,
    ) -> bool:
        values: dict[str, Any] = {
            "state": "ready",
            "token": step.c.token + 1,
            "lease_until": None,
            "not_before": not_before,
            "worker": None,
        }
        if waits:
            values["attempts"] = step.c.attempts - 1
        if lost:
            values["lost"] = step.c.lost + 1
        if error is not None:
            values["error"] = to_json(error)
        return self._moved(task_id, token, ("queued", "running"), values)

    def fail_lost(self, task_id: str, token: int, now: int, error: dict[str, Any]) -> bool:
        state = "cancelled" if error.get("code") == "cancelled" else "failed"
        values = {"state": state, "completed_at": now, "lease_until": None, "error": to_json(error)}
        return self._moved(task_id, token, ("queued", "running"), {**values, "token": step.c.token + 1})

    def release_dependents(self, run_id: str, step_id: str) -> int:
        waiting = select(edge.c.step_id).where(edge.c.run_id == run_id, edge.c.depends_on == step_id)
        freed = self.connection.execute(
            update(step)
            .where(step.c.run_id == run_id, step.c.step_id.in_(waiting), step.c.state == "waiting")
            .values(
                waiting_on=step.c.waiting_on - 1,
                state=case((step.c.waiting_on <= 1, "ready"), else_="waiting"),
            )
            .returning(step.c.state)
        )
        return sum(state == "ready" for state in freed.scalars())

    def end_unstarted(self, run_id: str, state: str, now: int) -> list[str]:
        ended = self.connection.execute(
            update(step)
            .where(step.c.run_id == run_id, step.c.state.in_(_UNSTARTED))
            .values(state=state, completed_at=now, lease_until=None, token=step.c.token + 1)
            .returning(step.c.task_id)
        )
        return list(ended.scalars())

    def expired_leases(self, now: int, limit: int) -> list[StepRow]:
        query = select(step).where(step.c.state.in_(("queued", "running")), step.c.lease_until < now).limit(limit)
        return [step_of(row) for row in self.connection.execute(query)]

    # -- what others are told ---------------------------------------------------------------------

    def add_events(self, drafts: Sequence[EventDraft], now: int) -> None:
        insert_events(self.connection, drafts, now)

    def add_webhooks(self, held: RunRow, event: str, task_id: str | None, body: dict[str, Any], now: int) -> None:
        insert_deliveries(self.connection, held, event, task_id, body, now, self._webhook_url)

    def _moved(self, task_id: str, token: int, states: Sequence[str], values: dict[str, Any]) -> bool:
        """Changes the step if it is in one of ``states`` and ``token`` is still good."""
        done = self.connection.execute(
            update(step)
            .where(step.c.task_id == task_id, step.c.token == token, step.c.state.in_(states))
            .values(values)
            .returning(step.c.task_id)
        )
        return done.first() is not None


def run_of(row: Row[Any]) -> RunRow:
    """A row of the table ``run``."""
    values = dict(row._mapping)
    for name in ("input", "output", "error", "metadata"):
        values[name] = from_json(values[name])
    values["caller"] = msgspec.json.decode(values["caller"], type=Caller)
    return RunRow(**values)


def step_of(row: Row[Any]) -> StepRow:
    """A row of the table ``step``."""
    values = dict(row._mapping)
    for name in ("input", "output", "published", "error"):
        values[name] = from_json(values[name])
    values["spec"] = msgspec.json.decode(values["spec"], type=StepDefinition)
    return StepRow(**values)
