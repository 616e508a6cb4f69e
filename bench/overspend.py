"""The overspend race: ``make race`` or ``.venv/bin/python bench/overspend.py``; ``--help`` names the options.

Four API processes on one PostgreSQL, each with 200 clients, spend from caps on a key, on teams and on the whole
gateway until nothing is left: plain calls and streams, some cancelled by their caller, some broken or refused by
the provider, and, with ``--kills``, API processes that end with -9. No cap may be passed by a unit, at no moment;
the ledger must be what the provider counted, and nothing may be left over (``money_proof.py``).
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from money_far import MoneyFar
from money_proof import prove_money
from money_run import add_options, gateways, prove, stop_all
from sqlalchemy import text
from steady_load import made
from storm_town import Site, Town, signal_to
from verdict import Verdict

from gateway.store.engine import Database

#: The keys, their teams, and the share of all clients that each has.
_KEYS = {"a": "red", "b": "red", "c": "blue"}
#: Caps as parts of the gateway's. Those of the teams pass it together, so that each kind of cap is met.
_TEAM_CAPS = {"red": 0.5, "blue": 0.7}
_KEY_CAP = 0.2
_SIZES = (120, 40, 12)
_CANCELS = 0.15
_OVER = text("SELECT max(spent + reserved - limit_units - extra) FROM budget WHERE scope <> 'threshold'")


@dataclass
class Race:
    """What the clients saw."""

    town: Town
    keys: dict[str, str]
    seed: int
    told: Counter[str] = field(default_factory=Counter)
    looks: int = 0
    above: list[int] = field(default_factory=list)

    async def run(self, clients: int, kills: int) -> None:
        """Returns when no client can afford its smallest call."""
        timeout, many = aiohttp.ClientTimeout(total=120), aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(timeout=timeout, connector=many) as session:
            watching = asyncio.ensure_future(self._watch())
            killing = asyncio.ensure_future(self._kill(kills))
            try:
                racing = [
                    self._client(session, site, f"{site.name}-{number}")
                    for site in self.town.sites
                    for number in range(clients)
                ]
                await asyncio.gather(*racing)
            finally:
                for task in (watching, killing):
                    task.cancel()
            done = await asyncio.gather(watching, killing, return_exceptions=True)
            for found in done:
                if isinstance(found, Exception):
                    raise found

    async def _client(self, session: aiohttp.ClientSession, site: Site, name: str) -> None:
        chance = random.Random(f"{self.seed}-{name}")
        key = self.keys[chance.choice(sorted(_KEYS))]
        sizes, number = list(_SIZES), 0
        while sizes:
            number += 1
            size = chance.choice(sizes)
            status = await self._call(session, site, key, f"{name}-{number}", size, chance)
            self.told[status] += 1
            if status == "402":
                sizes.remove(size)
            elif status in ("no answer", "503"):
                await asyncio.sleep(0.2)

    async def _call(
        self, session: aiohttp.ClientSession, site: Site, key: str, name: str, size: int, chance: random.Random
    ) -> str:
        """How it ended, in a word."""
        stream, cancels = chance.random() < 0.5, chance.random() < _CANCELS
        body = {"model": "paid", "max_tokens": size, "messages": [{"role": "user", "content": name}], "stream": stream}
        headers = {"authorization": f"Bearer {key}", "x-request-id": name}
        asked = session.post(f"{site.url}/v1/chat/completions", json=body, headers=headers)
        try:
            async with asyncio.timeout(chance.uniform(0.0, 0.2) if cancels and not stream else None), asked as answer:
                if not (cancels and stream and answer.status == 200):
                    heard = await answer.read()
                    broken = stream and answer.status == 200 and b"[DONE]" not in heard
                    return "stream broken" if broken else str(answer.status)
                await answer.content.read(chance.randrange(1, 200 * size))
                answer.close()
                return "stream cut"
        except TimeoutError:
            return "cancelled"
        except aiohttp.ClientError:
            return "no answer"

    async def _watch(self) -> None:
        """Looks all the time whether a cap is passed: by what is spent and what is set aside together."""
        database = Database(self.town.postgres.url)

        def look() -> int:
            with database.read() as connection:
                return int(connection.scalar(_OVER) or 0)

        try:
            while True:
                over = await asyncio.to_thread(look)
                self.looks += 1
                if over > 0:
                    self.above.append(over)
                await asyncio.sleep(0.05)
        finally:
            database.close()

    async def _kill(self, kills: int) -> None:
        chance = random.Random(self.seed)
        for _ in range(kills):
            await asyncio.sleep(chance.uniform(2.0, 4.0))
            found = await asyncio.to_thread(chance.choice(self.town.sites).children)
            if "api" in found:
                signal_to(found["api"], signal.SIGKILL)
                self.told["processes killed"] += 1


def make_caps(site: Site, cap: int) -> dict[str, str]:
    """The keys by name, each with its team; caps in USD."""
    keys = {}
    for name, team in _KEYS.items():
        body: dict[str, Any] = {"name": name, "role": "developer", "principal": f"user-{name}", "team": team}
        if name == "a":
            body["budget"] = {"limit_usd": f"{cap * _KEY_CAP:.2f}", "window": "lifetime"}
        keys[name] = str(made(site, "/keys", body)["key"])
    for team, part in _TEAM_CAPS.items():
        made(site, "/budgets", _budget("team", team, f"{cap * part:.2f}"))
    made(site, "/budgets", _budget("gateway", "*", str(cap)))
    return keys


def _budget(scope: str, subject: str, limit: str) -> dict[str, str]:
    return {"scope": scope, "subject": subject, "limit_usd": limit, "window": "lifetime"}


async def race(options: argparse.Namespace, folder: Path) -> Verdict:
    far, verdict = MoneyFar(options.seed, faults=0.06), Verdict()
    names = tuple(f"p{number}" for number in range(options.processes))
    async with far.listening() as url, gateways(folder, url, names, options.control) as town:
        keys = await asyncio.to_thread(make_caps, town.sites[0], options.cap)
        running, started = Race(town, keys, options.seed), time.monotonic()
        await running.run(options.clients, options.kills)
        seconds = time.monotonic() - started
        await stop_all(town)
        verdict.figures = {
            "processes": options.processes,
            "clients": options.clients * options.processes,
            "seconds": round(seconds, 1),
            "callers were told": dict(sorted(running.told.items())),
            "looks at the caps meanwhile": running.looks,
            "looks that saw one passed": len(running.above),
        }
        verdict.hold(not running.above, f"a cap was passed by {max(running.above, default=0)} units meanwhile")
        strange = set(running.told) - _EXPECTED
        verdict.hold(not strange, f"callers were told {sorted(strange)}")
        await asyncio.to_thread(prove_money, town, far.calls, verdict)
        _used(verdict)
    return verdict


#: 502: the provider broke, and again when it was asked again; 503: it was left alone for a while.
_EXPECTED = {"200", "402", "502", "503", "stream cut", "stream broken", "cancelled", "no answer", "processes killed"}


def _used(verdict: Verdict) -> None:
    """A cap that nobody can reach would prove nothing: nearly all of it is usable."""
    caps = verdict.figures["caps"]
    for name in ("key", "team red", "gateway"):
        verdict.hold(caps[name]["used"] > 0.95, f"only {caps[name]['used']:.2%} of the cap of {name} was usable")


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/overspend.py", description=__doc__)
    parser.add_argument("--processes", type=int, default=4, help="API processes")
    parser.add_argument("--clients", type=int, default=200, help="clients of each process")
    parser.add_argument("--cap", type=int, default=1000, help="USD of the whole gateway; a call costs about 0.07")
    parser.add_argument("--kills", type=int, default=0, help="API processes that are killed on the way")
    add_options(parser)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(prove(parse(sys.argv[1:]), race))
