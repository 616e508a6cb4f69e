"""Follows a plan until one deployment answers: tries again, goes on to the next, or races two."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from gateway.errors import ContextTooLong, GatewayError, NotSupported
from gateway.registry.catalogue import Catalogue, ModelSpec
from gateway.routing.health import Health
from gateway.routing.retry import MOST_ATTEMPTS, judge, wait_before

Answer = TypeVar("Answer")


class Tries:
    """How often one call was sent and when, over all deployments and both sides of a race."""

    __slots__ = ("_starts", "count")

    def __init__(self) -> None:
        self._starts: list[float] = []
        self.count = 0

    def next(self, now: float) -> float:
        """One more try, the ``count``-th; how many seconds it is to wait, where too many began a moment ago."""
        starts = self._starts
        seconds = wait_before(starts, now) if starts else 0.0
        starts.append(now + seconds)
        self.count += 1
        return seconds


async def follow(
    names: Sequence[str],
    attempt: Callable[[str, int], Awaitable[Answer]],
    asked: ModelSpec,
    catalogue: Catalogue,
    allowed: Callable[[str], bool],
    health: Health,
    tries: Tries,
) -> Answer:
    """The first answer of ``names`` in their order. Raises what the last error was.

    ``attempt(name, number)`` sends one try; ``number`` counts all of them.
    """
    problem: GatewayError | None = None
    rest = list(names)
    tried: set[str] = set()
    while rest:
        name, here = rest.pop(0), 0
        tried.add(name)
        while True:
            here += 1
            began = time.monotonic()
            pause = tries.next(began)
            number = tries.count
            if pause:
                await asyncio.sleep(pause)
                began = time.monotonic()
            health.entered(name)
            try:
                answer = await attempt(name, number)
            except GatewayError as error:
                health.left(name)
                problem = error
                most = catalogue.provider(catalogue.models[name].provider).max_attempts
                verdict = judge(error, attempt=here, total=tries.count, most_here=most, others=bool(rest))
                if verdict.counts:
                    health.failed(name)
                other = None if tries.count >= MOST_ATTEMPTS else _of_class(error, asked, allowed)
                if other is not None:
                    rest = [item for item in other if item not in tried]
                    break
                if verdict.what == "stop":
                    raise
                if verdict.what == "next":
                    if isinstance(error, ContextTooLong):
                        rest = [item for item in rest if _is_larger(catalogue.models[item], catalogue.models[name])]
                    break
                await asyncio.sleep(verdict.pause)
            except BaseException:
                health.left(name)
                raise
            else:
                health.answered(name, time.monotonic() - began)
                return answer
    raise problem if problem is not None else NotSupported("no deployment can answer this")


async def race(
    names: Sequence[str],
    hedge_after: float,
    run: Callable[[Sequence[str]], Awaitable[Answer]],
    lose: Callable[[Answer], Awaitable[None]],
) -> Answer:
    """Follows the plan, and from its second deployment on a second time where the first is silent for
    ``hedge_after`` seconds. The loser is cancelled; one that answered all the same goes to ``lose``.
    A second runner that cannot begin (no budget for both) leaves the first alone."""
    first = asyncio.ensure_future(run(names))
    runners = [first]
    try:
        await asyncio.wait(runners, timeout=hedge_after)
        if not first.done():
            runners.append(asyncio.ensure_future(run(names[1:])))
        pending = set(runners)
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if task.exception() is None:
                    runners.remove(task)
                    return task.result()
        return first.result()
    finally:
        for task in runners:
            task.cancel()
        for task in runners:
            with contextlib.suppress(asyncio.CancelledError, GatewayError):
                await lose(await task)


def _of_class(error: GatewayError, asked: ModelSpec, allowed: Callable[[str], bool]) -> list[str] | None:
    """The fallbacks that the asked model names for this class of error; ``None`` where it names none."""
    names = asked.fallbacks_on.get(error.code)
    return None if names is None else [name for name in names if allowed(name)]


def _is_larger(candidate: ModelSpec, than: ModelSpec) -> bool:
    if candidate.context_window is None or than.context_window is None:
        return True
    return candidate.context_window > than.context_window
