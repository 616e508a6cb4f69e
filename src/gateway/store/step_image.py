"""Runs that a transaction has locked, and their steps: read once, changed here, written together.

Whoever holds a run's lock is alone with its steps, but for two things (``engine.ports``): a ready step may be handed
out by another, and the holder of a running one keeps its lease and tells its progress. So what was read after the
lock stays true, if ready steps are taken only where they are ``own``: made ready here, or locked as well. What is
written is asked once more: a step that is not as it was found was moved against these rules, and nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection

from gateway.engine.states import RUN_LIVE
from gateway.errors import Unavailable
from gateway.store import step_statements as statements
from gateway.store.kept_rows import KeptRun, KeptStep
from gateway.store.many_rows import array, insert_rows
from gateway.store.prepared import sent_together
from gateway.store.run_memory import RunMemory
from gateway.store.tables import step


class Image:
    """One a transaction."""

    def __init__(self, connection: Connection, memory: RunMemory | None = None) -> None:
        """``memory``: what the last transactions of who writes left."""
        self._connection = connection
        self._memory = memory
        #: PostgreSQL's number of this transaction, once it wrote steps and there is a memory.
        self._version: str | None = None
        self.runs: dict[str, KeptRun] = {}
        self._steps: dict[str, KeptStep] = {}
        #: By run, in the order of the definition; without items.
        self._shown: dict[str, list[KeptStep]] = {}
        #: Of runs: ready steps that were locked beside those of ``_shown``, and whether there are no more.
        self._locked: dict[str, list[KeptStep]] = {}
        self._no_more: set[str] = set()

    # -- reading ----------------------------------------------------------------------------------

    def begin(self, run_ids: Iterable[str], task_ids: Sequence[str]) -> None:
        """Locks these runs, and reads them with their steps and with these items, all at once; before anything else
        is read."""
        connection, wanted = self._connection, sorted(run_ids)
        taken = {} if self._memory is None else self._memory.take(connection, wanted)
        others = [run_id for run_id in wanted if run_id not in taken]
        with sent_together(connection):
            locked = statements.LOCK_RUNS.ask(connection, **among(connection, runs=wanted))
            found = self._ask(others, task_ids)
            unchanged = RunMemory.check(connection, taken)
        self.runs |= {values["run_id"]: KeptRun(values, connection) for values in locked()}
        for run_id, steps in unchanged().items():
            if run_id in self.runs:
                self._shown[run_id] = steps
                self._steps |= {one.values["task_id"]: one for one in steps}
        self._keep([run_id for run_id in others if run_id in self.runs], found())
        self.load([run_id for run_id in taken if run_id in self.runs])

    def rest(self) -> None:
        """The transaction was committed: what it knows of runs that go on is kept for the next."""
        if self._memory is None:
            return
        for run_id, steps in self._shown.items():
            run = self.runs.get(run_id)
            if run is not None and run.row.status in RUN_LIVE:
                self._memory.put(run_id, steps, self._version)

    def lock(self, run_ids: Iterable[str]) -> None:
        """Locks the runs, in one order, and reads them."""
        wanted = sorted({run_id for run_id in run_ids if run_id not in self.runs})
        if not wanted:
            return
        self.write()  # a run that was made here has steps that were changed before
        for values in statements.LOCK_RUNS.all(self._connection, **among(self._connection, runs=wanted)):
            run_id = values["run_id"]
            self.runs[run_id] = KeptRun(values, self._connection)
            for one in self._shown.pop(run_id, ()):  # from before the lock
                self._steps.pop(one.values["task_id"], None)

    def load(self, run_ids: Iterable[str], task_ids: Iterable[str] = ()) -> None:
        """Reads the steps of these runs, and these items."""
        runs = [run_id for run_id in run_ids if run_id not in self._shown]
        items = [task_id for task_id in task_ids if task_id not in self._steps]
        if not runs and not items:
            return
        self._keep(runs, self._ask(runs, items)())

    def _ask(self, runs: Sequence[str], items: Sequence[str]) -> Callable[[], list[dict[str, Any]]]:
        if not runs and not items:
            return list
        if not items:
            return statements.STEPS_OF_RUNS.ask(self._connection, **among(self._connection, runs=runs))
        return statements.STEPS_AND_ITEMS.ask(self._connection, **among(self._connection, runs=runs, tasks=items))

    def _keep(self, runs: Sequence[str], rows: Iterable[dict[str, Any]]) -> None:
        """``rows``: every step of these runs, and perhaps some of them once more, some items, and steps of others."""
        shown: dict[str, dict[str, KeptStep]] = {run_id: {} for run_id in runs}
        for values in rows:
            task_id, of_run = values["task_id"], shown.get(values["run_id"])
            is_item = values["role"] == "item"
            one = self._steps.get(task_id)
            if one is None and (is_item or of_run is not None):
                one = self._steps[task_id] = KeptStep(values)
            if one is not None and of_run is not None and not is_item:
                of_run[task_id] = one
        self._shown |= {run_id: sorted(steps.values(), key=_position) for run_id, steps in shown.items()}

    def add(self, run_values: dict[str, Any], steps: Sequence[Mapping[str, Any]]) -> None:
        """A run that was made in this transaction, so that nobody else knows of it, and its steps, which the database
        will have as they are when they are written."""
        run_id = run_values["run_id"]
        self.runs[run_id] = KeptRun(run_values, self._connection)
        self._shown[run_id] = self._made(steps)

    def add_items(self, run_id: str, items: Sequence[Mapping[str, Any]]) -> None:
        """Items of a run that is locked, made in this transaction and ready."""
        self._locked.setdefault(run_id, []).extend(self._made(items))

    def _made(self, rows: Sequence[Mapping[str, Any]]) -> list[KeptStep]:
        kept = [KeptStep(statements.whole_row(step, values), own=True, new=True) for values in rows]
        self._steps |= {one.values["task_id"]: one for one in kept}
        return kept

    def of_run(self, run_id: str) -> list[KeptStep]:
        """Its steps, in the order of the definition; without items."""
        if run_id not in self._shown:
            self.load([run_id])
        return self._shown[run_id]

    def find(self, task_id: str, run_id: str) -> KeptStep | None:
        """A step or an item of that run, which is locked."""
        if task_id not in self._steps:
            self.load([run_id], [task_id])
        one = self._steps.get(task_id)
        return one if one is not None and one.values["run_id"] == run_id else None

    def known(self, task_id: str) -> KeptStep | None:
        """A step, if it was read."""
        return self._steps.get(task_id)

    def ready(self, run_id: str, now: int, wanted: int, soon: int) -> list[KeptStep]:
        """Ready steps and items of a run that is locked, and of the runs that it began, that are due and nobody
        else can hand out: ``wanted`` of them, where there are so many, most urgent first. ``soon`` more are going to
        be asked for."""
        shown = self.of_run(run_id)
        if any(one.state in ("ready", "gathering") or one.values["state"] == "gathering" for one in shown):
            self._lock_ready(run_id, now, wanted, soon)
        found = [*shown, *self._locked.get(run_id, ())]
        due = [one for one in found if one.own and one.values["state"] == "ready" and one.values["not_before"] <= now]
        return sorted(due, key=_urgency)[:wanted]

    def _lock_ready(self, run_id: str, now: int, wanted: int, soon: int) -> None:
        """Those that the database has as ready, so that ``wanted`` are at hand."""
        shown, beside = self._shown[run_id], self._locked.setdefault(run_id, [])
        at_hand = sum(one.own and one.values["state"] == "ready" for one in [*shown, *beside])
        if run_id in self._no_more or at_hand >= wanted:
            return
        most = max(wanted, soon)
        if any(one.new or (one.dirty and one.state == "ready") for one in self._steps.values()):
            self.write()  # or what was handed out here would be found again, and what was made here would not
        rows = statements.LOCK_READY.all(self._connection, of_run=run_id, now=now, most=most)
        if len(rows) < most:
            self._no_more.add(run_id)
        for values in rows:
            one = KeptStep(values, own=True)
            before = self._steps.get(values["task_id"])
            self._steps[values["task_id"]] = one
            places = [self._shown.get(values["run_id"], []), beside]
            for place in places:
                if before is not None and before in place:
                    place[place.index(before)] = one
            if one not in shown and one not in beside:
                beside.append(one)

    def more_ready(self, run_id: str) -> None:
        """Items of the run became ready."""
        self._no_more.discard(run_id)

    # -- writing ----------------------------------------------------------------------------------

    def write(self, and_then: Callable[[], None] = lambda: None) -> None:
        """Everything that was changed, steps in one statement and runs in another, and with them what ``and_then`` asks
        for. ``Unavailable`` where a step was moved against the rules meanwhile: the transaction is to be given up."""
        new = [one for one in self._steps.values() if one.new]
        if new:
            columns = [column.key for column in step.c]
            insert_rows(self._connection, step, columns, [tuple(map(one.values.get, columns)) for one in new])
            for one in new:
                one.written()
        steps = [one for one in self._steps.values() if one.dirty]
        changed = {run_id: run for run_id, run in self.runs.items() if run.dirty}
        if not steps and not changed:
            and_then()
            return
        written: Callable[[], int] = int
        version: Callable[[], list[dict[str, Any]]] = list
        with sent_together(self._connection):
            if self._memory is not None and self._version is None and self._connection.dialect.name == "postgresql":
                version = statements.TRANSACTION.ask(self._connection)
            if steps:
                keys = [(one.values["task_id"], one.token, one.state) for one in steps]
                written = _update(self._connection, "step", keys, [one.written_values() for one in steps])
            if changed:
                values = [list(run.values.values()) for run in changed.values()]
                _update(self._connection, "run", [(run_id,) for run_id in changed], values)
            and_then()
        if written() != len(steps):
            raise Unavailable("a step was moved by somebody else meanwhile", mend="try again", retry_after=1.0)
        for one in steps:
            one.written()
        for run in changed.values():
            run.dirty = False
        for row in version():
            self._version = row["version"]

    def forget(self) -> None:
        """Steps are read anew: something changes them by another way."""
        self.write()
        self._steps.clear()
        self._shown.clear()
        self._locked.clear()
        self._no_more.clear()


class ImageTx:
    """What all queries of a transaction share: the image, and how they come by the database."""

    def __init__(self, connection: Connection, memory: RunMemory | None = None) -> None:
        #: For what neither reads nor changes runs or steps.
        self.raw = connection
        self.image = Image(connection, memory)

    @property
    def connection(self) -> Connection:
        """For what changes runs or steps by a statement of its own: what was read before is not relied on."""
        self.image.forget()
        return self.raw

    @property
    def settled(self) -> Connection:
        """For what reads runs or steps."""
        self.image.write()
        return self.raw

    def kept_run(self, run_id: str) -> KeptRun:
        """The run, which is locked."""
        self.image.lock((run_id,))
        return self.image.runs[run_id]

    def held_step(self, task_id: str, run_id: str, token: int, state: str) -> KeptStep | None:
        """The step or item of that run, which is locked, if it is in that state and ``token`` is still good."""
        one = self.image.find(task_id, run_id)
        good = one is not None and one.values["token"] == token and one.values["state"] == state
        return one if good else None


def _position(one: KeptStep) -> int:
    position: int = one.values["position"]
    return position


def _urgency(one: KeptStep) -> tuple[int, int, int]:
    values = one.values
    return -values["priority"], values["created_at"], values["position"]


def insert_steps(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """New steps; columns that are not named have the defaults of the schema."""
    whole = [tuple(statements.whole_row(step, row).values()) for row in rows]
    insert_rows(connection, step, [column.key for column in step.c], whole)


def among(connection: Connection, **lists: Sequence[str]) -> dict[str, str]:
    """Lists as the parameter of ``statements.among``."""
    if connection.dialect.name == "postgresql":
        return {name: array(values, text=True) for name, values in lists.items()}
    return {name: msgspec.json.encode(values).decode() for name, values in lists.items()}


def _update(
    connection: Connection, table: str, keys: Sequence[tuple[Any, ...]], rows: Sequence[Sequence[Any]]
) -> Callable[[], int]:
    """What says how many rows are as their keys say, and were changed."""
    many = statements.UPDATE_MANY[table]
    if connection.dialect.name != "postgresql":
        changed = many.each.many(
            connection, [dict(zip(many.names, (*key, *row), strict=True)) for key, row in zip(keys, rows, strict=True)]
        )
        return lambda: changed
    columns = zip(*((*key, *row) for key, row in zip(keys, rows, strict=True)), strict=True)
    given = {name: array(values, text=text) for name, values, text in zip(many.names, columns, many.texts, strict=True)}
    return many.whole.change(connection, **given)
