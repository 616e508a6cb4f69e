"""The shapes by DBOS on PostgreSQL: steps within a workflow in this process, each kept before the next begins."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from dbos import DBOS

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from engine_shape import CHAIN, WIDTH, check, figures_of, sizes_given


@DBOS.step()
async def add(number: int) -> int:
    return number + 1


@DBOS.workflow()
async def chain(number: int) -> int:
    for _ in range(CHAIN):
        number = await add(number)
    return number


@DBOS.workflow()
async def wide() -> int:
    return sum(await asyncio.gather(*(add(at) for at in range(WIDTH))))


async def work() -> None:
    sizes = sizes_given()

    async def one() -> None:
        handle = await DBOS.start_workflow_async(chain, 0)
        check(await handle.get_result(), CHAIN)

    async def fan() -> None:
        handle = await DBOS.start_workflow_async(wide)
        check(await handle.get_result(), WIDTH * (WIDTH + 1) // 2)

    async def timed(made: object) -> float:
        started = time.perf_counter()
        await made  # type: ignore[misc]
        return time.perf_counter() - started

    await one()
    await fan()
    alone = [await timed(one()) for _ in range(sizes.alone)]
    beside = await timed(asyncio.gather(*(one() for _ in range(sizes.beside))))
    fans = [await timed(fan()) for _ in range(sizes.wide)]
    sys.stdout.write(json.dumps(figures_of(alone, beside, fans, sizes)) + "\n")


if __name__ == "__main__":
    DBOS(config={"name": "bench", "system_database_url": os.environ["BENCH_DATABASE"], "log_level": "ERROR"})
    DBOS.launch()
    asyncio.run(work())
    DBOS.destroy()
