"""The load: a program of its own that reads an order (JSON) from standard input and prints what it saw.

Its client is an asyncio protocol on httptools and uvloop. An order says how: ``closed`` keeps
``connections`` busy, ``paced`` sends ``rate`` requests a second whatever comes back (latencies count
from the moment a request was due), ``held`` opens ``connections`` streams that the upstream holds.
CPU time and memory of the stack are read here, beside the first and the last request that count.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import httptools
import machine
import msgspec
import uvloop
from upstream import CHUNKS

_PATIENCE = 60.0


class Order(msgspec.Struct):
    """What to do. ``groups`` are the process ids whose CPU time and memory are wanted, by name."""

    port: int
    headers: dict[str, str]
    model: str
    manner: str = "closed"
    stream: bool = False
    connections: int = 16
    seconds: float = 3.0
    warmup: float = 0.5
    requests: int = 0
    least: int = 200
    warmup_requests: int = 50
    rate: float = 200.0
    groups: dict[str, list[int]] = {}
    upstream_port: int = 0
    path: str = "/v1/chat/completions"


class Client(asyncio.Protocol):
    """One keep-alive connection with at most one request on it."""

    def __init__(self, stream: bool, done: Callable[[Client, bool], None]) -> None:
        self.due = 0.0
        self.opened = False
        self.busy = False
        self._stream = stream
        self._done = done
        self._pieces = 0
        self._tail = b""
        self._close = False
        self._transport: asyncio.Transport
        self._parser: httptools.HttpResponseParser
        self.first: Callable[[], None] | None = None
        self.trouble = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpResponseParser(self)

    def send(self, request: bytes) -> None:
        self.busy, self._pieces, self._tail = True, 0, b""
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.trouble = str(error)
            self._transport.abort()

    def on_body(self, body: bytes) -> None:
        self._pieces += body.count(b'"content":')
        self._tail = body if len(body) > 64 else self._tail + body
        if self.first is not None:
            first, self.first = self.first, None
            first()

    def on_message_complete(self) -> None:
        status, self.busy = self._parser.get_status_code(), False
        whole = self._pieces >= CHUNKS and b"[DONE]" in self._tail if self._stream else b'"usage"' in self._tail
        if not (status == 200 and whole):
            self.trouble = f"status {status}, {self._pieces} pieces: {self._tail[-300:].decode(errors='replace')}"
        if not self._parser.should_keep_alive():
            self._transport.close()
        self._done(self, status == 200 and whole)

    def connection_lost(self, exc: Exception | None) -> None:
        self._close = True
        if self.busy:
            self.busy = False
            self.trouble = self.trouble or f"the connection was lost: {exc}"
            self._done(self, False)

    @property
    def closed(self) -> bool:
        return self._close or self._transport.is_closing()

    def end(self) -> None:
        self.busy = False
        self._transport.abort()


class Tally:
    """What counts, from ``begin`` to ``end``."""

    def __init__(self, groups: dict[str, list[int]]) -> None:
        self._groups = groups
        self.good = 0
        self.bad = 0
        self.answered = 0
        self.trouble = ""
        self.latencies: list[float] = []
        self.samples: list[tuple[int, float]] = []

    def begin(self) -> None:
        self.good = self.bad = 0
        self.latencies.clear()
        self._began, self._idle, self._cpu = time.perf_counter(), machine.idle_seconds(), self._read()

    def end(self) -> dict[str, Any]:
        took, idle, cpu = time.perf_counter() - self._began, machine.idle_seconds() - self._idle, self._read()
        asked = max(self.good + self.bad, 1)
        ordered = sorted(self.latencies)
        return {
            "requests": self.good,
            "failures": self.bad,
            "trouble": self.trouble,
            "seconds": took,
            "rate": self.good / took,
            "idle": idle / took,
            "cpu_us": {name: (cpu[name] - self._cpu[name]) / asked * 1e6 for name in cpu},
            "memory_mib": {name: machine.resident_mib(pids) for name, pids in self._groups.items()},
            "samples": self.samples,
            "p50_ms": _share(ordered, 0.50) * 1e3,
            "p99_ms": _share(ordered, 0.99) * 1e3,
        }

    def count(self, client: Client, well: bool) -> None:
        if well:
            self.good += 1
            self.answered += 1
        else:
            self.bad += 1
            self.trouble = self.trouble or client.trouble

    def sample(self) -> None:
        first = next(iter(self._groups.values()), [])
        self.samples.append((self.good, machine.resident_mib(first)))

    def _read(self) -> dict[str, float]:
        return {name: machine.cpu_seconds(pids) for name, pids in self._groups.items()}


async def closed(order: Order) -> dict[str, Any]:
    """Keeps every connection busy for ``seconds`` and ``least`` requests, or until ``requests`` are answered."""
    loop, tally, request = asyncio.get_running_loop(), Tally(order.groups), _request(order)
    clients: list[Client] = []
    waiting: set[asyncio.Task[None]] = set()
    reached = asyncio.Event()
    wanted, sampled, running = max(order.warmup_requests, 1), 0, True

    def done(client: Client, well: bool) -> None:
        tally.count(client, well)
        asked = tally.good + tally.bad
        if sampled and asked % sampled == 0:
            tally.sample()
        if asked >= wanted:
            reached.set()
        if not running:
            return
        if client.closed:
            again = loop.create_task(connect())
            waiting.add(again)
            again.add_done_callback(waiting.discard)
        else:
            client.send(request)

    async def connect() -> None:
        _, client = await loop.create_connection(partial(Client, order.stream, done), "127.0.0.1", order.port)
        clients.append(client)
        client.send(request)

    async def until(least: int, seconds: float, most: float) -> None:
        nonlocal wanted
        wanted = least
        reached.clear()
        await asyncio.sleep(seconds)
        if tally.good + tally.bad < wanted:
            await asyncio.wait([asyncio.ensure_future(reached.wait())], timeout=most)

    tally.begin()
    await asyncio.gather(*(connect() for _ in range(order.connections)))
    await until(order.warmup_requests, order.warmup, 30.0)
    tally.begin()
    if order.requests:
        sampled = max(order.requests // 10, 1)
        await until(order.requests, 0.0, order.seconds)
    else:
        await until(order.least, order.seconds, 30.0)
    result, running = tally.end(), False
    await _quiet(clients)
    return {**result, "answered": tally.answered}


async def _quiet(clients: list[Client]) -> None:
    """Lets what is under way end, so that every call that was begun is accounted for, then hangs up."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _PATIENCE
    while any(client.busy for client in clients) and loop.time() < deadline:  # noqa: ASYNC110 - sixteen to wait for
        await asyncio.sleep(0.01)
    for client in clients:
        client.end()


async def paced(order: Order) -> dict[str, Any]:
    """``rate`` requests a second for ``seconds``; a request that finds no idle connection waits for one."""
    loop, tally, request = asyncio.get_running_loop(), Tally(order.groups), _request(order)
    idle: deque[Client] = deque()
    queue: deque[float] = deque()
    left = 0
    over = asyncio.Event()

    def done(client: Client, well: bool) -> None:
        nonlocal left
        tally.count(client, well)
        tally.latencies.append(loop.time() - client.due)
        left -= 1
        if left == 0:
            over.set()
        if client.closed:
            return
        if queue:
            client.due = queue.popleft()
            client.send(request)
        else:
            idle.append(client)

    def fire(due: float) -> None:
        while idle and idle[-1].closed:
            idle.pop()
        if idle:
            client = idle.pop()
            client.due = due
            client.send(request)
        else:
            queue.append(due)

    clients = []
    for _ in range(order.connections):
        _, client = await loop.create_connection(partial(Client, order.stream, done), "127.0.0.1", order.port)
        idle.append(client)
        clients.append(client)
    for seconds in (order.warmup, order.seconds):
        left = max(int(seconds * order.rate), 1)
        over.clear()
        tally.begin()
        start = loop.time() + 0.01
        for number in range(left):
            due = start + number / order.rate
            loop.call_at(due, fire, due)
        await asyncio.wait([asyncio.ensure_future(over.wait())], timeout=seconds * 2 + 1)
        result = {**tally.end(), "overloaded": not over.is_set()}
        if not over.is_set():
            queue.clear()
            break
    await _quiet(clients)
    return {**result, "answered": tally.answered}


async def held(order: Order) -> dict[str, Any]:
    """Opens ``connections`` streams, holds all of them open at once, then lets them end."""
    loop, tally, request = asyncio.get_running_loop(), Tally(order.groups), _request(order)
    opening = asyncio.Semaphore(32)
    ended: list[asyncio.Future[None]] = []
    clients: list[Client] = []

    async def open_one() -> bool:
        over, first = loop.create_future(), loop.create_future()
        ended.append(over)

        def done(client: Client, well: bool) -> None:
            tally.count(client, well)
            for future in (over, first):
                if not future.done():
                    future.set_result(None)

        async with opening:
            _, client = await loop.create_connection(partial(Client, True, done), "127.0.0.1", order.port)
            clients.append(client)
            client.first = lambda: None if first.done() else first.set_result(None)
            client.send(request)
            await asyncio.wait([first], timeout=_PATIENCE)
            return first.done() and not over.done()

    before = {name: machine.resident_mib(pids) for name, pids in order.groups.items()}
    await _mode(order.upstream_port, {"hold": True})
    tally.begin()
    try:
        async with asyncio.timeout(order.seconds):
            opened = await asyncio.gather(*(open_one() for _ in range(order.connections)))
    except TimeoutError:
        opened = []
    together = sum(client.busy for client in clients)
    memory = {name: machine.resident_mib(pids) for name, pids in order.groups.items()}
    await _mode(order.upstream_port, {"hold": False})
    if ended:
        await asyncio.wait(ended, timeout=_PATIENCE)
    result = tally.end()
    await _quiet(clients)
    grown = {name: memory[name] - before[name] for name in memory}
    return {
        **result,
        "answered": tally.answered,
        "opened": sum(opened),
        "together": together,
        "memory_mib": memory,
        "grown_mib": grown,
    }


async def _mode(port: int, mode: dict[str, Any]) -> None:
    body = json.dumps(mode).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"PUT /mode HTTP/1.1\r\nhost: bench\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
    await reader.readuntil(b"{}")
    writer.close()


def question(model: str) -> dict[str, Any]:
    """The body of each request."""
    return {
        "model": model,
        "messages": [
            {"role": "system", "content": "You are a careful analyst. Answer in one sentence."},
            {"role": "user", "content": "What is a bond, who issues it, and what moves its price from day to day?"},
        ],
        "max_tokens": 64,
        "temperature": 0.2,
    }


def _request(order: Order) -> bytes:
    asked = question(order.model)
    if order.stream:
        asked |= {"stream": True, "stream_options": {"include_usage": True}}
    body = json.dumps(asked).encode()
    headers = {"host": f"127.0.0.1:{order.port}", "content-type": "application/json", **order.headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {order.path} HTTP/1.1\r\n{head}content-length: {len(body)}\r\n\r\n".encode() + body


def _share(ordered: list[float], share: float) -> float:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


if __name__ == "__main__":
    asked_for = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    machine.allow_many_files()
    manners = {"closed": closed, "paced": paced, "held": held}
    sys.stdout.write(json.dumps(uvloop.run(manners[asked_for.manner](asked_for))))
