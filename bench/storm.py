"""The storm: ``make storm`` or ``.venv/bin/python bench/storm.py``; ``--help`` names the options.

Many runs of a workflow with fan-out and paid calls go through two whole gateways on one PostgreSQL and one
Valkey, while a killer ends one process with -9 every second and restarts broker and database now and then.
Afterwards every run must have ended well, each step's effect must be counted once, the ledger must agree with
what the provider counted, readers must have heard every event once, and nothing may be left over
(``storm_proof.py``). What does not come about in its time counts as broken: there is a verdict in every case.
``--control`` breaks the gateway on purpose: then the storm must fail, or it proves nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from storm_controls import CHANCES, CONTROLS, write_control
from storm_far import READERS, Far
from storm_killer import USUALLY, Killer
from storm_proof import Standing, prove
from storm_readers import Reader
from storm_town import Site, Town
from verdict import Verdict

#: Seconds that runs have under kills where ``--minutes`` does not say how long the storm is.
_LONGEST = 600.0


class Deadline:
    """A time that several things have to share."""

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds, never below nothing."""
        return max(self._at - time.monotonic(), 0.0)


def workflow() -> dict[str, Any]:
    """Six steps: one; two, and one for each item of a list, beside each other; and two. Every one is a paid call
    on what came before."""

    def step(name: str, source: str, *after: str, **more: Any) -> dict[str, Any]:
        model = {"name": "paid"}
        mapping = {"prompt": source}
        retry = {"max_attempts": 20, "backoff": 0.2}
        made = {"step_id": name, "task_type": "llm_analysis", "model_config": model, "input_mapping": mapping}
        return {**made, "dependencies": list(after), "retry": retry, **more}

    sides = [step(name, "step.first.response", "first") for name in ("left", "right")]
    many = step("many", "step.first.response", "first", for_each={"in": "input.list", "concurrency": 2})
    joined = step("joined", "step.left.response", "left", "right", "many")
    steps = [step("first", "input.question"), *sides, many, joined, step("end", "step.joined.response", "joined")]
    return {"workflow_id": "storm", "steps": steps}


class Giver:
    """Gives runs, each once and to whoever answers, so that never more than ``wave`` are on their way."""

    def __init__(self, town: Town, far: Far, wave: int) -> None:
        self._town = town
        self._hook = f"{far.url}/hook/{READERS[0]}"
        self._wave = wave
        #: The question of each run by its id.
        self.runs: dict[str, str] = {}
        self._ended: set[str] = set()
        #: Runs that were asked for, and those of them about which nobody has answered yet.
        self._asked = 0
        self._unanswered: set[int] = set()

    @property
    def open(self) -> set[str]:
        """Runs that are not known to have ended."""
        return self.runs.keys() - self._ended

    @property
    def unanswered(self) -> int:
        """Runs of which nobody has said that they were accepted."""
        return len(self._unanswered)

    def go_on(self, least: int, minutes: float, stop: Deadline, say: Callable[[str], None]) -> None:
        """Gives ``least`` runs, and further ones for so many minutes; returns when they have ended, or at
        ``stop``."""
        more, tell = Deadline(minutes * 60), Deadline(0)
        with ThreadPoolExecutor(8) as pool:
            while stop.left:
                self.look()
                room = self._wave - len(self.open)
                wanted = room if more.left else min(room, least - self._asked)
                if wanted > 0:
                    self._unanswered |= set(range(self._asked, self._asked + wanted))
                    self._asked += wanted
                    list(pool.map(lambda number: self._give(number, stop), sorted(self._unanswered)))
                elif not self.open and self._asked >= least and not more.left:
                    return
                if not tell.left:
                    tell = Deadline(10)
                    say(f"{len(self._ended)} of {len(self.runs)} runs have ended")
                time.sleep(min(0.5, stop.left))

    def finish(self, deadline: Deadline, say: Callable[[str], None]) -> None:
        """Returns when every run has ended, or at the deadline. Who had no answer under kills asks again: the run may
        be there."""
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: self._give(number, deadline), sorted(self._unanswered)))
        while self.open and deadline.left:
            time.sleep(0.5)
            self.look()
        say(f"{len(self._ended)} of {len(self.runs)} runs have ended")

    def look(self) -> None:
        """Notes which runs have ended, unless the database is away."""
        self._ended |= self._town.ended_runs() & self.runs.keys()

    def _give(self, number: int, stop: Deadline) -> None:
        """Asks again under the same key until somebody answers, or until ``stop``."""
        question = f"question {number:05d}"
        body = {"input": {"question": question, "list": ["a", "b", "c"]}, "webhook_url": self._hook}
        while stop.left:
            for site in self._town.sites:
                found = self._ask(site, number, body)
                if found is not None:
                    self.runs[found] = question
                    self._unanswered.discard(number)
                    return
            time.sleep(0.2)

    @staticmethod
    def _ask(site: Site, number: int, body: dict[str, Any]) -> str | None:
        try:
            status, told = site.ask("POST", "/workflows/storm/runs", body, idempotency_key=f"storm-{number}")
        except (OSError, ValueError):
            return None
        return str(told["run_id"]) if status in (200, 201, 202) else None


def main(arguments: list[str]) -> int:
    """0 if everything held; with ``--control``, 0 if something did not."""
    options = parse(arguments)
    started = time.monotonic()

    def say(text: str) -> None:
        sys.stderr.write(f"· {time.monotonic() - started:6.1f} s  {text}\n")
        sys.stderr.flush()

    far = Far(options.seed)
    far.start()
    verdict = Verdict()
    with tempfile.TemporaryDirectory(prefix="storm-") as name:
        folder = Path(name)
        patches = write_control(folder / "patches", options.control) if options.control else None
        say("starting PostgreSQL, Valkey and two gateways")
        town = Town(folder / "town", far.url, patches)
        try:
            town.start()
            storm(town, far, options, say, verdict)
        finally:
            town.stop()
            far.stop()
    report = {"seed": options.seed, "control": options.control, "seconds": round(time.monotonic() - started, 1)}
    report |= {**verdict.figures, "broken": verdict.broken[:20]}
    sys.stdout.write(json.dumps(report, indent=1) + "\n")
    if options.report:
        Path(options.report).write_text(json.dumps(report, indent=1) + "\n")
    held = not verdict.broken
    say("everything held" if held else f"{len(verdict.broken)} things did not hold, the first: {verdict.broken[0]}")
    return int(held if options.control else not held)


def storm(town: Town, far: Far, options: argparse.Namespace, say: Callable[[str], None], verdict: Verdict) -> None:
    """Gives runs, kills, waits, proves."""
    _prepare(town, far)
    readers = [Reader(town.sites), Reader(town.sites[::-1])]
    for reader in readers:
        reader.start()
    chances = CHANCES.get(options.control, USUALLY)
    killer = Killer(town, options.seed, options.pause, chances)
    giver = Giver(town, far, options.wave)
    killer.start()
    begun = time.monotonic()
    try:
        giver.go_on(options.runs, options.minutes, Deadline(options.minutes * 60 or _LONGEST), say)
    finally:
        verdict.figures["under kills, s"] = round(time.monotonic() - begun, 1)
        killer.stop()
    say(f"the killer rests: {dict(killer.ended)} {killer.trouble}")
    deadline = Deadline(options.patience)
    silent = town.await_all(deadline.left)
    verdict.hold(not silent, f"gateways that never answered again: {silent}")
    giver.finish(deadline, say)
    verdict.hold(not giver.open, f"{len(giver.open)} runs never ended")
    verdict.hold(not giver.unanswered, f"{giver.unanswered} runs were never accepted")
    verdict.figures |= {"given": len(giver.runs), "killed": dict(killer.ended)}
    standing = _drained(town, readers, far, deadline)
    say(f"at rest: {standing.said}")
    verdict.hold(standing.settled, f"not settled in {options.patience:g} s: {standing.said}")
    verdict.figures["seconds to rest"] = round(options.patience - deadline.left, 1)
    for reader in readers:
        reader.stop()
    _stop_all(town)
    prove(verdict, town, far, readers, giver.runs)


def _prepare(town: Town, far: Far) -> None:
    for path, body in (("/workflows", workflow()), ("/webhooks", {"url": f"{far.url}/hook/{READERS[1]}"})):
        status, told = town.sites[0].ask("POST", path, body)
        if status not in (200, 201):
            raise RuntimeError(f"{path} was refused: {told}")


def _drained(town: Town, readers: list[Reader], far: Far, deadline: Deadline) -> Standing:
    """Waits, the killer at rest, until journals are entered, events heard, webhooks delivered and queues empty. What
    the dead left is taken up by a sweep, some seconds later."""
    while True:
        standing = Standing.of(town, far, readers)
        if standing.settled or not deadline.left:
            return standing
        time.sleep(1)


def _stop_all(town: Town) -> None:
    """What journals still hold is entered when their processes end."""
    stopping = [threading.Thread(target=site.stop) for site in town.sites]
    for one in stopping:
        one.start()
    for one in stopping:
        one.join()


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/storm.py", description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="runs at least, where --minutes leaves them the time")
    parser.add_argument("--minutes", type=float, default=0.0, help="go on with further runs for so long, then stop")
    parser.add_argument("--wave", type=int, default=50, help="runs that are on their way at once")
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between two kills")
    parser.add_argument(
        "--patience", type=float, default=150.0, help="seconds until all is at rest after the last kill"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the killer and of the provider")
    parser.add_argument("--control", default="", choices=["", *CONTROLS], help="what to break: the storm must see it")
    parser.add_argument("--report", default="", help="a file for the report")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
