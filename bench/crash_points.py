"""Crash at every point: ``make crash`` or ``.venv/bin/python bench/crash_points.py``; ``--help`` names the options.

One run of a workflow with a list and paid calls is done by one process, again and again, each time on a new database.
The n-th time the process kills itself (-9) at its n-th point (``crash_child.py``), until a run needs fewer points than
that. Another process then goes on with what is there, its clock set ahead by more than any lease, and what must hold
is asked of SQL, of the provider's own count and of the receiver of webhooks. A second pass does the same with the
process that goes on after a crash: that is killed at each of its points too.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from crash_child import CALLER, WORKFLOW, Orders, live
from crash_controls import CONTROLS
from crash_proof import Seen, prove, seen_in
from sqlalchemy import text
from storm_far import READERS, Far
from storm_town import Postgres, write_config
from verdict import Verdict

from gateway.clock import SystemClock
from gateway.engine.definition import parse_definition
from gateway.store.engine import Database
from gateway.store.migrate import upgrade
from gateway.store.run_reader import SqlRunReader
from gateway.workflows.task_types import known_task_types

#: Seconds by which the clock of each further process is ahead of the one before: longer than any lease.
_AHEAD = 120.0
#: Seconds that a process may take; and where something is broken on purpose.
_PATIENCE, _SHORT = 60.0, 8.0


def workflow() -> dict[str, Any]:
    """A paid call, one for each item of a list, and one on what came of it."""

    def step(name: str, source: str, **more: Any) -> dict[str, Any]:
        config, mapping = {"name": "paid"}, {"prompt": source}
        return {"step_id": name, "task_type": "llm_analysis", "model_config": config, "input_mapping": mapping, **more}

    many = step("many", "step.first.response", dependencies=["first"], for_each={"in": "input.list"})
    end = step("end", "step.first.response", dependencies=["many"])
    return {"workflow_id": WORKFLOW, "steps": [step("first", "input.question"), many, end]}


class Ground:
    """Where trials happen: each has a database and a folder of its own, made from one that holds the workflow."""

    def __init__(self, folder: Path, far: Far, *, postgres: bool) -> None:
        self._folder = folder
        self._server = Postgres(folder / "pg") if postgres else None
        self.config = folder / "config"
        self.config.mkdir()
        write_config(self.config, far.url)
        with closing(Database(self._make("model"))) as database:
            upgrade(database)
            definition = parse_definition(workflow(), known_task_types())
            now = SystemClock().now()
            SqlRunReader(database).define(definition, source="api", owner=CALLER.principal, now=now)

    @contextmanager
    def trial(self, name: str) -> Iterator[tuple[str, Path]]:
        """The address of a new database, and a folder."""
        folder = self._folder / name
        folder.mkdir()
        try:
            yield self._copy(name), folder
        finally:
            self._drop(name)
            shutil.rmtree(folder)

    def close(self) -> None:
        """Ends the servers."""
        if self._server is not None:
            self._server.stop()

    def _make(self, name: str) -> str:
        if self._server is None:
            return f"sqlite:///{self._folder / name}.db"
        self._command(f"CREATE DATABASE {name}")
        return self._server.url.replace("/postgres?", f"/{name}?")

    def _copy(self, name: str) -> str:
        if self._server is None:
            shutil.copy(self._folder / "model.db", self._folder / f"{name}.db")
            return f"sqlite:///{self._folder / name}.db"
        self._command(f"CREATE DATABASE {name} TEMPLATE model")
        return self._server.url.replace("/postgres?", f"/{name}?")

    def _drop(self, name: str) -> None:
        if self._server is not None:
            self._command(f"DROP DATABASE {name} WITH (FORCE)")
        for file in self._folder.glob(f"{name}.db*"):
            file.unlink()

    def _command(self, sql: str) -> None:
        assert self._server is not None  # noqa: S101 - asked only where there is one
        with closing(Database(self._server.url)) as admin:
            autocommit = admin.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            with autocommit as connection:
                connection.execute(text(sql))


class Trials:
    """Runs them, and keeps what did not hold."""

    def __init__(self, ground: Ground, far: Far, control: str) -> None:
        self._control = control
        self._patience = _SHORT if control else _PATIENCE
        self._ground = ground
        self._far = far
        # Each is forked from one that has read the code and done nothing; that one looks for it in the environment.
        os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
        self._nursery = multiprocessing.get_context("forkserver")
        self._nursery.set_forkserver_preload(["crash_child", "crash_proof", "storm_far", "storm_town"])
        #: A start looks how every process ended, and only one may read that.
        self._asking = threading.Lock()
        self._numbers = itertools.count(1)
        self.verdict = Verdict()
        #: How often a process died at each kind of point.
        self.died: Counter[str] = Counter()
        self.again = 0
        #: The points, in some run, at which an answer of the provider had just come.
        self.answered_at: list[int] = []

    @property
    def enough(self) -> bool:
        """Whether so much is broken that it is no use to go on."""
        return len(self.verdict.broken) > (0 if self._control else 20)

    def one(self, deaths: tuple[int, ...]) -> list[str] | None:
        """A run whose processes die at these points, one after the other, and one more that ends it. The points of
        the last that died; ``None`` where one of them ended before it was to die."""
        number = next(self._numbers)
        question, run_id = f"question {number:05d}", f"run_{number:05d}"
        body = {
            "input": {"question": question, "list": [1, 2]},
            "webhook_url": f"{self._far.url}/hook/{READERS[0]}",
        }
        with self._ground.trial(f"trial_{number}") as (url, folder):
            seen: list[Seen] = []
            points: list[str] = []
            for at, die_at in enumerate((*deaths, 0)):
                orders = Orders(
                    url,
                    folder,
                    self._ground.config,
                    body,
                    run_id,
                    die_at,
                    at * _AHEAD,
                    self._patience,
                    self._control,
                )
                code = self._live(orders)
                if die_at and code == 0:
                    return None
                if code != (-signal.SIGKILL if die_at else 0):
                    self._broken(deaths, points, f"process {at + 1} ended with {code}")
                    return points
                if die_at:
                    points = json.loads(orders.points.read_text())
                    seen.append(seen_in(url, orders.accepted.exists()))
            found = prove(url, folder, self._far, run_id, question, seen)
            self.again += found.figures["made again"]
            for problem in found.broken:
                self._broken(deaths, points, problem)
            self.died[points[-1]] += 1
            answered = [at for at, point in enumerate(points, 1) if point == "after a call of the provider"]
            self.answered_at = max(self.answered_at, answered, key=len)
        return points

    def _live(self, orders: Orders) -> int | None:
        process = self._nursery.Process(target=live, args=(orders,))
        with self._asking:
            process.start()
        wait([process.sentinel], 2 * self._patience)
        with self._asking:
            if process.is_alive():
                process.kill()
            process.join()
            return process.exitcode

    def _broken(self, deaths: tuple[int, ...], points: list[str], problem: str) -> None:
        where = points[-1] if points else "?"
        self.verdict.broken.append(f"died at {deaths} ({where}): {problem}")


def every(trials: Trials, before: tuple[int, ...], step: int, beside: int) -> int:
    """Dies at the points 1, 1 + step, … after the deaths ``before``; how many there were."""
    done, numbers = 0, itertools.count(1, step)
    with ThreadPoolExecutor(beside) as pool:
        while True:
            batch = [(*before, next(numbers)) for _ in range(beside)]
            found = list(pool.map(trials.one, batch))
            done += sum(points is not None for points in found)
            if None in found or trials.enough:
                return done


def main(arguments: list[str]) -> int:
    """0 if everything held; with ``--control``, 0 if something did not."""
    options = parse(arguments)
    started = time.monotonic()
    far = Far(1, thinking=(0.0, 0.0), refused=0.0)
    far.start()
    with tempfile.TemporaryDirectory(prefix="crash-") as name:
        ground = Ground(Path(name), far, postgres=options.postgres)
        try:
            verdict = _crash(ground, far, options)
        finally:
            ground.close()
            far.stop()
    verdict.figures["seconds"] = round(time.monotonic() - started, 1)
    return verdict.tell(options.report, broken=options.control)


def _crash(ground: Ground, far: Far, options: argparse.Namespace) -> Verdict:
    trials = Trials(ground, far, options.control)
    verdict = trials.verdict
    verdict.figures |= {"database": "PostgreSQL" if options.postgres else "SQLite", "every": options.every}
    verdict.figures["crashes of a run"] = every(trials, (), options.every, options.beside)
    # Who goes on after this finds a step done, and another's call answered but not kept.
    if not trials.enough:
        at = trials.answered_at[1]
        verdict.figures["crashes of what goes on after one"] = every(trials, (at,), options.every, options.beside)
    verdict.figures["calls made again"] = trials.again
    verdict.figures["died at"] = dict(sorted(trials.died.items()))
    return verdict


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/crash_points.py", description=__doc__)
    parser.add_argument("--postgres", action="store_true", help="PostgreSQL from its wheel instead of SQLite")
    parser.add_argument("--every", type=int, default=1, help="only every n-th point")
    parser.add_argument("--control", default="", choices=["", *CONTROLS], help="what to break: it must be found")
    parser.add_argument("--beside", type=int, default=2, help="trials at the same time")
    parser.add_argument("--report", default="", help="a file for the report")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
