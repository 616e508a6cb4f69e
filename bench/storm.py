"""The storm: ``make storm`` or ``.venv/bin/python bench/storm.py``; ``--help`` names the options.

Many runs of a workflow with fan-out and paid calls go through two whole gateways on one PostgreSQL and one
Valkey, while a killer ends one process with -9 every second and restarts broker and database now and then.
Afterwards every run must have ended well, each step's effect must be counted once, the ledger must agree with
what the provider counted, readers must have heard every event once, and nothing may be left over
(``storm_proof.py``). ``--control`` breaks the gateway on purpose: then the storm must fail, or it proves nothing.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from storm_controls import CONTROLS, write_control
from storm_far import Far
from storm_proof import known_in, prove
from storm_readers import Reader
from storm_town import Site, Town, signal_to
from verdict import Verdict

#: Seconds; a lease lasts 15.
_STANDING_STILL = 20.0
_ENDED = ("completed", "failed", "cancelled")


def workflow() -> dict[str, Any]:
    """Six steps: one, three beside each other, and two; every one is a paid call on what came before."""

    def step(name: str, source: str, *after: str) -> dict[str, Any]:
        model = {"name": "paid"}
        mapping = {"prompt": source}
        retry = {"max_attempts": 20, "backoff": 0.2}
        made = {"step_id": name, "task_type": "llm_analysis", "model_config": model, "input_mapping": mapping}
        return {**made, "dependencies": list(after), "retry": retry}

    middle = [step(f"middle_{letter}", "step.first.response", "first") for letter in "abc"]
    joined = step("joined", "step.middle_a.response", "middle_a", "middle_b", "middle_c")
    steps = [step("first", "input.question"), *middle, joined, step("end", "step.joined.response", "joined")]
    return {"workflow_id": "storm", "steps": steps}


class Killer:
    """Ends something every ``pause`` seconds until told to stop; ``ended`` counts what."""

    def __init__(self, town: Town, seed: int, pause: float) -> None:
        self._town = town
        self._random = random.Random(seed)
        self._pause = pause
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="killer")
        self._waking: list[threading.Timer] = []
        self.ended: Counter[str] = Counter()
        self.trouble = ""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ending.set()
        self._thread.join(120)
        for waking in self._waking:
            waking.join()

    def _run(self) -> None:
        while not self._ending.wait(self._pause):
            try:
                self._strike()
            except Exception as error:  # noqa: BLE001 - told at the end; the storm goes on
                self.trouble = f"{type(error).__name__}: {error}"

    def _strike(self) -> None:
        for site in self._town.sites:
            if site.ended:  # its API was killed before it had answered once; whoever runs it would start it again
                site.start()
        chance, town = self._random.random(), self._town
        if chance < 0.05:
            town.postgres.restart()
            self.ended["postgres"] += 1
        elif chance < 0.12:
            town.valkey.restart()
            self.ended["valkey"] += 1
        elif chance < 0.16:
            site = self._random.choice(town.sites)
            site.kill()
            site.start()
            self.ended["whole gateway"] += 1
        elif chance < 0.2:
            self._pause_worker(self._random.choice(town.sites).children().get("worker"))
        else:
            children = self._random.choice(town.sites).children()
            if children:
                role = self._random.choice(sorted(children))
                signal_to(children[role], signal.SIGKILL)
                self.ended[role] += 1

    def _pause_worker(self, worker: int | None) -> None:
        """It stands still for longer than a lease, and goes on as if nothing had been."""
        if worker is None:
            return
        signal_to(worker, signal.SIGSTOP)
        waking = threading.Timer(_STANDING_STILL, signal_to, (worker, signal.SIGCONT))
        waking.start()
        self._waking.append(waking)
        self.ended["worker stood still"] += 1


def submit(sites: list[Site], number: int, hook: str) -> tuple[str, str]:
    """Begins one run, once: asks again under the same key until somebody answers. (run id, question)"""
    question = f"question {number:05d}"
    body = {"input": {"question": question}, "webhook_url": hook}
    deadline = time.monotonic() + 300
    told: Any = None
    while time.monotonic() < deadline:
        for site in sites:
            try:
                status, told = site.ask("POST", "/workflows/storm/runs", body, idempotency_key=f"storm-{number}")
            except (OSError, ValueError) as error:
                told = str(error)
                continue
            if status in (200, 201, 202):
                return str(told["run_id"]), question
        time.sleep(0.2)
    raise RuntimeError(f"run {number} could not be given: {told}")


def await_ends(town: Town, runs: dict[str, str], seconds: float, say: Any) -> set[str]:
    """Those that have not ended in time."""
    left, deadline, told = set(runs), time.monotonic() + seconds, 0.0
    while left and time.monotonic() < deadline:
        for run_id in sorted(left)[:50]:
            for site in town.sites:
                try:
                    status, body = site.ask("GET", f"/runs/{run_id}")
                except (OSError, ValueError):
                    continue
                if status == 200 and body.get("status") in _ENDED:
                    left.discard(run_id)
                break
        if time.monotonic() - told > 10:
            told = time.monotonic()
            say(f"{len(runs) - len(left)} of {len(runs)} runs have ended")
        time.sleep(0.5)
    return left


def drained(town: Town, readers: list[Reader], far: Far, seconds: float) -> None:
    """Waits, the killer at rest, until journals are entered, events heard and webhooks delivered."""
    deadline = time.monotonic() + seconds
    last = -1
    while time.monotonic() < deadline:
        entries, unsent = known_in(town)  # what the dead left is taken up by a sweep, some seconds later
        heard = min(len(reader.ids) for reader in readers)
        if entries >= sum(far.calls.values()) and heard == last and not unsent:
            return
        last = heard
        time.sleep(3)


def main(arguments: list[str]) -> int:
    """0 if everything held; with ``--control``, 0 if something did not."""
    options = parse(arguments)
    started = time.monotonic()

    def say(text: str) -> None:
        sys.stderr.write(f"· {time.monotonic() - started:6.1f} s  {text}\n")
        sys.stderr.flush()

    far = Far(options.seed)
    far.start()
    with tempfile.TemporaryDirectory(prefix="storm-") as name:
        folder = Path(name)
        patches = write_control(folder / "patches", options.control) if options.control else None
        say("starting PostgreSQL, Valkey and two gateways")
        town = Town(folder / "town", far.url, patches)
        try:
            town.start()
            verdict, figures = storm(town, far, options, say)
        finally:
            town.stop()
            far.stop()
    report = {"seed": options.seed, "control": options.control, "seconds": round(time.monotonic() - started, 1)}
    report |= {**figures, **verdict.figures, "broken": verdict.broken[:20]}
    sys.stdout.write(json.dumps(report, indent=1) + "\n")
    if options.report:
        Path(options.report).write_text(json.dumps(report, indent=1) + "\n")
    held = not verdict.broken
    say("everything held" if held else f"{len(verdict.broken)} things did not hold, the first: {verdict.broken[0]}")
    return int(held if options.control else not held)


def storm(town: Town, far: Far, options: argparse.Namespace, say: Any) -> tuple[Verdict, dict[str, Any]]:
    """Submits, kills, waits, proves."""
    status, told = town.sites[0].ask("POST", "/workflows", workflow())
    if status not in (200, 201):
        raise RuntimeError(f"the workflow was refused: {told}")
    readers = [Reader(town.sites), Reader(town.sites[::-1])]
    for reader in readers:
        reader.start()
    killer = Killer(town, options.seed, options.pause)
    killer.start()
    begun = time.monotonic()
    runs: dict[str, str] = {}
    number = 0
    try:
        with ThreadPoolExecutor(8) as pool:
            while number < options.runs or time.monotonic() - begun < options.minutes * 60:
                wave = range(number, number + min(options.wave, max(options.runs - number, options.wave)))
                runs |= dict(pool.map(lambda one: submit(town.sites, one, f"{far.url}/hook"), wave))
                number = wave.stop
                left = await_ends(town, runs if options.minutes else dict(runs), options.patience, say)
                if left:
                    break
    finally:
        killer.stop()
    say(f"the killer rests: {dict(killer.ended)} {killer.trouble}")
    town.await_all()
    left = await_ends(town, runs, options.patience, say)
    drained(town, readers, far, 180)
    for reader in readers:
        reader.stop()
    for site in town.sites:  # what their journals still hold is entered when they end
        site.stop()
    verdict = prove(town, far, readers, runs)
    verdict.hold(not left, f"{len(left)} runs never ended")
    figures = {"given": len(runs), "killed": dict(killer.ended), "under kills, s": round(time.monotonic() - begun, 1)}
    return verdict, figures


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/storm.py", description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="runs at least")
    parser.add_argument("--minutes", type=float, default=0.0, help="go on with further runs for so long")
    parser.add_argument("--wave", type=int, default=50, help="runs that are given at once")
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between two kills")
    parser.add_argument("--patience", type=float, default=600.0, help="seconds that runs have to end")
    parser.add_argument("--seed", type=int, default=1, help="of the killer and of the provider")
    parser.add_argument("--control", default="", choices=["", *CONTROLS], help="what to break: the storm must see it")
    parser.add_argument("--report", default="", help="a file for the report")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
