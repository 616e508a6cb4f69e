"""The disconnect test: ``.venv/bin/python bench/disconnects.py``; ``--help`` names the options.

Streams are cut by their caller after a random byte, some before the first, some while the provider is silent, half
of them with a reset. Each must be in the ledger once: what was whole at the provider's own count, what was cut
by an estimate that is not below what the caller had nor above what the provider wrote. The provider must be hung up
on soon, and nothing may be left set aside (``money_proof.py``).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import socket
import statistics
import struct
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from money_far import MoneyFar
from money_proof import prove_money
from money_run import add_options, gateways, prove, stop_all
from storm_town import KEY, Site
from verdict import Verdict

_MOST_TOKENS = 60
#: A line that is closed without more ado sends what it had; one with this option is reset.
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Cut:
    """What the caller had of a stream: bytes, pieces of text, whether all of it; and when it hung up."""

    size: int
    pieces: int
    whole: bool
    at: float


async def stream(site: Site, name: str, most: int, reset: bool) -> Cut:
    """Asks for a stream and hangs up once ``most`` bytes of the answer are here (all, if it is shorter)."""
    asked = {
        "model": "paid",
        "stream": True,
        "max_tokens": _MOST_TOKENS,
        "messages": [{"role": "user", "content": name}],
    }
    body = json.dumps(asked).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {KEY}\r\n"
    head += f"x-request-id: {name}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(head.encode() + body)
    await writer.drain()
    had = b""
    while len(had) < most and b"[DONE]" not in had:
        more = await reader.read(most - len(had))
        if not more:
            break
        had += more
    if reset:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    at = time.monotonic()
    writer.close()
    with contextlib.suppress(ConnectionError):  # it was cut: that is the point
        await writer.wait_closed()
    return Cut(len(had), had.count(b'"content":"word"'), b"[DONE]" in had, at)


async def cut_all(site: Site, options: argparse.Namespace) -> dict[str, Cut]:
    """Every stream, so many at once, by its request id."""
    length = (await stream(site, "measure", 1_000_000, reset=False)).size
    chance, doors = random.Random(options.seed), asyncio.Semaphore(options.at_once)
    # Up to a third longer than one that was measured: some are heard to their end.
    cuts = [
        (f"cut-{number}", chance.randint(0, length * 4 // 3), chance.random() < 0.5) for number in range(options.cuts)
    ]

    async def one(name: str, most: int, reset: bool) -> tuple[str, Cut]:
        async with doors:
            return name, await stream(site, name, most, reset)

    return dict(await asyncio.gather(*(one(*cut) for cut in cuts)))


async def run(options: argparse.Namespace, folder: Path) -> Verdict:
    far, verdict = MoneyFar(options.seed, pause=0.004, silences=4), Verdict()
    async with far.listening() as url, gateways(folder, url, ("one",), options.control) as town:
        site, started = town.sites[0], time.monotonic()
        budget = {"scope": "gateway", "subject": "*", "limit_usd": "100000", "window": "lifetime"}
        await asyncio.to_thread(site.ask, "POST", "/budgets", budget)
        cuts = await cut_all(site, options)
        verdict.figures = {"streams": len(cuts), "seconds": round(time.monotonic() - started, 1)}
        await stop_all(town)
        entries = await asyncio.to_thread(prove_money, town, far.calls, verdict)
        _each_cut(verdict, far, cuts, entries)
    return verdict


def _each_cut(verdict: Verdict, far: MoneyFar, cuts: dict[str, Cut], entries: dict[str, list[Any]]) -> None:
    heard, written, charged, waits = 0, 0, 0, []
    for name, cut in cuts.items():
        told, calls = entries.get(name, []), far.calls.get(name, [])
        # A caller that is gone before the provider was asked may have begun nothing.
        verdict.hold(len(calls) <= len(told) <= 1, f"{name}: {len(calls)} calls of the provider, {len(told)} entries")
        verdict.hold(bool(told) or not cut.size, f"{name}: {cut.size} bytes of answer, and no entry")
        for row, call in zip(told, calls, strict=False):
            verdict.hold(row.outcome in ("completed", "cancelled"), f"{name} ended as {row.outcome}")
            verdict.hold(row.outcome == "completed" or not cut.whole, f"{name} was heard to its end: {row.outcome}")
            fair = cut.pieces <= row.output_tokens <= call.written
            verdict.hold(
                fair, f"{name}: {row.output_tokens} tokens charged, {cut.pieces} heard, {call.written} written"
            )
            if row.outcome == "cancelled":
                heard, charged, written = heard + cut.pieces, charged + row.output_tokens, written + call.written
            if call.hung_up:
                waits.append((call.hung_up - cut.at) * 1000)
    verdict.figures |= {
        "heard to their end": sum(cut.whole for cut in cuts.values()),
        "of those cut, tokens heard, charged, written": [heard, charged, written],
        "ms until the provider was hung up on, p50, p99, longest": _spread(waits),
    }
    verdict.hold(bool(waits), "no stream was cut under way")
    verdict.hold(max(waits, default=0) < 1000, f"the provider was heard for {max(waits, default=0):.0f} ms more")


def _spread(values: list[float]) -> list[float]:
    if len(values) < 2:
        return values
    parts = statistics.quantiles(values, n=100)
    return [round(value, 1) for value in (parts[49], parts[98], max(values))]


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/disconnects.py", description=__doc__)
    parser.add_argument("--cuts", type=int, default=500, help="streams that are cut")
    parser.add_argument("--at-once", type=int, default=20, help="streams at a time")
    add_options(parser)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(prove(parse(sys.argv[1:]), run))
