"""What the proofs of money have in common: their options, the gateways they run against, their end."""

from __future__ import annotations

import argparse
import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import machine
from storm_controls import MONEY_CONTROLS, write_control
from storm_town import Town
from verdict import Verdict


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of each of them."""
    parser.add_argument("--seed", type=int, default=1, help="of chance: clients, provider, cuts")
    broken = ["", *MONEY_CONTROLS]
    parser.add_argument("--control", default="", choices=broken, help="what to break: it must be seen")
    parser.add_argument("--report", default="", help="a file for the report")


@asynccontextmanager
async def gateways(folder: Path, provider: str, names: tuple[str, ...], control: str) -> AsyncIterator[Town]:
    """API processes on one PostgreSQL that answer, and are gone at the end, PostgreSQL too."""
    patches = write_control(folder.with_name("patches"), control) if control else None
    town = await asyncio.to_thread(Town, folder, provider, patches, names, ("--api-only",))
    try:
        await asyncio.to_thread(town.start)
        yield town
    finally:
        await asyncio.to_thread(town.stop)


async def stop_all(town: Town) -> None:
    """What journals still hold is entered when their processes end."""
    await asyncio.gather(*(asyncio.to_thread(site.stop) for site in town.sites))


def prove(options: argparse.Namespace, run: Callable[[argparse.Namespace, Path], Awaitable[Verdict]]) -> int:
    """Runs it in a folder that is gone afterwards; 0 if everything held; with ``--control``, 0 if something did not.
    A SIGTERM ends it as Ctrl-C does: with everything that it started."""
    machine.allow_many_files()
    with tempfile.TemporaryDirectory(prefix="money-") as name:
        verdict = asyncio.run(_until_told(run(options, Path(name) / "town")))
    return verdict.tell(options.report, broken=options.control)


async def _until_told(running: Awaitable[Verdict]) -> Verdict:
    task = asyncio.ensure_future(running)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task
