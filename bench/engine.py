"""The engine beside others: ``.venv/bin/python bench/engine.py``, also in ``make bench``; ``--help`` names the options.

Every engine does the same two shapes (``engine_shape.py``) in one run on one machine: a chain of ten empty steps, one
after another and many at once, and a fan-out of a hundred. Steps do nothing, so that what is measured is the engine.
Peers are installed into ``bench/.peers`` at exact versions and are no part of this project; one that cannot be
installed or does not end is left out, and the run says why.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import machine
import peers
from engine_shape import Figures, Sizes
from report import write
from storm_town import Postgres, Valkey

HERE = Path(__file__).resolve().parent
_SECONDS = 600
_PINS = {"dbos": "dbos==3.4.0", "procrastinate": "procrastinate[psycopg]==3.10.0", "prefect": "prefect==3.9.1"}


class Stack(NamedTuple):
    """One engine: its name, the program with its first arguments, what it needs, and whose Python runs it."""

    name: str
    told: str
    program: tuple[str, ...]
    needs: tuple[str, ...] = ()
    peer: str = ""
    fewer: int = 1


STACKS = (
    Stack("inline", "ours, SQLite, in the process", ("engine_ours.py", "inline")),
    Stack("core", "ours, PostgreSQL, in the process", ("engine_ours.py", "core")),
    Stack("celery", "ours, PostgreSQL, Celery on Valkey", ("engine_ours.py", "celery")),
    Stack("raw", "Celery, send and result (nothing is durable)", ("shapes/celery_shape.py", "raw"), ("valkey",)),
    Stack("canvas", "Celery canvas (nothing is durable)", ("shapes/celery_shape.py", "canvas"), ("valkey",)),
    Stack("dbos", f"DBOS, PostgreSQL ({_PINS['dbos']})", ("shapes/dbos_shape.py",), ("postgres",), "dbos"),
    Stack(
        "procrastinate",
        f"Procrastinate, PostgreSQL ({_PINS['procrastinate']})",
        ("shapes/procrastinate_shape.py",),
        ("postgres",),
        "procrastinate",
    ),
    Stack("prefect", f"Prefect, its own server ({_PINS['prefect']})", ("shapes/prefect_shape.py",), (), "prefect", 10),
)


def run(stack: Stack, sizes: Sizes, folder: Path) -> Figures:
    """The figures of one engine. ``NotHere`` where it cannot be had, or did not end well."""
    python = sys.executable if not stack.peer else str(peers.python_package(stack.peer, _PINS[stack.peer]) / "python")
    sizes = Sizes(*(max(count // stack.fewer, 1) for count in sizes))
    kept = ("PATH", "LANG", "TMPDIR", "LD_LIBRARY_PATH")
    environ = {name: value for name, value in os.environ.items() if name in kept}
    environ |= {"HOME": str(folder), "PYTHONPATH": "" if stack.peer else str(HERE.parent / "src")}
    with ExitStack() as servers:
        if "postgres" in stack.needs:
            postgres = Postgres(folder / "pg")
            servers.callback(postgres.stop)
            environ["BENCH_DATABASE"] = postgres.url
        if "valkey" in stack.needs:
            valkey = Valkey(folder / "valkey")
            servers.callback(valkey.stop)
            environ["BENCH_BROKER"] = valkey.url
        ours = [str(folder)] if stack.program[0].startswith("engine_ours") else []
        command = [python, str(HERE / stack.program[0]), *stack.program[1:], *ours, *map(str, sizes)]
        try:
            done = subprocess.run(  # noqa: S603 - our own programs
                command, env=environ, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise peers.NotHere(f"it did not end within {_SECONDS} s") from error
    if done.returncode != 0:
        raise peers.NotHere(f"it failed: {(done.stderr.strip() or 'no reason given').splitlines()[-1]}")
    figures: Figures = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def middle(rounds: list[Figures]) -> Figures:
    """The median of each figure."""
    cpu = [one["cpu_us"] for one in rounds if one["cpu_us"] is not None]
    return {
        "step_ms": statistics.median(one["step_ms"] for one in rounds),
        "steps_s": statistics.median(one["steps_s"] for one in rounds),
        "fan_out_s": statistics.median(one["fan_out_s"] for one in rounds),
        "cpu_us": statistics.median(cpu) if cpu else None,
    }


def table(found: dict[str, Figures], left_out: dict[str, str], sizes: Sizes, rounds: int) -> str:
    """Markdown: the figures, and ours over each peer's."""
    facts = machine.facts()
    lines = [
        f"`bench/engine.py --write` on {facts['processor']}, {facts['cores']} cores, {facts['memory']}, "
        f"{facts['system']}, Python {facts['python']}; {sizes.alone} chains alone, {sizes.beside} at once, "
        f"{sizes.wide} fan-outs; the median of {rounds} rounds.",
        "",
        "| engine | a step of a chain, ms | chains at once, steps/s | fan-out, steps/s |",
        "|---|--:|--:|--:|",
    ]
    told = {stack.name: stack.told for stack in STACKS}
    lines += [
        f"| {told[name]} | {one['step_ms']:.2f} | {one['steps_s']:,.0f} | {one['fan_out_s']:,.0f} |"
        for name, one in found.items()
    ]
    lines += _ratios(found)
    lines += [f"- {name} is left out: {why}" for name, why in left_out.items()]
    return "\n".join(lines)


def _ratios(found: dict[str, Figures]) -> list[str]:
    wanted = (
        ("celery", "raw"),
        ("celery", "canvas"),
        ("core", "dbos"),
        ("core", "procrastinate"),
        ("core", "prefect"),
        ("inline", "prefect"),
    )
    rows = []
    for ours, peer in wanted:
        if ours in found and peer in found:
            mine, its = found[ours], found[peer]
            rows.append(
                f"| {ours} ÷ {peer} | {mine['step_ms'] / its['step_ms']:.2f} | {mine['steps_s'] / its['steps_s']:.2f} "
                f"| {mine['fan_out_s'] / its['fan_out_s']:.2f} |"
            )
    head = ["", "| ratio | time of a step | chains at once | fan-out |", "|---|--:|--:|--:|"]
    return [*head, *rows, ""] if rows else [""]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench/engine.py", description=__doc__)
    names = [stack.name for stack in STACKS]
    parser.add_argument("--only", default="", help=f"with commas, of {', '.join(names)}")
    parser.add_argument("--alone", type=int, default=30, help="chains one after another")
    parser.add_argument("--beside", type=int, default=50, help="chains at once")
    parser.add_argument("--wide", type=int, default=10, help="fan-outs one after another")
    parser.add_argument("--rounds", type=int, default=3, help="each engine so often, in turns")
    parser.add_argument("--write", action="store_true", help="put the table into bench/README.md")
    options = parser.parse_args(arguments)
    sizes = Sizes(options.alone, options.beside, options.wide)
    rounds: dict[str, list[Figures]] = {}
    left_out: dict[str, str] = {}
    for stack in STACKS * options.rounds:  # in turns, so that what else the machine does meets all of them
        if stack.name in left_out or (options.only and stack.name not in options.only.split(",")):
            continue
        with tempfile.TemporaryDirectory(prefix="engine-") as folder:
            try:
                figures = run(stack, sizes, Path(folder))
                rounds.setdefault(stack.name, []).append(figures)
                sys.stderr.write(f"{stack.name}: {json.dumps(figures)}\n")
            except peers.NotHere as error:
                left_out[stack.name] = str(error)
                sys.stderr.write(f"{stack.name} is left out: {error}\n")
    found = {name: middle(of) for name, of in rounds.items()}
    text = table(found, left_out, sizes, options.rounds)
    sys.stdout.write(text + "\n")
    if options.write:
        write(HERE / "README.md", text, "engine")
    return int(not any(name in found for name in ("inline", "core", "celery")))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
