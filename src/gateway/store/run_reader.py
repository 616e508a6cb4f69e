"""What people ask about runs, steps and definitions: lists, sums and counts. Reads only, but for definitions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Row, func, select, true, union_all, update

from gateway.engine.definition import WorkflowDefinition
from gateway.engine.rows import RunRow, StepRow
from gateway.store.charged import charged_by_runs, charged_by_steps, charged_in_run
from gateway.store.dialect import insert_into, one_snapshot
from gateway.store.engine import Database
from gateway.store.indexed_states import ended_badly, leased, ready, resting, run_is, steps_in, unbegun
from gateway.store.row_shapes import run_from, run_of, step_from, step_of
from gateway.store.runs_within import ChildRun, RunsOfStep, children_of, steps_with_runs
from gateway.store.step_statements import FIND_RUN, FIND_STEP, NEWEST_DEFINITION, STEPS_OF_RUN
from gateway.store.tables import definition, run, step


class KeptDefinition(Struct, frozen=True):
    """A definition as stored: its version is its hash."""

    definition: WorkflowDefinition
    hash: str
    source: str
    owner: str
    created_at: int


class RunFound(NamedTuple):
    """A run with its steps (not their items), and units charged so far by their task ids."""

    run: RunRow
    steps: list[StepRow]
    costs: dict[str, int]


class SqlRunReader:
    """Reads for ``tasks.desk``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def run(self, run_id: str) -> RunFound | None:
        """A run, its steps, and what they were charged, from one snapshot."""
        with self._database.read() as connection:
            one_snapshot(connection)
            row = FIND_RUN.one(connection, of_run=run_id)
            if row is None:
                return None
            steps = [step_from(item, connection) for item in STEPS_OF_RUN.all(connection, of_run=run_id)]
            within = any(item.spec.workflow is not None for item in steps)
            return RunFound(run_from(row, connection), steps, charged_in_run(connection, run_id, within=within))

    def task(self, task_id: str) -> tuple[RunRow, StepRow] | None:
        """A step by its task id, and its run."""
        with self._database.read() as connection:
            found = FIND_STEP.one(connection, of_task=task_id)
            if found is None:
                return None
            row = FIND_RUN.one(connection, of_run=found["run_id"])
            return None if row is None else (run_from(row, connection), step_from(found, connection))

    def waiting_for_people(self, limit: int) -> list[tuple[RunRow, StepRow]]:
        """Steps that wait for an approval, longest first."""
        query = select(step).where(resting("parked")).order_by(step.c.started_at).limit(limit)
        with self._database.read() as connection:
            found = [item for row in connection.execute(query) if (item := step_of(row)).spec.signal is None]
            rows = connection.execute(select(run).where(run.c.run_id.in_({item.run_id for item in found})))
            by_id = {row.run_id: run_of(row) for row in rows}
        return [(by_id[item.run_id], item) for item in found]

    def runs(
        self, owner: str | None, *, kind: str | None, status: str | None, workflow_id: str | None, before: str | None,
        limit: int,
    ) -> list[RunRow]:  # fmt: skip
        """Newest first, with ids below ``before``."""
        query = select(run).order_by(run.c.run_id.desc()).limit(limit)
        for column, value in (
            (run.c.owner, owner),
            (run.c.kind, kind),
            (run.c.workflow_id, workflow_id),
        ):
            if value is not None:
                query = query.where(column == value)
        if status is not None:
            query = query.where(run_is(status))
        if before is not None:
            query = query.where(run.c.run_id < before)
        with self._database.read() as connection:
            return [run_of(row) for row in connection.execute(query)]

    def tasks(
        self, owner: str | None, *, states: Sequence[str] | None, task_type: str | None, run_id: str | None,
        before: str | None, limit: int,
    ) -> list[tuple[RunRow, StepRow]]:  # fmt: skip
        """Steps with their runs, newest first, with task ids below ``before``."""
        parts = None if states is None else steps_in(states)
        key: ColumnElement[str] = step.c.task_id
        if parts is not None and self._database.is_sqlite:
            key = func.coalesce(key, "")  # for the order it would go through all steps, rather than sort the few
        among = select(step.c.task_id).join(run, run.c.run_id == step.c.run_id).order_by(key.desc()).limit(limit)
        for column, value in ((run.c.owner, owner), (step.c.task_type, task_type), (step.c.run_id, run_id)):
            if value is not None:
                among = among.where(column == value)
        if before is not None:
            among = among.where(key < before)
        if parts is None:
            parts = [true() if states is None else step.c.state.in_(states)]
        newest = union_all(*(select(among.where(one).subquery()) for one in parts))  # of each index
        query = select(step).where(step.c.task_id.in_(newest)).order_by(step.c.task_id.desc()).limit(limit)
        with self._database.read() as connection:
            one_snapshot(connection)
            found = [step_of(row) for row in connection.execute(query)]
            ids = {item.run_id for item in found}
            rows = connection.execute(select(run).where(run.c.run_id.in_(ids)))
            by_id = {row.run_id: run_of(row) for row in rows}
        return [(by_id[item.run_id], item) for item in found]

    def costs(self, task_ids: Sequence[str]) -> dict[str, int]:
        """Units charged so far, by task id: of a step with its items and the runs within it."""
        with self._database.read() as connection:
            return charged_by_steps(connection, task_ids)

    def run_costs(self, run_ids: Sequence[str]) -> dict[str, int]:
        """Units charged so far, by run id, with the runs within each."""
        with self._database.read() as connection:
            return charged_by_runs(connection, run_ids)

    def children(
        self, run_id: str, *, step_id: str | None, status: str | None, before: str | None, limit: int
    ) -> tuple[list[ChildRun], list[RunsOfStep]]:
        """A page of the runs within a run, and all of them in numbers, from one snapshot."""
        with self._database.read() as connection:
            page = children_of(connection, run_id, step_id=step_id, status=status, before=before, limit=limit)
            return page, steps_with_runs(connection, run_id)

    def counts(self) -> tuple[dict[str, int], dict[str, int]]:
        """(steps by state, waiting steps by queue). Most have completed, and are what is left of all."""
        by, number = (step.c.state, step.c.queue), func.count()
        states, depth = Counter[str](), Counter[str]()
        with self._database.read() as connection:
            one_snapshot(connection)
            every = connection.scalar(select(number).select_from(step)) or 0
            for some in (ready(), leased(), resting(), ended_badly(), unbegun()):
                for state, queue, count in connection.execute(select(*by, number).where(some).group_by(*by)):
                    states[state] += count
                    depth[queue] += count if state in ("ready", "queued") else 0
        states["completed"] = every - states.total()
        return dict(+states), dict(+depth)

    # -- definitions ------------------------------------------------------------------------------

    def define(self, given: WorkflowDefinition, *, source: str, owner: str, now: int) -> KeptDefinition:
        """Makes the definition the newest of its workflow. One that came from a configuration file
        and did not change since stays where it is, so that a restart undoes nobody's work."""
        digest = given.hash()
        table = definition
        with self._database.begin() as connection:
            if source == "config" and (same := _unchanged(connection, given)) is not None:
                return same
            added = connection.execute(
                insert_into(connection, table)
                .values(
                    hash=digest,
                    workflow_id=given.workflow_id,
                    name=given.name,
                    body=given.canonical().decode(),
                    source=source,
                    owner=owner,
                    created_at=now,
                )
                .on_conflict_do_nothing(index_elements=[table.c.hash])
                .returning(table.c.hash)
            ).first()
            if added is None:
                last = connection.scalar(
                    select(table.c.hash)
                    .where(table.c.workflow_id == given.workflow_id)
                    .where(table.c.source == "config" if source == "config" else table.c.hash.is_not(None))
                    .order_by(table.c.created_at.desc())
                    .limit(1)
                )
                if last != digest and not (source == "config" and last is None):
                    connection.execute(
                        update(table).where(table.c.hash == digest).values(created_at=now, source=source, owner=owner)
                    )
            row = connection.execute(select(table).where(table.c.hash == digest)).one()
        return _definition_of(row)

    def definition(self, workflow_id: str) -> KeptDefinition | None:
        """The newest definition of a workflow."""
        with self._database.read() as connection:
            row = NEWEST_DEFINITION.one(connection, of_workflow=workflow_id)
        if row is None:
            return None
        return KeptDefinition(_read(row["body"]), row["hash"], row["source"], row["owner"], row["created_at"])

    def definitions(self) -> list[KeptDefinition]:
        """The newest of each workflow, by id."""
        with self._database.read() as connection:
            rows = connection.execute(select(definition).order_by(definition.c.created_at))
            newest = {row.workflow_id: row for row in rows}
        return [_definition_of(newest[name]) for name in sorted(newest)]


def _unchanged(connection: Connection, given: WorkflowDefinition) -> KeptDefinition | None:
    """What the file said last, where it says the same now: compared by what is said, since a newer version of
    the gateway may write (and so name) it otherwise."""
    row = connection.execute(
        select(definition)
        .where(definition.c.workflow_id == given.workflow_id, definition.c.source == "config")
        .order_by(definition.c.created_at.desc())
        .limit(1)
    ).one_or_none()
    kept = None if row is None else _definition_of(row)
    return kept if kept is not None and kept.definition == given else None


def _definition_of(row: Row[Any]) -> KeptDefinition:
    return KeptDefinition(_read(row.body), row.hash, row.source, row.owner, row.created_at)


@lru_cache(maxsize=512)
def _read(body: str) -> WorkflowDefinition:
    """A definition is read for each of its runs, and changed by nobody."""
    return WorkflowDefinition.decode(body)
