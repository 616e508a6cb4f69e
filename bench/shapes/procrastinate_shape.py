"""The shapes by Procrastinate on PostgreSQL: a job defers the next; of a fan-out, the end of all its jobs is awaited
(it has nothing that gathers)."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from procrastinate import App, PsycopgConnector

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from engine_shape import CHAIN, WIDTH, figures_of, sizes_given

app = App(connector=PsycopgConnector(conninfo=os.environ["BENCH_DATABASE"], min_size=4, max_size=20))
_ended: dict[int, asyncio.Event] = {}
_left: dict[int, int] = {}


@app.task(name="step")
async def step(number: int, left: int, of: int) -> int:
    if left > 1:
        await step.defer_async(number=number + 1, left=left - 1, of=of)
        return number + 1
    _left[of] -= 1
    if not _left[of]:
        _ended[of].set()
    return number + 1


async def run(name: int, chains: int, steps: int) -> float:
    """``chains`` of ``steps`` jobs each; seconds until the last has done its work."""
    _ended[name], _left[name] = asyncio.Event(), chains
    started = time.perf_counter()
    if chains == 1:
        await step.defer_async(number=0, left=steps, of=name)
    else:
        await step.batch_defer_async(*({"number": 0, "left": steps, "of": name} for _ in range(chains)))
    await _ended[name].wait()
    return time.perf_counter() - started


async def work() -> None:
    sizes = sizes_given()
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        # A job that is deferred by another is found by polling, not by a notification: as often as it bears.
        found = app.run_worker_async(concurrency=10, install_signal_handlers=False, fetch_job_polling_interval=0.005)
        worker = asyncio.create_task(found)
        await run(0, 1, CHAIN)
        await run(1, WIDTH, 1)
        alone = [await run(10 + at, 1, CHAIN) for at in range(sizes.alone)]
        beside = await run(2, sizes.beside, CHAIN)
        fans = [await run(1000 + at, WIDTH, 1) for at in range(sizes.wide)]
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
    sys.stdout.write(json.dumps(figures_of(alone, beside, fans, sizes)) + "\n")


if __name__ == "__main__":
    asyncio.run(work())
