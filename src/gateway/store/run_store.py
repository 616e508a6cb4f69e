"""Runs and steps in SQL: the named queries of ``engine.ports.EngineTx``, and nothing that decides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select, update

from gateway.engine.rows import Doorbell, NewRun, NewStep, RunRow, StepRow
from gateway.engine.states import RUN_ENDED
from gateway.errors import NotFound
from gateway.events.event import EventDraft
from gateway.store import step_statements as statements
from gateway.store.child_store import ChildQueries
from gateway.store.codec import to_json, to_json_or_none
from gateway.store.event_store import events_of
from gateway.store.flow_store import FlowQueries
from gateway.store.indexed_states import leased, live, ready
from gateway.store.kept_rows import KeptStep
from gateway.store.large_values import keep
from gateway.store.result_store import ResultQueries
from gateway.store.row_shapes import run_from, spec_of, step_from, step_of
from gateway.store.run_budgets import set_step_budgets
from gateway.store.run_memory import RunMemory
from gateway.store.schedule_store import ScheduleQueries
from gateway.store.step_image import among
from gateway.store.tables import run, step
from gateway.store.webhook_messages import Listener, insert_deliveries, listeners_of


class SqlEngineTx(FlowQueries, ChildQueries, ResultQueries, ScheduleQueries):
    """One transaction; see ``engine.ports.EngineTx``. What is known of locked runs and their steps is kept and changed
    in memory (``step_image.py``); what asks the database itself does so through ``connection`` or ``settled``."""

    def __init__(self, connection: Connection, default_webhook_url: str = "", memory: RunMemory | None = None) -> None:
        super().__init__(connection, memory)
        self._webhook_url = default_webhook_url
        self._events: list[EventDraft] = []
        self._at = 0
        #: By owner, as far as they were asked for.
        self._listeners: dict[str, list[Listener]] = {}
        #: How many steps of a run are to be ended.
        self._expected: Counter[str] = Counter()

    def close(self) -> None:
        """Writes what is not written yet, the events last of all: their numbers are held until the commit."""
        self.image.write(events_of(self.raw, _newest(self._events), self._at))

    def expect(self, steps: Sequence[StepRow | Doorbell]) -> None:
        self._expected.update(one.run_id for one in steps if isinstance(one, StepRow))
        items = [one.task_id for one in steps if not isinstance(one, StepRow) or one.role == "item"]
        runs = {one.run_id for one in steps}
        unknown = [one.task_id for one in steps if not one.run_id]
        if unknown:
            runs.update(row["run_id"] for row in statements.RUNS_OF.all(self.raw, **among(self.raw, tasks=unknown)))
        self.image.begin(runs - {""}, items)

    # -- runs -------------------------------------------------------------------------------------

    def insert_run(self, new: NewRun, now: int) -> None:
        self._hold_origin(new)
        values = {
            "run_id": new.run_id,
            "kind": new.kind,
            "workflow_id": new.workflow_id,
            "definition_hash": new.definition_hash,
            "status": "pending",
            "input": keep(self.raw, new.input, now, new.run_id),
            "priority": new.priority,
            "owner": new.caller.principal,
            "caller": to_json(new.caller),
            "request_id": new.request_id,
            "metadata": to_json(new.metadata),
            "webhook_url": new.webhook_url,
            "deadline": new.deadline,
            "config_epoch": new.config_epoch,
            "created_at": now,
            "output_mapping": to_json_or_none(new.output_mapping),
            "not_before": new.not_before,
            "origin": to_json_or_none(new.origin),
            "parent_run": new.parent_run,
            "parent_task": new.parent_task,
            "pins": to_json_or_none(new.pins),
            "bounds": to_json_or_none(new.bounds or None),
        }
        row = statements.whole_row(run, values)
        statements.INSERT_RUN.run(self.raw, **statements.new_row(run, row))
        done = {item.spec.step_id for item in new.steps if item.reused is not None}
        rows = [_step_values(self.raw, new, item, position, done, now) for position, item in enumerate(new.steps)]
        self.image.add(row, rows)
        limits = [(item.task_id, one) for item in new.steps for one in item.limits if item.reused is None]
        if limits:
            self.image.write()
            self.insert_limits(limits)
        set_step_budgets(self.raw, new, now)

    def _hold_origin(self, new: NewRun) -> None:
        """The run that this one comes from stays as long as this one has not ended. ``NotFound``: it is gone."""
        origin = (new.origin or {}).get("run_id")
        if origin is None or new.parent_run is not None:
            return
        there = select(run.c.run_id).where(run.c.run_id == origin).with_for_update(read=True, key_share=True)
        if self.raw.scalar(there) is None:
            raise NotFound("the run that this one comes from has been removed", mend="begin a new run", param="run_id")

    def lock_run(self, run_id: str) -> RunRow | None:
        self.image.lock((run_id,))
        kept = self.image.runs.get(run_id)
        return None if kept is None else kept.row

    def run(self, run_id: str) -> RunRow | None:
        if run_id in self.image.runs:
            return self.image.runs[run_id].row
        row = statements.FIND_RUN.one(self.raw, of_run=run_id)
        return None if row is None else run_from(row, self.raw)

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
        kept = self.kept_run(run_id)
        columns: dict[str, Any] = {"status": status}
        decoded: dict[str, Any] = {}
        if status not in ("pending", "paused") and kept.row.started_at is None:
            columns["started_at"] = now
        if status in RUN_ENDED:
            columns |= {"completed_at": now, "error": to_json_or_none(error)}
            columns["output"] = keep(self.raw, output, now, run_id)
            decoded = {"error": error, "output": output}
        if progress is not None:
            columns["progress"] = progress
        kept.set(columns, **decoded)

    def overdue_runs(self, now: int, limit: int) -> list[str]:
        query = select(run.c.run_id).where(live(), run.c.deadline < now).limit(limit)
        return list(self.settled.scalars(query))

    # -- steps ------------------------------------------------------------------------------------

    def step(self, task_id: str) -> StepRow | None:
        known = self.image.known(task_id)
        if known is not None and known.values["run_id"] in self.image.runs:
            return known.row(self.raw)
        row = statements.FIND_STEP.one(self.settled, of_task=task_id)
        if row is not None and row["run_id"] in self.image.runs:
            known = self.image.find(task_id, row["run_id"])
        return None if row is None else step_from(row, self.raw) if known is None else known.row(self.raw)

    def steps(self, run_id: str) -> list[StepRow]:
        if run_id in self.image.runs:
            return [one.row(self.raw) for one in self.image.of_run(run_id)]
        return [step_from(row, self.raw) for row in statements.STEPS_OF_RUN.all(self.settled, of_run=run_id)]

    def steps_before(self, run_id: str, step_id: str) -> list[StepRow]:
        shown = {one.values["step_id"]: one for one in self.image.of_run(run_id)}
        found: dict[str, KeptStep] = {}

        def go_back(name: str) -> None:
            for before in spec_of(shown[name].values["spec"]).dependencies:
                if before not in found:
                    go_back(before)
                    found[before] = shown[before]

        go_back(step_id)
        return [one.row(self.raw) for one in found.values()]

    def any_ready(self, run_id: str, now: int) -> bool:
        return bool(statements.ANY_READY.all(self.settled, of_run=run_id, now=now))

    def claim_ready(
        self, now: int, lease_until: int, limit: int, run_id: str | None = None
    ) -> tuple[list[Doorbell], bool]:
        if run_id is not None and run_id in self.image.runs:
            return self._claim_of_locked(now, lease_until, limit, run_id)
        if run_id is not None:
            return self._claim_of_run(now, lease_until, limit, run_id)
        due = (
            select(step.c.task_id)
            .where(ready(), step.c.not_before <= now, step.c.limited.is_(False))
            .order_by(step.c.priority.desc(), step.c.created_at, step.c.position)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )  # those with limits must not hide the others
        return self.hand_out(list(self.connection.scalars(due)), lease_until), True

    def _claim_of_locked(self, now: int, lease_until: int, limit: int, run_id: str) -> tuple[list[Doorbell], bool]:
        found = self.image.ready(run_id, now, limit, self._expected[run_id])
        bells = []
        for one in found:
            if not one.values["limited"]:
                one.set(state="queued", token=one.values["token"] + 1, lease_until=lease_until)
                bells.append(one.doorbell())
        return bells, len(bells) < len(found)

    def _claim_of_run(self, now: int, lease_until: int, limit: int, run_id: str) -> tuple[list[Doorbell], bool]:
        rows = statements.HAND_OUT_OF_RUN.all(
            self.connection, of_run=run_id, now=now, most=limit, new_lease=lease_until
        )
        free = [row for row in rows if not row["limited"]]
        free.sort(key=lambda row: (-row["priority"], row["created_at"], row["position"]))
        bells = [Doorbell(row["task_id"], row["token"], row["queue"], row["priority"], row["run_id"]) for row in free]
        return bells, len(free) < len(rows)

    def start_step(
        self, run_id: str, task_id: str, token: int, worker: str, now: int, lease_until: int, *, undo_only: bool
    ) -> StepRow | None:
        one = self.held_step(task_id, run_id, token, "queued")
        if one is None or (undo_only and one.values["role"] != "undo"):
            return None
        one.set(
            state="running",
            worker=worker,
            lease_until=lease_until,
            attempts=one.values["attempts"] + 1,
            started_at=now if one.values["started_at"] is None else one.values["started_at"],
            progress=0.0,
            progress_note="",
        )
        return one.row(self.raw)

    def save_input(self, step: StepRow, data: dict[str, Any], now: int) -> None:
        one = self.held_step(step.task_id, step.run_id, step.token, "running")
        if one is not None:
            one.set(input=keep(self.raw, data, now, step.task_id))

    def extend_lease(self, task_id: str, token: int, lease_until: int) -> bool:
        return self._moved(task_id, token, ("running",), {"lease_until": lease_until})

    def save_progress(self, task_id: str, token: int, progress: float, note: str) -> bool:
        return self._moved(task_id, token, ("running",), {"progress": progress, "progress_note": note[:500]})

    def end_step(
        self,
        held: StepRow,
        state: str,
        now: int,
        *,
        output: dict[str, Any] | None = None,
        published: dict[str, Any] | None = None,
        error: dict[str, Any] | None = None,
        record: dict[str, Any] | None = None,
    ) -> bool:
        one = self.held_step(held.task_id, held.run_id, held.token, "running")
        if one is None:
            return False
        one.set(
            state=state,
            completed_at=now,
            lease_until=None,
            output=keep(self.raw, output, now, held.task_id),
            published=keep(self.raw, published, now, held.task_id),
            error=to_json_or_none(error),
            record=to_json_or_none(record),
            progress=1.0 if state == "completed" else one.values["progress"],
        )
        return True

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

    def expired_leases(self, now: int, limit: int) -> list[StepRow]:
        query = select(step).where(leased(), step.c.lease_until < now).limit(limit)
        return [step_of(row, self.raw) for row in self.settled.execute(query).all()]

    # -- what others are told ---------------------------------------------------------------------

    def add_events(self, drafts: Sequence[EventDraft], now: int) -> None:
        self._events += drafts
        self._at = now

    def add_webhooks(self, held: RunRow, event: str, task_id: str | None, body: dict[str, Any], now: int) -> None:
        listeners = self._listeners.get(held.owner)
        if listeners is None:
            listeners = self._listeners[held.owner] = listeners_of(self.raw, held.owner)
        insert_deliveries(self.raw, listeners, held, event, task_id, body, now, self._webhook_url)

    def _moved(self, task_id: str, token: int, states: Sequence[str], values: dict[str, Any]) -> bool:
        """Changes the step if it is in one of ``states`` and ``token`` is still good."""
        done = self.connection.execute(
            update(step)
            .where(step.c.task_id == task_id, step.c.token == token, step.c.state.in_(states))
            .values(values)
            .returning(step.c.task_id)
        )
        return done.first() is not None


def _newest(drafts: Sequence[EventDraft]) -> list[EventDraft]:
    """Without the progress of a run by a step of which more is told at the same time: of the items of a list that ended
    together the last says how many have."""
    told: set[tuple[str | None, str | None]] = set()
    kept: list[EventDraft] = []
    for draft in reversed(drafts):
        if draft.type == "workflow_progress":
            about = (draft.run_id, draft.task_id)
            if about in told:
                continue
            told.add(about)
        kept.append(draft)
    kept.reverse()
    return kept


def _step_values(
    connection: Connection, new: NewRun, item: NewStep, position: int, done: set[str], now: int
) -> dict[str, Any]:
    """The row of a new step; those before it that are ``done`` are not waited for."""
    waiting_on = sum(name not in done for name in item.spec.dependencies)
    free = not waiting_on and not item.spec.gated
    values: dict[str, Any] = {
        "task_id": item.task_id,
        "run_id": new.run_id,
        "step_id": item.spec.step_id,
        "position": position,
        "task_type": item.spec.task_type,
        "spec": to_json(item.spec),
        "queue": item.queue,
        "priority": new.priority,
        "state": "ready" if free else "waiting",
        "waiting_on": waiting_on,
        "not_before": new.not_before,
        "created_at": now,
        "role": "step" if item.spec.undoes is None else "undo",
        "gated": item.spec.gated,
        "limited": bool(item.limits) and item.spec.for_each is None,
        "progress": 0.0,
        "completed_at": None,
        "output": None,
        "published": None,
        "record": None,
    }
    if item.reused is not None:
        values |= {
            "state": "completed",
            "progress": 1.0,
            "completed_at": now,
            "output": keep(connection, item.reused.output, now, new.run_id),
            "published": keep(connection, item.reused.published, now, new.run_id),
            "record": to_json({"reused": item.reused.task_id}),
        }
    return values
