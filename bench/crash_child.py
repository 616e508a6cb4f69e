"""A gateway in one process that kills itself (-9) at the n-th point of its work; see ``crash_points.py``.

A point is just before or after something that the world keeps: an SQL statement, a commit, a line of the journal of
calls, a doorbell, a call of the provider, a webhook. All else is the gateway's own: its runner, its orchestrator, its
executor, on a real database. Its clock may be set ahead, so that the leases of the dead have run out.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crash_controls import CONTROLS
from sqlalchemy import event, text

import gateway.workflows.llm_analysis  # noqa: F401 - read once, before processes are forked from this one
from gateway import bootstrap
from gateway.bootstrap import Core, make_core
from gateway.clock import SECOND, SystemClock
from gateway.engine.ports import Executor
from gateway.engine.rows import Doorbell
from gateway.providers.egress_client import EgressClient
from gateway.providers.endpoint_client import EndpointClient
from gateway.security.access import caller_for
from gateway.settings import Settings
from gateway.store.engine import Database
from gateway.store.journal_file import JournalFile
from gateway.store.journal_folder import orphans
from gateway.store.prepared import Prepared
from gateway.store.run_reader import SqlRunReader
from gateway.tasks.desk import Desk
from gateway.tasks.inline import InlineExecutor
from gateway.tasks.submission import read_run
from gateway.work_process import make_orchestrator, make_runner

WORKFLOW = "crash"
CALLER = caller_for("crash", "admin")
_ENDED = "SELECT count(*) FROM run WHERE status IN ('completed', 'failed', 'cancelled')"
_UNSENT = "SELECT count(*) FROM webhook_delivery WHERE state <> 'delivered'"


@dataclass(frozen=True)
class Orders:
    """What a process is told: where everything is, what to ask for, when to die (0: never). ``ahead``: seconds."""

    url: str
    folder: Path
    config: Path
    body: dict[str, Any]
    run_id: str
    die_at: int
    ahead: float
    seconds: float
    control: str = ""

    @property
    def accepted(self) -> Path:
        """Is there once the run was accepted: who gave it does not ask again."""
        return self.folder / "accepted"

    @property
    def points(self) -> Path:
        """The names of the points of the last process, the one it died at last."""
        return self.folder / "points.json"


class Points:
    """Counts, from whatever thread, and kills this process at one of them."""

    def __init__(self, orders: Orders) -> None:
        self._file = orders.points
        self._die_at = orders.die_at
        self._names: list[str] = []
        self._lock = threading.Lock()

    def at(self, name: str) -> None:
        """Does not return where the process is to die."""
        with self._lock:
            self._names.append(name)
            if len(self._names) == self._die_at:
                self.tell()
                os.kill(os.getpid(), signal.SIGKILL)
                threading.Event().wait()

    def tell(self) -> None:
        """Writes down what was counted."""
        self._file.write_text(json.dumps(self._names))

    def around(self, owner: Any, method: str, name: str) -> None:
        """A point before and one after each call of a method."""
        made = getattr(owner, method)

        @functools.wraps(made)
        def called(*given: Any, **named: Any) -> Any:
            self.at(f"before {name}")
            result = made(*given, **named)
            self.at(f"after {name}")
            return result

        setattr(owner, method, called)

    def around_coroutine(self, owner: Any, method: str, name: str) -> None:
        """The same of a coroutine."""
        made = getattr(owner, method)

        @functools.wraps(made)
        async def called(*given: Any, **named: Any) -> Any:
            self.at(f"before {name}")
            result = await made(*given, **named)
            self.at(f"after {name}")
            return result

        setattr(owner, method, called)


class Bells:
    """An executor with a point before and after each doorbell."""

    def __init__(self, executor: Executor, points: Points) -> None:
        self._executor = executor
        self._points = points

    def ring(self, doorbells: Sequence[Doorbell]) -> None:
        for bell in doorbells:
            self._points.at("before a doorbell")
            self._executor.ring([bell])
            self._points.at("after a doorbell")


def live(orders: Orders) -> None:
    """The whole life of the process: gives the run unless it was accepted, works until all is at rest, ends with 0;
    with 3 where that does not come about in time."""
    points = Points(orders)
    if orders.control:
        CONTROLS[orders.control]()
    bootstrap.SystemClock = functools.partial(_Later, orders.ahead)  # type: ignore[misc,assignment]
    environ = {"DATABASE_URL": orders.url, "GATEWAY_CONFIG_DIR": str(orders.config), "GATEWAY_LOG_LEVEL": "error"}
    core = make_core(Settings.read(environ, dev=True, data_dir=orders.folder / "data"))
    watch(core, points)
    runner = make_runner(core)
    executor = Bells(InlineExecutor(runner), points)
    runner.ring_with(executor)
    ended = False
    try:
        _work(core, executor, orders)
        runner.close()
        core.calls.close()
        points.tell()
        ended = True
    finally:
        os._exit(0 if ended else 3)


def watch(core: Core, points: Points) -> None:
    """Puts the points where the world is touched."""
    engine = core.database.engine

    def before(sql: str) -> None:
        points.at(f"before {' '.join(sql.split()[:2]).lower()}")

    @event.listens_for(engine, "before_cursor_execute")
    def statement(_connection: Any, _cursor: Any, sql: str, *_rest: Any) -> None:
        before(sql)

    do = Prepared.do

    def prepared(connection: Any, how: str, sql: str, given: Any) -> Any:
        if connection.engine is engine:  # not of those who only look
            before(sql)
        return do(connection, how, sql, given)

    Prepared.do = staticmethod(prepared)  # type: ignore[method-assign]
    points.around(engine.dialect, "do_commit", "a commit")
    points.around(JournalFile, "write", "a line of the journal")
    points.around_coroutine(EndpointClient, "post", "a call of the provider")
    points.around_coroutine(EgressClient, "post", "a webhook")


def _work(core: Core, executor: Executor, orders: Orders) -> None:
    desk = Desk(
        core.engine,
        SqlRunReader(core.database),
        core.events,
        executor,
        lambda: core.catalogue.current,
        core.task_types,
        core.clock,
        core.egress.check,
    )
    stop = threading.Event()
    orchestrator = threading.Thread(target=make_orchestrator(core, executor).run, args=(stop,), daemon=True)
    orchestrator.start()
    if not orders.accepted.exists():
        desk.start_run(CALLER, WORKFLOW, read_run(orders.body), "req-crash", run_id=orders.run_id)
        orders.accepted.touch()
    deadline = time.monotonic() + orders.seconds
    with contextlib.closing(Database(orders.url)) as looking:  # one whose statements are no points
        while not _at_rest(looking, orders):
            if time.monotonic() > deadline:
                raise TimeoutError("the run did not come to rest")
            time.sleep(0.02)
    stop.set()
    orchestrator.join(10)


def _at_rest(looking: Database, orders: Orders) -> bool:
    """Whether the run has ended, its webhook is delivered, and no journal is left of the dead."""
    with looking.read() as connection:
        ended, unsent = (connection.scalar(text(query)) for query in (_ENDED, _UNSENT))
    return ended == 1 and unsent == 0 and not any(orphans(orders.folder / "data" / "journal"))


class _Later(SystemClock):
    """The system's clock, so many seconds ahead."""

    def __init__(self, ahead: float) -> None:
        super().__init__()
        self._ahead = round(ahead * SECOND)

    def now(self) -> int:
        return super().now() + self._ahead
