"""Steps of runs as one writer left them: what nobody else has changed since need not be read again.

The step that ends has nine others of its run beside it, and all are looked at to say what follows. Whoever wrote them
last most often is who writes them next. Whether they still are as they were the database says itself, in the
transaction that needs them: PostgreSQL by the transaction that wrote each row (``xmin``), SQLite by a number that
changes with each commit of anybody else.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence

from sqlalchemy import Connection

from gateway.store import step_statements as statements
from gateway.store.kept_rows import KeptStep
from gateway.store.many_rows import array

#: Runs that are remembered; the one that was written longest ago is forgotten for another.
_MOST = 256
#: A run with more characters of JSON than these is not remembered.
_LARGEST = 64 * 1024

Runs = dict[str, list[KeptStep]]


class RunMemory:
    """Shared by those who write to PostgreSQL; on SQLite one of a connection."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: OrderedDict[str, list[KeptStep]] = OrderedDict()
        #: SQLite's number at the last look.
        self._seen: int | None = None

    def reconnected(self) -> None:
        """The connection is another one: SQLite's number is not to be compared with those of the last."""
        self._seen = None

    def take(self, connection: Connection, run_ids: Iterable[str]) -> Runs:
        """What is known of these runs, and from now on is the taker's. On PostgreSQL ``check`` says whether it still
        holds."""
        if connection.dialect.name != "postgresql":
            found = statements.DATA_VERSION.one(connection)
            seen = None if found is None else found["data_version"]
            if seen != self._seen:
                self._runs.clear()
                self._seen = seen
        with self._lock:
            return {run_id: steps for run_id in run_ids if (steps := self._runs.pop(run_id, None)) is not None}

    @staticmethod
    def check(connection: Connection, taken: Runs) -> Callable[[], Runs]:
        """What gives those of the runs, which are locked, whose steps are as they were; to be called once
        ``prepared.sent_together`` is over."""
        if connection.dialect.name != "postgresql" or not taken:
            return lambda: taken
        rows = statements.VERSIONS_OF_STEPS.ask(connection, runs=array(list(taken), text=True))

        def unchanged() -> Runs:
            now: dict[str, dict[str, str]] = {}
            for row in rows():
                now.setdefault(row["run_id"], {})[row["task_id"]] = row["version"]
            return {
                run_id: steps
                for run_id, steps in taken.items()
                if now.get(run_id) == {one.values["task_id"]: one.version for one in steps}
            }

        return unchanged

    def put(self, run_id: str, steps: Sequence[KeptStep], version: str | None) -> None:
        """Steps of a run as a transaction that was committed left them; ``version``: PostgreSQL's number of it, where
        it wrote any."""
        if sum(map(KeptStep.size, steps)) > _LARGEST:
            return
        for one in steps:
            one.rest(version)
        with self._lock:
            self._runs[run_id] = list(steps)
            if len(self._runs) > _MOST:
                self._runs.popitem(last=False)
