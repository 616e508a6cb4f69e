"""The shapes by Celery, with results in the broker: ``raw`` (each step sent, its result awaited, by the caller), or its
``canvas`` (chain, and chord with what gathers). Neither survives the loss of its broker or its worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from celery import Celery, chain, chord
from celery.result import AsyncResult

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from engine_shape import CHAIN, WIDTH, check, figures_of, sizes_given  # noqa: E402 - its folder is on the path only now

URL = os.environ["BENCH_BROKER"]
app = Celery("celery_shape", broker=URL, backend=URL)
app.conf.update(worker_prefetch_multiplier=1, worker_hijack_root_logger=False, result_expires=600)
_SECONDS = 120


@app.task
def add(number: int) -> int:
    return number + 1


@app.task
def total(numbers: list[int]) -> int:
    return sum(numbers)


def one(way: str) -> None:
    if way == "canvas":
        check(chain(add.s(0), *(add.s() for _ in range(CHAIN - 1)))().get(timeout=_SECONDS), CHAIN)
        return
    number = 0
    for _ in range(CHAIN):
        number = add.delay(number).get(timeout=_SECONDS)
    check(number, CHAIN)


def wide(way: str) -> None:
    if way == "canvas":
        found = chord([add.s(at) for at in range(WIDTH)])(total.s()).get(timeout=_SECONDS)
    else:
        sent: list[AsyncResult] = [add.delay(at) for at in range(WIDTH)]
        found = sum(result.get(timeout=_SECONDS) for result in sent)
    check(found, WIDTH * (WIDTH + 1) // 2)


def timed(work: object, *given: object) -> float:
    started = time.perf_counter()
    work(*given)  # type: ignore[operator]
    return time.perf_counter() - started


def main(way: str) -> None:
    sizes = sizes_given()
    command = [sys.executable, "-m", "celery", "-A", "celery_shape", "--quiet", "worker", "--pool=threads"]
    command += ["--concurrency=8", "--loglevel=ERROR", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    worker = subprocess.Popen(command, cwd=HERE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
    try:
        one(way)
        wide(way)
        alone = [timed(one, way) for _ in range(sizes.alone)]
        with ThreadPoolExecutor(sizes.beside) as pool:
            beside = timed(lambda: list(pool.map(one, [way] * sizes.beside)))
        fans = [timed(wide, way) for _ in range(sizes.wide)]
    finally:
        worker.kill()
        worker.wait()
    sys.stdout.write(json.dumps(figures_of(alone, beside, fans, sizes)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
