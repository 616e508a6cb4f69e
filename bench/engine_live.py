"""How soon things happen in a whole gateway: ``.venv/bin/python bench/engine_live.py``; ``--help`` names the options.

One API process, one worker and one orchestrator on PostgreSQL and Valkey. Measured: from a task's acceptance over HTTP
to its start, with an empty queue and with thousands of tasks that wait for their time; from an event's commit to its
reading at a WebSocket; and from the end of a killed worker's lease to the step's next start.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from engine_ours import install_steps
from storm_readers import Reader
from storm_town import Town
from verdict import Verdict

from gateway.engine.claim import RUN_LEASE

_PATIENCE = 90.0


class Clocked(Reader):
    """Also when each event came, in microseconds since 1970."""

    def __init__(self, town: Town) -> None:
        super().__init__(town.sites)
        self.times: dict[int, int] = {}

    def note(self, number: int) -> None:
        self.times[number] = time.time_ns() // 1000
        super().note(number)


def awaited(look: Callable[[], Any]) -> Any:
    """What ``look`` gives as soon as it is something. ``TimeoutError`` otherwise."""
    deadline = time.monotonic() + _PATIENCE
    while not (found := look()):
        if time.monotonic() > deadline:
            raise TimeoutError("it did not come about")
        time.sleep(0.01)
    return found


def submit(town: Town, body: dict[str, Any]) -> str:
    status, answer = town.sites[0].ask("POST", "/tasks", body)
    if status >= 300:
        raise RuntimeError(f"{status}: {json.dumps(answer)[:300]}")
    return str(answer["task_id"])


def starts(town: Town, count: int) -> dict[str, float]:
    """Milliseconds from acceptance to start of tasks given one after another, each when the last has ended."""
    took = []
    for _ in range(count):
        task_id = submit(town, {"task_type": "add", "input_data": {"number": 1}})
        rows = awaited(
            lambda task_id=task_id: town.rows(
                f"SELECT created_at, started_at FROM step WHERE task_id = '{task_id}' AND state = 'completed'"  # noqa: S608
            )
        )
        took.append((rows[0][1] - rows[0][0]) / 1000)
    return told(took)


def told(values: list[float]) -> dict[str, float]:
    """Median, 95th percentile and the longest."""
    ordered = sorted(values)
    places = {"median": len(ordered) // 2, "p95": round(0.95 * (len(ordered) - 1)), "longest": len(ordered) - 1}
    return {name: round(ordered[at], 2) for name, at in places.items()}


def heard(town: Town, reader: Clocked) -> dict[str, float]:
    """Milliseconds from the commit of events (what they were stamped with just before) to their reading."""
    stamped = {row[0]: row[1] for row in town.rows("SELECT id, created_at FROM event")}
    awaited(lambda: reader.heard(max(stamped)))
    return told([(reader.times[number] - at) / 1000 for number, at in stamped.items()])


def fill(town: Town, count: int) -> None:
    """So many tasks that wait for tomorrow."""
    body = {"task_type": "add", "input_data": {"number": 1}, "delay": 86_400}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: submit(town, body), range(count)))


def recovery(town: Town) -> float:
    """Seconds between the end of a killed worker's lease and the step's second start."""
    task_id = submit(town, {"task_type": "wait", "input_data": {"number": 30}, "timeout": 60})
    query = f"SELECT state, attempts, lease_until, token FROM step WHERE task_id = '{task_id}'"  # noqa: S608
    awaited(lambda: town.rows(query)[0][0] == "running")
    time.sleep(0.5)
    os.kill(town.sites[0].children()["worker"], signal.SIGKILL)
    lease = int(town.rows(query)[0][2])
    awaited(lambda: town.rows(query)[0][1] >= 2 and town.rows(query)[0][0] == "running")
    again = int(town.rows(query)[0][2]) - RUN_LEASE  # its new lease began with its start
    return round((again - lease) / 1e6, 2)


def measure(town: Town, options: argparse.Namespace) -> dict[str, Any]:
    reader = Clocked(town)
    reader.start()
    starts(town, 5)
    found: dict[str, Any] = {"start, ms": starts(town, options.tasks)}
    found["commit to WebSocket, ms"] = heard(town, reader)
    reader.stop()
    fill(town, options.queued)
    found[f"start with {options.queued} that wait, ms"] = starts(town, options.tasks)
    found["restart after the lease of a killed worker, s"] = recovery(town)
    return found


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench/engine_live.py", description=__doc__)
    parser.add_argument("--tasks", type=int, default=100, help="tasks given one after another")
    parser.add_argument("--queued", type=int, default=10_000, help="tasks that wait meanwhile")
    parser.add_argument("--report", default="", help="a file for the report")
    options = parser.parse_args(arguments)
    verdict = Verdict()
    with tempfile.TemporaryDirectory(prefix="live-") as name:
        folder = Path(name)
        town = Town(folder, "http://127.0.0.1:9", install_steps(folder / "steps"), ("only",))
        try:
            town.start()
            verdict.figures |= measure(town, options)
        finally:
            town.stop()
    return verdict.tell(options.report)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
