"""The shapes by Prefect: flows in this process, told to a server of its own (which keeps them in SQLite)."""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from prefect import flow, task

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from engine_shape import CHAIN, WIDTH, check, figures_of, sizes_given


@task
def add(number: int) -> int:
    return number + 1


@flow
def chain(number: int) -> int:
    for _ in range(CHAIN):
        number = add(number)
    return number


@flow
def wide() -> int:
    return sum(add.map(list(range(WIDTH))).result())


def timed(work: object, *given: object) -> float:
    started = time.perf_counter()
    work(*given)  # type: ignore[operator]
    return time.perf_counter() - started


def main() -> None:
    sizes = sizes_given()
    check(chain(0), CHAIN)
    check(wide(), WIDTH * (WIDTH + 1) // 2)
    alone = [timed(chain, 0) for _ in range(sizes.alone)]
    with ThreadPoolExecutor(min(sizes.beside, 8)) as pool:
        beside = timed(lambda: list(pool.map(chain, [0] * sizes.beside)))
    fans = [timed(wide) for _ in range(sizes.wide)]
    sys.stdout.write(json.dumps(figures_of(alone, beside, fans, sizes)) + "\n")


if __name__ == "__main__":
    main()
