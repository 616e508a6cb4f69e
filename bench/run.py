"""The benchmark: ``make bench`` or ``.venv/bin/python bench/run.py``; ``--help`` names the options.

One run on one machine, loopback only: every stack is started, measured in turns with the others, and
ended. What is measured, and how to read it, stands in ``bench/README.md``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import machine
import ours
import profiling
import report
import scaling
import stacks
from peers import NotHere

HERE = Path(__file__).resolve().parent
PEERS: dict[str, stacks.Starter] = {
    "nginx": stacks.nginx,
    "smg": stacks.smg,
    "portkey": stacks.portkey,
    "litellm": stacks.litellm,
}
NAMES = ("ours", *PEERS)
_GAP = 0.005


@dataclass(frozen=True)
class Plan:
    """How long and how much."""

    seconds: float
    rounds: int
    paced_seconds: float
    requests: int
    streams: int
    connections: int = 16
    rate: float = 200.0


@dataclass
class Bench:
    """What a run has: the upstream, the cores, the stacks that stand, and what was found so far."""

    plan: Plan
    place: stacks.Place
    cores: machine.Cores
    running: dict[str, stacks.Running] = field(default_factory=dict)
    found: dict[str, dict[str, Any]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    answered: int = 0

    def load(self, running: stacks.Running, **order: Any) -> dict[str, Any]:
        """One order to the load; its answer."""
        asked = {
            "port": running.port,
            "headers": running.headers,
            "model": running.model,
            "groups": running.groups(),
            "connections": self.plan.connections,
            "upstream_port": self.place.upstream,
            **order,
        }
        result = drive(asked, self.cores)
        if running.name == "ours":
            self.answered += result["answered"]
        return result


def drive(order: dict[str, Any], cores: machine.Cores) -> dict[str, Any]:
    """Runs the load's program with this order."""
    with machine.on(cores.driven):
        process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, str(HERE / "load.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
    output, _ = process.communicate(json.dumps(order).encode(), timeout=order.get("seconds", 3.0) * 3 + 180)
    if process.returncode != 0:
        raise RuntimeError(f"the load ended with status {process.returncode}")
    answer: dict[str, Any] = json.loads(output)
    return answer


@contextmanager
def upstream(cores: machine.Cores) -> Iterator[int]:
    """The provider in a process of its own; yields its port."""
    port = stacks.free_port()
    with machine.on(cores.driven):
        process = subprocess.Popen([sys.executable, str(HERE / "upstream.py"), str(port)])  # noqa: S603 - our own
    try:
        stacks.await_port(port, process, 10, Path("/dev/null"))
        yield port
    finally:
        process.terminate()
        process.wait(10)


def first_answer(begin: Callable[[], stacks.Running]) -> stacks.Running:
    """Starts a stack and asks until it answers a chat; notes how long that took."""
    started = time.perf_counter()
    running = begin()
    body = json.dumps({"model": running.model, "messages": [{"role": "user", "content": "Hi"}]}).encode()
    url = f"http://127.0.0.1:{running.port}/v1/chat/completions"
    headers = {"content-type": "application/json", **running.headers}
    last = ""
    while time.perf_counter() - started < 120:
        if running.root.poll() is not None:
            break
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=60) as answer:
                if b"usage" in answer.read():
                    running.first_answer = time.perf_counter() - started
                    return running
        except urllib.error.HTTPError as error:
            last = f"{error.code} {error.read()[:300]!r}"
        except OSError as error:
            last = str(error)
        time.sleep(0.005)
    running.stop()
    end = " / ".join(running.log.read_text(errors="replace").strip().splitlines()[-3:])
    raise NotHere(f"it never answered a chat: {last} {end}")


def start_all(bench: Bench, names: list[str]) -> None:
    """Starts what can be started. Each is started twice, and the second start is timed: files are warm."""
    for name in names:
        say(f"starting {name}")
        try:
            running = first_answer(_ready(bench.place, name))
        except NotHere as reason:
            bench.left_out[name] = str(reason)
            say(f"{name} is left out: {reason}")
            continue
        bench.running[name] = running
        bench.found[name] = {"about": running.about, "first_answer_s": running.first_answer}
        bench.answered += name == "ours"


def _ready(place: stacks.Place, name: str) -> Callable[[], stacks.Running]:
    """What starts the stack, after its first start has passed."""
    if name == "ours":
        own = ours.Ours(place)
        own.prepare()
        return own
    begin = partial(PEERS[name], place)
    first_ready(begin())
    return begin


def first_ready(once: stacks.Running) -> None:
    """Waits until a first start listens, then ends it."""
    try:
        stacks.await_port(once.port, once.root, 120, once.log)
    finally:
        once.stop()


def measure_cpu(bench: Bench) -> None:
    """CPU time a request: the stacks in turns, the median of the rounds."""
    plan = bench.plan
    kinds: dict[str, dict[str, Any]] = {"plain": {}, "streamed": {"stream": True}, "spaced": {"stream": True}}
    for kind, order in kinds.items():
        set_gap(bench.place.upstream, _GAP if kind == "spaced" else 0.0)
        rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in bench.running}
        for number in range(plan.rounds if kind != "spaced" else 1):
            for name, running in bench.running.items():
                result = bench.load(running, seconds=plan.seconds, warmup=1.0 if number == 0 else 0.3, **order)
                rounds[name].append(result)
                say(f"{kind}: {name} {result['cpu_us']['counted']:.0f} µs, {result['rate']:.0f}/s {told(result)}")
        for name, results in rounds.items():
            bench.found[name][kind] = {
                "cpu_us": median(results, lambda one: one["cpu_us"]["counted"]),
                "cpu_all_us": median(results, lambda one: one["cpu_us"]["all"]),
                "rate": median(results, lambda one: one["rate"]),
                "failures": sum(one["failures"] for one in results),
                "trouble": next((one["trouble"] for one in results if one["trouble"]), ""),
            }
    set_gap(bench.place.upstream, 0.0)


def measure_latency(bench: Bench) -> None:
    """Latency at a steady rate, less that of the upstream asked directly."""
    plan = bench.plan
    order = {"manner": "paced", "rate": plan.rate, "seconds": plan.paced_seconds, "warmup": 1.0, "connections": 64}
    direct = {"port": bench.place.upstream, "headers": {}, "model": stacks.MODEL, **order}
    base = drive(direct, bench.cores)
    for name, running in bench.running.items():
        result = bench.load(running, **order)
        bench.found[name]["latency"] = {
            "p50_ms": result["p50_ms"] - base["p50_ms"],
            "p99_ms": result["p99_ms"] - base["p99_ms"],
            "overloaded": result["overloaded"],
            "failures": result["failures"],
        }
        say(f"latency: {name} p50 {result['p50_ms']:.2f} ms, p99 {result['p99_ms']:.2f} ms {told(result)}")


def measure_memory(bench: Bench) -> None:
    """Memory as it stands after the warm-up of the rounds before, and along many more requests."""
    for name, running in bench.running.items():
        before = machine.resident_mib(running.counted(running.root.pid))
        result = bench.load(running, requests=bench.plan.requests, seconds=max(bench.plan.requests / 50, 30))
        bench.found[name]["memory"] = {
            "warm_mib": before,
            "after_mib": result["memory_mib"]["counted"],
            "all_mib": result["memory_mib"]["all"],
            "requests": result["requests"],
            "samples": result["samples"],
            "failures": result["failures"],
        }
        say(f"memory: {name} {before:.0f} → {result['memory_mib']['counted']:.0f} MiB after {result['requests']}")


def measure_streams(bench: Bench) -> None:
    """Many streams open at once."""
    for name, running in bench.running.items():
        result = bench.load(running, manner="held", stream=True, connections=bench.plan.streams, seconds=120.0)
        bench.found[name]["streams"] = {
            "asked": bench.plan.streams,
            "together": result["together"],
            "completed": result["requests"],
            "failures": bench.plan.streams - result["requests"],
            "trouble": result["trouble"],
            "grown_mib": result["grown_mib"]["counted"],
        }
        say(f"streams: {name} {result['together']} open at once, {result['requests']} completed {told(result)}")


def main(arguments: list[str]) -> int:
    """0 if every stack that was started answered without a failure."""
    options = parse(arguments)
    quick = options.quick
    plan = Plan(
        seconds=2.0 if quick else 5.0,
        rounds=1 if quick else 3,
        paced_seconds=3.0 if quick else 15.0,
        requests=options.requests or (2_000 if quick else 50_000),
        streams=options.streams,
    )
    machine.allow_many_files()
    cores = machine.cores()
    names = [name.strip() for name in options.only.split(",")] if options.only else list(NAMES)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, upstream(cores) as port:
        bench = Bench(plan, stacks.Place(Path(folder), port, cores.served), cores)
        try:
            start_all(bench, names)
            extra = measure(bench, options)
        finally:
            for running in bench.running.values():
                running.stop()
    result = {
        "command": " ".join(["bench/run.py", *arguments]),
        "machine": machine.facts(),
        "cores": {"served": sorted(cores.served), "driven": sorted(cores.driven)},
        "plan": vars(plan) | {"gap_s": _GAP},
        "stacks": bench.found,
        "left_out": bench.left_out,
        **extra,
    }
    (HERE / "results.json").write_text(json.dumps(result, indent=1))
    page = report.markdown(result)
    sys.stdout.write("\n" + page + "\n")
    if options.write:
        report.write(HERE / "README.md", page)
    return 0 if report.failures(result) == 0 else 1


def measure(bench: Bench, options: argparse.Namespace) -> dict[str, Any]:
    """Every measure that was asked for, in order."""
    extra: dict[str, Any] = {}
    measure_cpu(bench)
    if options.profile and "ours" in bench.running:
        running = bench.running["ours"]
        for kind in ("plain", "streamed"):
            with profiling.watching(ours.api_processes(running.root.pid)[0], seconds=5.0) as seen:
                bench.load(running, seconds=6.0, stream=kind == "streamed")
            sys.stderr.write(f"\n{kind}:\n{seen.text()}\n")
    if not options.cpu_only:
        measure_latency(bench)
        measure_memory(bench)
        measure_streams(bench)
    if "ours" in bench.running:
        known = ours.calls_in_ledger(bench.running["ours"].port, bench.answered)
        extra["ledger"] = {"answered": bench.answered, "entered": known}
        say(f"ledger: {known} calls entered, {bench.answered} answered")
        everywhere, plan = bench.cores.served | bench.cores.driven, bench.plan
        if not options.cpu_only and len(everywhere) > 1:
            try:
                extra["processes"] = scaling.measure(bench.place.folder, everywhere, plan.seconds, plan.rounds)
                say(f"API processes: {extra['processes']}")
            except NotHere as reason:
                bench.left_out["two API processes beside one"] = str(reason)
    return extra


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/run.py", description=__doc__)
    parser.add_argument("--only", default="", help=f"some of {','.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="one short round of each measure")
    parser.add_argument("--cpu-only", action="store_true", help="CPU time a request and nothing else")
    parser.add_argument(
        "--requests", type=int, default=0, help="requests of the memory measure (1000000 for the long run)"
    )
    parser.add_argument("--streams", type=int, default=2000, help="streams open at once")
    parser.add_argument("--profile", action="store_true", help="where our API process spends its time (py-spy)")
    parser.add_argument("--write", action="store_true", help="put the table into bench/README.md")
    options = parser.parse_args(arguments)
    unknown = set(filter(None, options.only.split(","))) - set(NAMES)
    if unknown:
        parser.error(f"--only: unknown {', '.join(sorted(unknown))}")
    return options


def set_gap(port: int, gap: float) -> None:
    """The upstream's pause between the chunks of a stream."""
    body = json.dumps({"gap": gap}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/mode", body, method="PUT")
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - loopback
        answer.read()


def median(results: list[dict[str, Any]], figure: Callable[[dict[str, Any]], float]) -> float:
    return statistics.median(figure(one) for one in results)


def told(result: dict[str, Any]) -> str:
    return f"({result['failures']} failures: {result['trouble'][:200]})" if result["failures"] else ""


def say(text: str) -> None:
    sys.stderr.write(f"· {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
