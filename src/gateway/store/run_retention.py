"""Removes runs that ended long ago, with everything that belongs to them alone.

A run goes with the runs within it, which ended before it did: those first, so that a crash leaves the outer run, by
which the next look finds what is left. What is removed, what stays, and why: ``docs/howto/remove-old-runs.md``. A
transaction takes the rows of its runs first, and passes over those that another has, so any number may do this at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, func, or_, select

from gateway.engine.states import RUN_ENDED
from gateway.store.artifact_collection import unnamed_but_for_uses
from gateway.store.artifact_uses import result_holder
from gateway.store.batch_store import ENDED as BATCH_ENDED
from gateway.store.codec import from_json
from gateway.store.engine import Database
from gateway.store.indexed_states import leased, live
from gateway.store.tables import (
    artifact,
    artifact_use,
    batch,
    batch_ask,
    budget,
    dead_letter,
    edge,
    event,
    run,
    signal,
    step,
    step_call,
    step_call_begun,
    step_limit,
    step_result,
    webhook_delivery,
)

#: So many runs are looked at, and at most so many removed, at once …
_RUNS_AT_ONCE = 100
#: … of not many more steps than this together (or it is one run) …
_STEPS_AT_ONCE = 2_000
#: … and a run that has more events than this loses those beforehand, so many at a time.
_EVENTS_AT_ONCE = 10_000


class Removed(NamedTuple):
    """How many rows went, or would go."""

    runs: int = 0
    steps: int = 0
    events: int = 0

    def plus(self, other: Removed) -> Removed:
        """Both."""
        return Removed(self.runs + other.runs, self.steps + other.steps, self.events + other.events)


class Doomed(NamedTuple):
    """What a removal would take: rows, artifacts that nothing else names, and their bytes."""

    rows: Removed
    artifacts: int
    size: int


class SqlRunRetention:
    """One a process; thread safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def remove(self, before: int, go_on: Callable[[], bool] = lambda: True) -> tuple[Removed, bool]:
        """Removes what ended before that time, in many transactions, for as long as ``go_on`` says; what went, and
        whether everything did that could."""
        total = Removed()
        for tree in self._trees(before):
            todo = tree
            while todo:
                if not go_on():
                    return total, False
                done, todo = self._remove(todo, before)
                total = total.plus(done)
        return total, True

    def count(self, before: int) -> Doomed:
        """What ``remove`` would take."""
        rows, artifacts, size = Removed(), 0, 0
        uses: dict[str, int] = {}
        for tree in self._trees(before):
            for at in range(0, len(tree), _RUNS_AT_ONCE):
                some = tree[at : at + _RUNS_AT_ONCE]
                steps = step.c.run_id.in_(some)
                with self._database.read() as connection:
                    found = [
                        connection.scalar(select(func.count()).where(one)) or 0
                        for one in (steps, event.c.run_id.in_(some))
                    ]
                    for held in _held_by(some):
                        holds = select(artifact_use.c.sha256, func.count()).where(held)
                        for name, number in connection.execute(holds.group_by(artifact_use.c.sha256)):
                            uses[name] = uses.get(name, 0) + number
                rows = rows.plus(Removed(len(some), *found))
        names = sorted(uses)
        for at in range(0, len(names), 500):
            query = (
                select(artifact.c.sha256, artifact.c.size, func.count())
                .join(artifact_use, artifact_use.c.sha256 == artifact.c.sha256)
                .where(artifact.c.sha256.in_(names[at : at + 500]), artifact.c.used_at.is_not(None))
                .where(*unnamed_but_for_uses())
                .group_by(artifact.c.sha256, artifact.c.size)
            )
            with self._database.read() as connection:
                last = [length for name, length, number in connection.execute(query) if number == uses[name]]
            artifacts, size = artifacts + len(last), size + sum(last)
        return Doomed(rows, artifacts, size)

    def forget_results(self, now: int) -> int:
        """Removes results that equal steps might have taken, past their time; how many."""
        with self._database.read() as connection:
            old = select(step_result.c.key).where(step_result.c.expires_at <= now).limit(500)
            keys = list(connection.scalars(old))
        if not keys:
            return 0
        with self._database.begin() as connection:
            past = delete(step_result).where(step_result.c.key.in_(keys), step_result.c.expires_at <= now)
            gone = list(connection.scalars(past.returning(step_result.c.key)))
            holders = [result_holder(key) for key in gone]
            connection.execute(delete(artifact_use).where(artifact_use.c.holder.in_(holders)))
        return len(gone)

    def _trees(self, before: int) -> Iterator[list[str]]:
        """Some runs that may go together, the inner ones of each first."""
        last: tuple[int, str] = (0, "")
        while True:
            page = (
                select(run.c.created_at, run.c.run_id)
                .where(run.c.created_at < before, run.c.parent_run.is_(None))
                .where(or_(run.c.created_at > last[0], and_(run.c.created_at == last[0], run.c.run_id > last[1])))
                .where(run.c.created_at >= last[0])
                .where(*_may_go(before))
                .order_by(run.c.created_at, run.c.run_id)
                .limit(_RUNS_AT_ONCE)
            )
            with self._database.read() as connection:
                found = connection.execute(page).all()
                tree = _with_inner(connection, [row.run_id for row in found], before)
            if not found:
                break
            last = (found[-1].created_at, found[-1].run_id)
            if tree:
                yield tree

    def _remove(self, runs: list[str], before: int) -> tuple[Removed, list[str]]:
        """The first of these in one transaction, and which are left."""
        some = self._some(runs[:_RUNS_AT_ONCE])
        early = self._remove_events(some[0], before) if len(some) == 1 else 0
        with self._database.begin() as connection:
            mine = _taken(connection, some, before)
            done = _remove_rows(connection, mine) if mine else Removed()
        return done.plus(Removed(events=early)), runs[len(some) :]

    def _some(self, runs: list[str]) -> list[str]:
        """As many of them, at least one, as have not too many steps together."""
        sizes = select(step.c.run_id, func.count()).where(step.c.run_id.in_(runs)).group_by(step.c.run_id)
        with self._database.read() as connection:
            steps = {row[0]: int(row[1]) for row in connection.execute(sizes)}
        total = 0
        for number, run_id in enumerate(runs):
            total += steps.get(run_id, 0)
            if total > _STEPS_AT_ONCE and number:
                return runs[:number]
        return runs

    def _remove_events(self, run_id: str, before: int) -> int:
        """Those of a run that has very many, all but the last few."""
        total = 0
        while True:
            some = select(event.c.id).where(event.c.run_id == run_id).order_by(event.c.id).limit(_EVENTS_AT_ONCE)
            with self._database.begin() as connection:
                if not _taken(connection, [run_id], before):
                    return total
                ids = list(connection.scalars(some))
                if len(ids) < _EVENTS_AT_ONCE:
                    return total
                total += connection.execute(
                    delete(event).where(event.c.run_id == run_id, event.c.id <= ids[-1])
                ).rowcount


def _may_go(before: int) -> tuple[ColumnElement[bool], ...]:
    """Of a run: it ended before that time, and nobody waits for anything of it."""
    of_step = select(step.c.run_id)
    waiting: tuple[Select[Any], ...] = (
        of_step.where(leased()),  # a worker is yet to end it
        select(dead_letter.c.run_id).where(dead_letter.c.closed_at.is_(None)),  # nobody has dealt with it yet
        select(webhook_delivery.c.run_id).where(
            webhook_delivery.c.state == "pending", webhook_delivery.c.run_id.is_not(None)
        ),
        of_step.join(batch, batch.c.task_id == step.c.task_id).where(batch.c.status.not_in(BATCH_ENDED)),
        of_step.join(batch_ask, batch_ask.c.owner == step.c.task_id),  # until its provider's batch is settled
        select(budget.c.subject).where(budget.c.active, budget.c.scope == "run"),  # until it is ended
        select(budget.c.parent).where(budget.c.active, budget.c.scope == "step", budget.c.parent.is_not(None)),
    )
    return (
        run.c.status.in_(RUN_ENDED),
        run.c.completed_at < before,
        *(run.c.run_id.not_in(one) for one in waiting),
    )


def _with_inner(connection: Connection, outer: Sequence[str], before: int) -> list[str]:
    """The runs and all within them, the innermost first, without those of which not everything may go."""
    needed = _needed(connection)
    levels: list[list[str]] = [list(outer)]
    top = {run_id: run_id for run_id in outer}
    kept = {run_id for run_id in outer if run_id in needed}
    good = and_(*_may_go(before))
    while level := levels[-1]:
        following: list[str] = []
        for at in range(0, len(level), _RUNS_AT_ONCE):
            within = select(run.c.run_id, run.c.parent_run).where(run.c.parent_run.in_(level[at : at + _RUNS_AT_ONCE]))
            for row in connection.execute(within.add_columns(good.label("good"))):
                top[row.run_id] = top[row.parent_run]
                following.append(row.run_id)
                if not row.good or row.run_id in needed:
                    kept.add(top[row.run_id])
        levels.append(following)
    return [run_id for level in reversed(levels) for run_id in level if top[run_id] not in kept]


def _needed(connection: Connection) -> set[str]:
    """Runs from which one comes that has not ended: a replay reads their answers."""
    origins = select(run.c.origin).where(live(), run.c.parent_run.is_(None), run.c.origin.is_not(None))
    return {str(from_json(text).get("run_id")) for text in connection.scalars(origins)}


def _taken(connection: Connection, runs: Sequence[str], before: int) -> list[str]:
    """Those of the runs that may go now, their rows locked; not those that another transaction has."""
    mine = select(run.c.run_id).where(run.c.run_id.in_(runs), *_may_go(before))
    locked = list(connection.scalars(mine.order_by(run.c.run_id).with_for_update(of=run, skip_locked=True)))
    needed = _needed(connection)  # after the lock: whoever begins a run that comes from one of these waits for it
    within = select(run.c.parent_run).where(run.c.parent_run.in_(locked), run.c.run_id.not_in(locked))
    outer = set(connection.scalars(within))
    return [run_id for run_id in locked if run_id not in needed | outer]


def _held_by(runs: Sequence[str]) -> tuple[ColumnElement[bool], ...]:
    """Of uses: one after the other, since a database finds none of both at once by an index."""
    tasks = select(step.c.task_id).where(step.c.run_id.in_(runs))
    return artifact_use.c.holder.in_(runs), artifact_use.c.holder.in_(tasks)


def _remove_rows(connection: Connection, runs: Sequence[str]) -> Removed:
    """Everything that belongs to these runs alone, in the order that foreign keys ask for."""
    tasks = select(step.c.task_id).where(step.c.run_id.in_(runs))
    for held in _held_by(runs):
        connection.execute(delete(artifact_use).where(held))
    for table in (step_limit, dead_letter, step_call_begun, step_call):
        connection.execute(delete(table).where(table.c.task_id.in_(tasks)))
    for table in (edge, signal, webhook_delivery):
        connection.execute(delete(table).where(table.c.run_id.in_(runs)))
    events = connection.execute(delete(event).where(event.c.run_id.in_(runs))).rowcount
    steps = connection.execute(delete(step).where(step.c.run_id.in_(runs))).rowcount
    gone = connection.execute(delete(run).where(run.c.run_id.in_(runs))).rowcount
    return Removed(gone, steps, events)
