"""Killed at full speed: ``make kills`` or ``.venv/bin/python bench/kills.py``; ``--help`` names the options.

API processes on one PostgreSQL are sent so many calls a second, each bound by budgets of its key, its user, its model
and the whole gateway. Every few seconds one is ended with -9 and started again by its ``serve``. Each call that the
provider answered must be in the ledger, once; nothing may be left over (``money_proof.py``).
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import uvloop
from kills_far import CountingFar
from money_proof import prove_money
from money_run import add_options, gateways, prove, stop_all
from steady_load import LINES, SteadyLoad, make_key
from storm_town import Town, signal_to
from verdict import Verdict


async def kill_some(town: Town, options: argparse.Namespace, told: Counter[str]) -> None:
    """One after the other, evenly over the time."""
    chance = random.Random(options.seed)
    for number in range(options.kills):
        await asyncio.sleep(options.seconds / (options.kills + 1) * chance.uniform(0.9, 1.1))
        site = town.sites[number % len(town.sites)]
        found = await asyncio.to_thread(site.children)
        if "api" in found:
            signal_to(found["api"], signal.SIGKILL)
            told["processes killed"] += 1


async def kills(options: argparse.Namespace, folder: Path) -> Verdict:
    far, verdict = CountingFar(), Verdict()
    names = tuple(f"p{number}" for number in range(options.processes))
    async with far.listening() as url, gateways(folder, url, names, options.control) as town:
        key = await asyncio.to_thread(make_key, town.sites[0])
        load, killed, started = SteadyLoad(town.sites, key, options.rate), Counter[str](), time.monotonic()
        await asyncio.gather(load.run(options.seconds), kill_some(town, options, killed))
        seconds = time.monotonic() - started
        await stop_all(town)
        answered = load.told["answered"]
        verdict.figures = {
            "processes": options.processes,
            "seconds": round(seconds, 1),
            "calls a second": round(answered / seconds),
            "callers were told": dict(sorted(load.told.items())),
            "processes killed": killed["processes killed"],
            "calls that waited for a line, at most": load.longest_queue,
        }
        verdict.hold(killed["processes killed"] == options.kills, "a process that should be killed was not there")
        entries = await asyncio.to_thread(prove_money, town, far.calls, verdict)
        unresolved = sum(row.outcome == "unresolved" for rows in entries.values() for row in rows)
        verdict.hold(unresolved <= options.kills * LINES, f"{unresolved} unresolved: more than was under way")
    return verdict


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/kills.py", description=__doc__)
    parser.add_argument("--processes", type=int, default=2, help="API processes")
    parser.add_argument("--rate", type=float, default=2000, help="calls a second over all of them")
    parser.add_argument("--seconds", type=float, default=40, help="for so long")
    parser.add_argument("--kills", type=int, default=8, help="processes that are killed on the way")
    add_options(parser)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    uvloop.install()
    sys.exit(prove(parse(sys.argv[1:]), kills))
