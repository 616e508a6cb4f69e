"""What every engine of ``engine.py`` is asked to do, and how what it took is told. Plain Python: peers import it.

Chain: ten steps, each on the result of the one before. Fan-out: a hundred equal steps and one result of all.
"""

from __future__ import annotations

import statistics
import sys
from typing import NamedTuple, TypedDict

CHAIN, WIDTH = 10, 100


class Sizes(NamedTuple):
    """How many chains one after another, how many at once, and how many fan-outs."""

    alone: int
    beside: int
    wide: int


class Figures(TypedDict):
    """``step_ms``: median of a chain alone, by step. ``steps_s``: steps a second of many chains at once.
    ``fan_out_s``: steps a second of a fan-out alone. ``cpu_us``: CPU time of all processes a step, where known."""

    step_ms: float
    steps_s: float
    fan_out_s: float
    cpu_us: float | None


def figures_of(alone: list[float], beside: float, wide: list[float], sizes: Sizes, cpu: float | None = None) -> Figures:
    """From seconds: of each chain alone, of all chains at once, of each fan-out; ``cpu`` seconds of those at once."""
    steps = sizes.beside * CHAIN
    return {
        "step_ms": round(statistics.median(alone) / CHAIN * 1000, 3),
        "steps_s": round(steps / beside, 1),
        "fan_out_s": round(WIDTH / statistics.median(wide), 1),
        "cpu_us": None if cpu is None else round(cpu / steps * 1e6, 1),
    }


def check(found: int, wanted: int) -> None:
    """An engine that computes something else is not measured."""
    if found != wanted:
        raise RuntimeError(f"{found}, where {wanted} was to come out")


def sizes_given() -> Sizes:
    """The sizes, the last three arguments of a peer's program."""
    return Sizes(*map(int, sys.argv[-3:]))
