"""What the gateway costs while nobody asks anything: the CPU time of all processes of ``ai-gateway serve --dev``.

    python bench/idle.py [--seconds 60] [--pid PID]

Starts the service in a folder of its own, waits until its first start is over (the models are trained), lets it
come to rest, and reads the CPU time of every process of the tree from ``/proc`` before and after. With ``--pid``
it measures a service that runs already. Linux only. The exit status is 1 above one per cent of a core.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = 0.01
_REST_SECONDS = 10.0
_START_SECONDS = 900.0


def say(line: str) -> None:
    """A line for people."""
    sys.stdout.write(line + "\n")


@dataclass(frozen=True)
class Use:
    """A process: its name here, CPU seconds so far, and how often it was woken (voluntary switches of its threads)."""

    name: str
    seconds: float
    wakes: int


def tree(root: int) -> dict[int, Use]:
    """The process and all that came from it."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                parents[int(entry.name)] = int(fields[1])
    found, edge = {root}, {root}
    while edge:
        edge = {pid for pid, parent in parents.items() if parent in edge} - found
        found |= edge
    uses = {pid: _use(pid) for pid in found}
    return {pid: use for pid, use in uses.items() if use is not None}


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it ended meanwhile
        return []


def _use(pid: int) -> Use | None:
    """The CPU time is the scheduler's, in nanoseconds; that of children which ended is theirs and not counted."""
    seconds, wakes = 0.0, 0
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        for task in Path(f"/proc/{pid}/task").iterdir():
            seconds += int((task / "schedstat").read_text().split()[0]) / 1e9
            found = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", (task / "status").read_text(), re.MULTILINE)
            wakes += int(found[1]) if found else 0
    except OSError:
        return None
    return Use(_name(words), seconds, wakes)


def _name(words: list[str]) -> str:
    text = " ".join(words)
    for known in ("local-llm", "trainer", "train", "api", "worker", "orchestrate", "serve", "valkey"):
        if re.search(rf"(?<![\w-]){known}", text):
            return known
    return Path(words[0]).name + (f" {words[1]}" if len(words) > 1 else "")


def measure(root: int, seconds: float) -> float:
    """Prints what each process used; the share of a core of all together."""
    before, began = tree(root), time.monotonic()
    time.sleep(seconds)
    after, took = tree(root), time.monotonic() - began
    total = 0.0
    say(f"{'process':<14}{'pid':>8}{'CPU ms':>9}{'of a core':>11}{'wakes/s':>9}")
    for pid, use in sorted(after.items(), key=lambda item: -item[1].seconds + before.get(item[0], item[1]).seconds):
        was = before.get(pid, Use("", 0.0, 0))
        used = use.seconds - was.seconds
        total += used
        say(f"{use.name:<14}{pid:>8}{used * 1000:>9.0f}{used / took:>10.2%} {(use.wakes - was.wakes) / took:>8.1f}")
    say(f"{'all':<14}{'':>8}{total * 1000:>9.0f}{total / took:>10.2%}   over {took:.0f} s")
    return total / took


def main() -> int:
    """Measures; 1 where it is more than it should be."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--seconds", type=float, default=60.0)
    options.add_argument("--pid", type=int, help="the `serve` process of a service that runs already")
    given = options.parse_args()
    if given.pid is not None:
        return int(measure(given.pid, given.seconds) > TARGET)
    with tempfile.TemporaryDirectory() as folder:
        environ: Mapping[str, str] = {**os.environ, "GATEWAY_DATA_DIR": folder, "PYTHONPATH": str(ROOT / "src")}
        log = Path(folder) / "serve.log"
        with log.open("w") as out:
            service = subprocess.Popen(
                [sys.executable, "-m", "gateway.cli.main", "serve", "--dev", "--port", "0"],
                env=dict(environ), cwd=folder, stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip
        try:
            _await_rest(service, log)
            return int(measure(service.pid, given.seconds) > TARGET)
        finally:
            service.send_signal(signal.SIGTERM)
            service.wait(60)


def _await_rest(service: subprocess.Popen[bytes], log: Path) -> None:
    """Returns when the service answers, its models are trained, and it has had a moment."""
    deadline = time.monotonic() + _START_SECONDS
    while "AI gateway on" not in log.read_text() or any(use.name == "train" for use in tree(service.pid).values()):
        if service.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"the service did not come to rest:\n{log.read_text()}")
        time.sleep(0.5)
    time.sleep(_REST_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
