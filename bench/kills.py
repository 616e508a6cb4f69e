"""Killed at full speed: ``make kills`` or ``.venv/bin/python bench/kills.py``; ``--help`` names the options.

API processes on one PostgreSQL are sent so many calls a second, each bound by budgets of its key, its user, its model
and the whole gateway. Every few seconds one is ended with -9 and started again by its ``serve``. Each call that the
provider answered must be in the ledger, once; nothing may be left over (``money_proof.py``).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sys
import time
from collections import Counter, deque
from functools import partial
from pathlib import Path
from typing import Any

import uvloop
from kills_far import CountingFar
from load import Client
from money_proof import prove_money
from money_run import add_options, gateways, prove, stop_all
from storm_town import Site, Town, signal_to
from verdict import Verdict

_HEAD = (
    "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {key}\r\n"
    "content-type: application/json\r\nx-request-id: {name}\r\ncontent-length: {length}\r\n\r\n"
)
#: Connections to each process: what may be under way there when it is killed.
_LINES = 32
#: A cap that is not reached: shares of it are taken all the same.
_WIDE_USD = "50000000"
#: How often the load looks what is due.
_TICK = 0.005


class Load:
    """``rate`` calls a second over every process that answers; a call that finds no idle line waits for one."""

    def __init__(self, sites: list[Site], key: str, rate: float) -> None:
        self.told: Counter[str] = Counter()
        self.longest_queue = 0
        self._sites, self._key, self._rate = sites, key, rate
        self._idle: deque[tuple[Site, Client]] = deque()
        self._lines: set[asyncio.Task[None]] = set()
        self._due = self._sent = 0
        self._over = False

    async def run(self, seconds: float) -> None:
        """Returns when every call has an answer, or has lost its line."""
        for site in self._sites:
            for _ in range(_LINES):
                self._open(site)
        began = time.monotonic()
        while (passed := time.monotonic() - began) < seconds:
            self._due = int(passed * self._rate)
            self.longest_queue = max(self.longest_queue, self._due - self._sent)
            self._send()
            await asyncio.sleep(_TICK)
        self._over = True
        while self.told.total() < self._sent:  # noqa: ASYNC110 - thousands to wait for
            await asyncio.sleep(_TICK)

    def _send(self) -> None:
        while self._sent < self._due and self._idle:
            site, client = self._idle.popleft()
            if client.closed:
                self._open(site)
                continue
            self._sent += 1
            client.send(self._request(f"call-{self._sent}"))

    def _request(self, name: str) -> bytes:
        asked = {"model": "paid", "max_tokens": 20, "messages": [{"role": "user", "content": name}]}
        body = json.dumps(asked)
        return (_HEAD.format(key=self._key, name=name, length=len(body)) + body).encode()

    def _open(self, site: Site) -> None:
        task = asyncio.ensure_future(self._connect(site))
        self._lines.add(task)
        task.add_done_callback(self._lines.discard)

    async def _connect(self, site: Site) -> None:
        """A line to this process; while it is not there, it is asked again and again."""
        loop = asyncio.get_running_loop()
        while not self._over:
            try:
                made = partial(Client, False, partial(self._done, site))
                _, client = await loop.create_connection(made, "127.0.0.1", site.port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            self._idle.append((site, client))
            return

    def _done(self, site: Site, client: Client, well: bool) -> None:
        self.told["answered" if well else client.trouble.partition(",")[0].partition(":")[0]] += 1
        if client.closed:
            self._open(site)
        else:
            self._idle.append((site, client))


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


def make_key(site: Site) -> str:
    """A key with a budget of its own; three more bind its calls."""
    budget = {"limit_usd": _WIDE_USD, "window": "lifetime"}
    body = {"name": "kills", "role": "developer", "principal": "kills", "budget": budget}
    key = str(_made(site, "/keys", body)["key"])
    for scope, subject in (("user", "kills"), ("model", "paid"), ("gateway", "*")):
        _made(site, "/budgets", {"scope": scope, "subject": subject, **budget})
    return key


def _made(site: Site, path: str, body: dict[str, Any]) -> Any:
    status, told = site.ask("POST", path, body)
    if status not in (200, 201):
        raise RuntimeError(f"{path} answered {status}: {told}")
    return told


async def kills(options: argparse.Namespace, folder: Path) -> Verdict:
    far, verdict = CountingFar(), Verdict()
    names = tuple(f"p{number}" for number in range(options.processes))
    async with far.listening() as url, gateways(folder, url, names, options.control) as town:
        key = await asyncio.to_thread(make_key, town.sites[0])
        load, killed, started = Load(town.sites, key, options.rate), Counter[str](), time.monotonic()
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
        verdict.hold(unresolved <= options.kills * _LINES, f"{unresolved} unresolved: more than was under way")
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
