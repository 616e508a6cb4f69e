"""A store that is away: ``make away`` or ``.venv/bin/python bench/away.py``; ``--help`` names the options.

API processes are sent calls all the time, half by a key that no budget binds, half by one that has a budget near its
cap. In the midst PostgreSQL is stopped for a minute, or Valkey (``--part valkey``). Calls go on as long as what each
process had set aside lasts, then they are refused for that reason; nobody is told that a valid key is none. When the
store is back all goes on by itself, and the ledger is what the provider counted (``money_proof.py``).
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import uvloop
from kills_far import CountingFar
from money_proof import prove_money
from money_run import add_options, gateways, prove, stop_all
from steady_load import SteadyLoad, make_key
from storm_town import Site, Town
from verdict import Verdict

#: USD: what the bound key may spend, some ten minutes of its calls, so that its shares are small.
_CAP = "3000"
#: Seconds of load before the store goes and after it is back.
_BEFORE, _AFTER = 5.0, 15.0
_WORDS = {"answered", "status 503"}


async def away(options: argparse.Namespace, folder: Path) -> Verdict:
    far, verdict = CountingFar(), Verdict()
    names = tuple(f"p{number}" for number in range(options.processes))
    async with far.listening() as url, gateways(folder, url, names, options.control) as town:
        keys = [
            await asyncio.to_thread(make_key, town.sites[0], name, cap, False)
            for name, cap in (("free", ""), ("bound", _CAP))
        ]
        loads = [
            SteadyLoad(town.sites, key, options.rate / 2, name)
            for key, name in zip(keys, ("free", "bound"), strict=True)
        ]
        store = town.postgres if options.part == "database" else town.valkey
        seconds = _BEFORE + options.seconds + _AFTER
        looks: list[tuple[int, Any]] = []
        await asyncio.gather(*(load.run(seconds) for load in loads), _go_and_come(store, town, options.seconds, looks))
        await stop_all(town)
        _told(verdict, loads, options, looks)
        await asyncio.to_thread(prove_money, town, far.calls, verdict)
    return verdict


async def _go_and_come(store: Any, town: Town, seconds: float, looks: list[tuple[int, Any]]) -> None:
    """Stops it, looks at ``/readyz`` in the midst and at the end, and starts it again."""
    await asyncio.sleep(_BEFORE)
    await asyncio.to_thread(store.away)
    try:
        await asyncio.sleep(seconds / 2)
        looks.append(await asyncio.to_thread(_ready, town.sites[0]))
        await asyncio.sleep(seconds / 2)
    finally:
        await asyncio.to_thread(store.back)
    await asyncio.sleep(_AFTER / 2)
    looks.append(await asyncio.to_thread(_ready, town.sites[0]))


def _ready(site: Site) -> tuple[int, Any]:
    status, told = site.ask("GET", "/readyz")
    return status, told.get("parts")


def _told(verdict: Verdict, loads: list[SteadyLoad], options: argparse.Namespace, looks: list[tuple[int, Any]]) -> None:
    free, bound = loads
    gone, back = int(_BEFORE) + 1, int(_BEFORE + options.seconds)
    verdict.figures = {
        "processes": options.processes,
        "away": options.part,
        "seconds away": options.seconds,
        "readyz meanwhile": looks[0],
        "readyz afterwards": looks[1],
    }
    for name, load in (("free", free), ("bound", bound)):
        meanwhile = sum((load.by_second[second] for second in range(gone, back)), Counter[str]())
        refused = [second for second in sorted(load.by_second) if load.by_second[second]["status 503"]]
        verdict.figures[f"{name} key was told"] = dict(load.told)
        verdict.figures[f"{name} key was told meanwhile"] = dict(meanwhile)
        verdict.figures[f"{name} key refused first and last, s after it went"] = (
            [refused[0] - int(_BEFORE), refused[-1] - int(_BEFORE)] if refused else []
        )
        last = sum((load.by_second[second] for second in range(back + 7, back + int(_AFTER))), Counter[str]())
        verdict.hold(set(load.told) <= _WORDS, f"the {name} key was told {dict(load.told)}")
        verdict.hold(bool(last["answered"]) and not last["status 503"], f"the {name} key at the end: {dict(last)}")
        verdict.hold(bool(meanwhile["answered"]), f"the {name} key had no answer while the {options.part} was away")
    verdict.hold(not free.told["status 503"], "a call that no budget binds was refused")
    verdict.hold(looks[1][0] == 200, f"not ready afterwards: {looks[1]}")


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/away.py", description=__doc__)
    parser.add_argument("--part", choices=["database", "valkey"], default="database", help="what goes")
    parser.add_argument("--seconds", type=float, default=60, help="for so long")
    parser.add_argument("--processes", type=int, default=2, help="API processes")
    parser.add_argument("--rate", type=float, default=400, help="calls a second over all of them")
    add_options(parser)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    uvloop.install()
    sys.exit(prove(parse(sys.argv[1:]), away))
