"""A steady load of small calls under names of their own, over every process that answers."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, defaultdict, deque
from functools import partial
from typing import Any

from load import Client
from storm_town import Site

_HEAD = (
    "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {key}\r\n"
    "content-type: application/json\r\nx-request-id: {name}\r\ncontent-length: {length}\r\n\r\n"
)
#: Connections to each process: what may be under way there when it is killed.
LINES = 32
#: A cap that is not reached: shares of it are taken all the same.
WIDE_USD = "50000000"
#: A limit a minute that is not reached either.
_WIDE = 100_000_000
#: How often the load looks what is due.
_TICK = 0.005


class SteadyLoad:
    """``rate`` calls a second over every process that answers; a call that finds no idle line waits for one."""

    def __init__(self, sites: list[Site], key: str, rate: float, name: str = "call") -> None:
        self.told: Counter[str] = Counter()
        #: What callers were told, by the second since the start.
        self.by_second: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self.longest_queue = 0
        self._sites, self._key, self._rate, self._name = sites, key, rate, name
        self._idle: deque[tuple[Site, Client]] = deque()
        self._lines: set[asyncio.Task[None]] = set()
        self._due = self._sent = 0
        self._began = 0.0
        self._over = False

    async def run(self, seconds: float) -> None:
        """Returns when every call has an answer, or has lost its line."""
        for site in self._sites:
            for _ in range(LINES):
                self._open(site)
        self._began = time.monotonic()
        while (passed := time.monotonic() - self._began) < seconds:
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
            client.send(self._request(f"{self._name}-{self._sent}"))

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
        word = "answered" if well else client.trouble.partition(",")[0].partition(":")[0]
        self.told[word] += 1
        self.by_second[int(time.monotonic() - self._began)][word] += 1
        if client.closed:
            self._open(site)
        else:
            self._idle.append((site, client))


def make_key(site: Site, name: str = "steady", cap_usd: str = WIDE_USD, more: bool = True) -> str:
    """A key with limits, and a budget of its own where there is a cap; with ``more``, three further bind its calls."""
    limits = {"requests_per_minute": _WIDE, "tokens_per_minute": _WIDE}
    body: dict[str, Any] = {"name": name, "role": "developer", "principal": name, **limits}
    budget = {"limit_usd": cap_usd, "window": "lifetime"}
    key = str(made(site, "/keys", {**body, "budget": budget} if cap_usd else body)["key"])
    for scope, subject in (("user", name), ("model", "paid"), ("gateway", "*")) if more else ():
        made(site, "/budgets", {"scope": scope, "subject": subject, **budget})
    return key


def made(site: Site, path: str, body: dict[str, Any]) -> Any:
    """What was made of ``body``; ``RuntimeError`` where it was refused."""
    status, told = site.ask("POST", path, body)
    if status not in (200, 201):
        raise RuntimeError(f"{path} answered {status}: {told}")
    return told
