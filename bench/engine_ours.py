"""Chains and fan-outs by our own engine, for ``engine.py``: one way of running it in a process of its own.

``inline``: SQLite, steps in this process. ``core``: the same on PostgreSQL. ``celery``: PostgreSQL, doorbells through
Valkey, steps in a worker process. The task type is of a package that is put in the way as an installed one would be,
so that nothing of the engine is left out: events, records, leases, fences.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from engine_shape import CHAIN, WIDTH, Figures, Sizes, figures_of
from machine import cpu_seconds, tree
from sqlalchemy import text
from storm_town import Postgres, Valkey, write_config

SOURCE = Path(__file__).resolve().parents[1] / "src"
_PATIENCE = 120.0
_STEPS = """
import asyncio

from gateway.engine.task_types import TaskTypeSpec

async def _add(ctx, data):
    return {"number": data["number"] + 1}

async def _wait(ctx, data):
    await asyncio.sleep(data["number"])
    return data

_ONE = (("number",), ("number",), ("number",))
add = TaskTypeSpec("add", "Adds one.", "cpu", "bench_steps:_add", *_ONE, function=_add)
wait = TaskTypeSpec("wait", "Waits so many seconds.", "cpu", "bench_steps:_wait", *_ONE, function=_wait)
"""


def install_steps(folder: Path) -> Path:
    """A folder for the path of modules, with a package that brings the task type."""
    folder.mkdir()
    (folder / "bench_steps.py").write_text(_STEPS)
    told = folder / "bench_steps-1.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: bench-steps\nVersion: 1.0\n")
    (told / "entry_points.txt").write_text("[gateway.task_types]\nadd = bench_steps:add\nwait = bench_steps:wait\n")
    return folder


def workflows() -> list[dict[str, Any]]:
    """Ten steps, each on the one before; and a step for each item of a list, with what gathers them."""
    chain: list[dict[str, Any]] = []
    for at in range(CHAIN):
        before = f"step_{at - 1}"
        source = f"step.{before}.number" if at else "input.number"
        more = {"dependencies": [before]} if at else {}
        chain.append({"step_id": f"step_{at}", "task_type": "add", "input_mapping": {"number": source}, **more})
    wide = {"in": "input.list", "concurrency": WIDTH}
    many = {"step_id": "many", "task_type": "add", "for_each": wide, "input_mapping": {"number": "item"}}
    return [{"workflow_id": "chain", "steps": chain}, {"workflow_id": "wide", "steps": [many]}]


class Engine:
    """The engine, ready for runs; ``close`` in every case."""

    def __init__(self, folder: Path, way: str) -> None:
        self._stack = contextlib.ExitStack()
        sys.path.insert(0, str(install_steps(folder / "steps")))
        config = folder / "config"
        config.mkdir()
        write_config(config, "http://127.0.0.1:9")
        url = f"sqlite:///{folder / 'gateway.db'}"
        if way != "inline":
            server = Postgres(folder / "pg")
            self._stack.callback(server.stop)
            url = server.url
        environ = {"DATABASE_URL": url, "GATEWAY_CONFIG_DIR": str(config), "GATEWAY_LOG_LEVEL": "error"}
        self._begin(folder, way, environ)

    def _begin(self, folder: Path, way: str, environ: dict[str, str]) -> None:
        # Only after the path of modules was set: a process that ends looks for task types once.
        from gateway.bootstrap import make_core  # noqa: PLC0415
        from gateway.engine.definition import parse_definition  # noqa: PLC0415
        from gateway.security.access import caller_for  # noqa: PLC0415
        from gateway.settings import Settings  # noqa: PLC0415
        from gateway.store.migrate import upgrade  # noqa: PLC0415
        from gateway.store.run_reader import SqlRunReader  # noqa: PLC0415
        from gateway.tasks import celery_app  # noqa: PLC0415
        from gateway.tasks.desk import Desk  # noqa: PLC0415
        from gateway.tasks.inline import InlineExecutor  # noqa: PLC0415
        from gateway.tasks.submission import read_run  # noqa: PLC0415
        from gateway.work_process import make_orchestrator, make_runner  # noqa: PLC0415

        core = make_core(Settings.read(environ, dev=True, data_dir=folder / "data"))
        upgrade(core.database)
        reader = SqlRunReader(core.database)
        self._caller = caller_for("bench", "admin")
        for raw in workflows():
            definition = parse_definition(raw, core.task_types)
            reader.define(definition, source="api", owner=self._caller.principal, now=core.clock.now())
        executor: Any
        if way == "celery":
            broker = Valkey(folder / "valkey")
            self._stack.callback(broker.stop)
            executor = celery_app.CeleryExecutor(celery_app.make_celery(broker.url))
            path = os.pathsep.join([str(folder / "steps"), str(SOURCE)])
            all_of = {**os.environ, **environ, "CELERY_BROKER_URL": broker.url, "PYTHONPATH": path}
            self._worker(folder, all_of)
        else:
            runner = make_runner(core)
            executor = InlineExecutor(runner)
            runner.ring_with(executor)
            self._stack.callback(runner.close)
            self._stack.callback(executor.close)
        stop = threading.Event()
        sweep = threading.Thread(target=make_orchestrator(core, executor).run, args=(stop,), daemon=True)
        sweep.start()
        self._stack.callback(sweep.join, 10)
        self._stack.callback(stop.set)
        self._desk = Desk(
            core.engine,
            reader,
            core.events,
            executor,
            lambda: core.catalogue.current,
            core.task_types,
            core.clock,
            core.egress.check,
        )
        self._read_run = read_run
        self._database = core.database

    def _worker(self, folder: Path, environ: dict[str, str]) -> None:
        command = [sys.executable, "-m", "gateway.cli.process", "worker", "--dev"]
        environ["GATEWAY_DATA_DIR"] = str(folder / "worker")
        log = (folder / "worker.log").open("ab")
        self._stack.callback(log.close)
        worker = subprocess.Popen(command, env=environ, stdout=log, stderr=log)  # noqa: S603 - our own program
        self._stack.callback(worker.wait)
        self._stack.callback(worker.kill)

    def begin(self, workflow: str, data: dict[str, Any]) -> str:
        """A run is accepted; its id."""
        found = self._desk.start_run(self._caller, workflow, self._read_run({"input": data}), "req-bench")
        return str(found["run_id"])

    def await_ended(self, run_ids: list[str]) -> None:
        """Returns when all have completed; ``RuntimeError`` where one failed or does not end."""
        deadline, left = time.monotonic() + _PATIENCE, set(run_ids)
        while left:
            with self._database.read() as connection:
                found = connection.execute(
                    text("SELECT run_id, status FROM run WHERE run_id = :one"), {"one": next(iter(left))}
                ).one()
            if found.status == "completed":
                left.discard(found.run_id)
                continue
            if found.status in ("failed", "cancelled") or time.monotonic() > deadline:
                raise RuntimeError(f"{found.run_id} is {found.status}")
            time.sleep(0.01)

    def took(self, run_id: str) -> float:
        """Seconds from the acceptance of a run to its end, as the database has them."""
        query = text("SELECT completed_at - created_at FROM run WHERE run_id = :one")
        with self._database.read() as connection:
            return float(connection.execute(query, {"one": run_id}).scalar_one()) / 1e6

    def close(self) -> None:
        self._stack.close()


@contextlib.contextmanager
def engine(folder: Path, way: str) -> Iterator[Engine]:
    made = Engine(folder, way)
    try:
        yield made
    finally:
        made.close()


def measure(folder: Path, way: str, sizes: Sizes) -> Figures:
    """The figures of one way."""
    with engine(folder, way) as ours:

        def run(workflow: str, data: dict[str, Any], count: int = 1) -> tuple[list[str], float]:
            started = time.perf_counter()
            made = [ours.begin(workflow, data) for _ in range(count)]
            ours.await_ended(made)
            return made, time.perf_counter() - started

        one: dict[str, Any] = {"number": 0}
        many: dict[str, Any] = {"list": list(range(WIDTH))}
        run("chain", one)
        run("wide", many)
        alone = [ours.took(run("chain", one)[0][0]) for _ in range(sizes.alone)]
        before = cpu_seconds(tree(os.getpid()))
        beside = run("chain", one, sizes.beside)[1]
        cpu = cpu_seconds(tree(os.getpid())) - before
        wide = [ours.took(run("wide", many)[0][0]) for _ in range(sizes.wide)]
    return figures_of(alone, beside, wide, sizes, cpu)


def main(arguments: list[str]) -> int:
    way, folder, sizes = arguments[0], Path(arguments[1]), Sizes(*map(int, arguments[2:5]))
    told: Callable[[str], object] = sys.stdout.write
    told(json.dumps(measure(folder, way, sizes)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
