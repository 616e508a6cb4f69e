"""``Prefer: wait=N``: hold the answer back until the work has ended, at most so long."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from typing import Any

from starlette.requests import Request

from gateway.engine.states import RUN_ENDED

_WAIT = re.compile(r"(?:^|[\s,;])wait=(\d{1,6})(?:$|[\s,;])")
LONGEST = 60


def wanted_wait(request: Request) -> int:
    """Seconds the caller is willing to wait, at most ``LONGEST``; 0: not at all."""
    match = _WAIT.search(request.headers.get("prefer", ""))
    return min(int(match.group(1)), LONGEST) if match else 0


async def until_ended(seconds: int, view: Callable[[], dict[str, Any]], request: Request) -> dict[str, Any]:
    """The newest view: as soon as its status is an end, or when the time is over or the caller gone."""
    deadline = time.monotonic() + seconds
    pause = 0.05
    while True:
        current = await asyncio.to_thread(view)
        if current["status"] in RUN_ENDED or time.monotonic() >= deadline or await request.is_disconnected():
            return current
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 0.5)
