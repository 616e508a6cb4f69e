"""A slow store of limits: the event loop goes on, nothing is let through that should not be, nothing is lost."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence

import pytest

from fixtures.money_kit import ManualClock
from gateway.clock import SystemClock
from gateway.errors import RateLimited, Unavailable
from gateway.security.access import Caller, caller_for
from gateway.security.limits import LimitState
from gateway.security.places import Wanted
from gateway.security.shared_limits import Ask, Back, Granted, SharedLimits

SLOW = 0.2


class Slow:
    """One process's view of a store that takes its time, and knows in which threads it was asked."""

    def __init__(self, seconds: float = SLOW) -> None:
        self.seconds = seconds
        self.away = False
        self.held: dict[str, dict[str, int]] = {}
        self.running: dict[str, int] = {}
        self.threads: set[int] = set()
        #: The loop that must be able to go on meanwhile, and how often it was not.
        self.loop: asyncio.AbstractEventLoop | None = None
        self.stuck = 0
        #: Nothing is answered before it is set.
        self.asked = threading.Event()
        self.answers = threading.Event()
        self.answers.set()

    def _pause(self) -> None:
        self.threads.add(threading.get_ident())
        self.asked.set()
        if self.loop is not None:
            turned = threading.Event()
            self.loop.call_soon_threadsafe(turned.set)
            self.stuck += not turned.wait(5)
        time.sleep(self.seconds)
        assert self.answers.wait(10)
        if self.away:
            raise Unavailable("the store of limits does not answer")

    def exchange(self, key: str, back: Sequence[Back], ask: Ask | None) -> Granted | None:
        self._pause()
        held = self.held.setdefault(key, {})
        for one in back:
            held[one.grant_id] = max(held.get(one.grant_id, 0) - one.requests, 0)
        if ask is None:
            return None
        used = sum(held.values())
        free = (ask.most_requests or 0) - used
        if free < 1:
            return Granted(0, 0, used, 0, 1.0)
        given = min(ask.want_requests, free)
        held[ask.grant_id] = given
        return Granted(given, ask.want_tokens, used + given, 0)

    def enter(self, _holder: str, wanted: Sequence[Wanted]) -> tuple[int, int] | None:
        self._pause()
        for number, one in enumerate(wanted):
            if one.running + 1 > one.most:
                return number, one.running
        self.running |= {one.name: one.running + 1 for one in wanted}
        return None

    def say(self, _holder: str, running: Mapping[str, int]) -> None:
        self._pause()
        self.running |= running


def me(**limits: int) -> Caller:
    return caller_for("p", "developer", key_id="k", **limits)


async def admitted(limits: SharedLimits, caller: Caller) -> LimitState | None:
    try:
        return await limits.admit(caller, model="m", tokens=1)
    except RateLimited:
        return None


def test_the_loop_goes_on_while_a_grant_is_asked_for() -> None:
    store = Slow()
    limits = SharedLimits(SystemClock(), store)

    async def work() -> None:
        store.loop = asyncio.get_running_loop()
        assert all(await asyncio.gather(*(admitted(limits, me(requests_per_minute=100)) for _ in range(8))))
        store.loop = None

    asyncio.run(work())
    assert store.stuck == 0
    assert threading.get_ident() not in store.threads
    limits.close()


def test_no_more_than_the_limit_is_let_in_however_many_wait() -> None:
    limits = SharedLimits(SystemClock(), Slow(0.01))

    async def work() -> int:
        found = await asyncio.gather(*(admitted(limits, me(requests_per_minute=10)) for _ in range(50)))
        return sum(state is not None for state in found)

    assert asyncio.run(work()) == 10
    limits.close()


def test_a_call_within_a_grant_asks_nobody_and_waits_for_nobody() -> None:
    store = Slow(0.0)
    limits = SharedLimits(ManualClock(), store)
    busy = caller_for("p", "developer", key_id="busy", requests_per_minute=1600)

    async def work() -> None:
        for _ in range(8):  # grants of 1, 2, 4 and 8: the last has room
            await limits.admit(busy, model="m", tokens=1)
        store.answers.clear()
        store.asked.clear()
        other = asyncio.ensure_future(admitted(limits, me(requests_per_minute=5)))
        assert await asyncio.to_thread(store.asked.wait, 10)
        state = await limits.admit(busy, model="m", tokens=1)
        limits.settle(state, 1)
        assert not other.done()
        store.answers.set()
        assert await other

    asyncio.run(work())
    limits.close()


def test_places_are_taken_and_given_back_beside_the_loop() -> None:
    store = Slow(0.05)
    limits = SharedLimits(SystemClock(), store, store)
    caller = me(max_concurrent=1)

    async def work() -> None:
        store.loop = asyncio.get_running_loop()
        for _ in range(3):  # each can only have the place of the one before
            state = await admitted(limits, caller)
            assert state is not None
            assert await admitted(limits, caller) is None
            limits.release(state)
        last = await admitted(limits, caller)
        assert last is not None
        assert threading.get_ident() not in store.threads
        store.loop = None
        limits.release(last)

    asyncio.run(work())
    limits.close()
    assert store.stuck == 0
    assert set(store.running.values()) == {0}


def test_a_caller_who_leaves_while_waiting_holds_nothing() -> None:
    store = Slow(0.1)
    limits = SharedLimits(SystemClock(), store, store)
    caller = me(max_concurrent=1)

    async def work() -> LimitState | None:
        gone = asyncio.ensure_future(limits.admit(caller, model="m", tokens=1))
        await asyncio.sleep(0.03)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        return await admitted(limits, caller)

    state = asyncio.run(work())
    assert state is not None
    limits.release(state)
    limits.close()


def test_a_full_place_takes_nothing_of_the_minute() -> None:
    store = Slow(0.0)
    limits = SharedLimits(SystemClock(), store, store)
    caller = me(max_concurrent=1, requests_per_minute=2)
    first = limits.take(caller, model="m", tokens=1)
    for _ in range(5):
        with pytest.raises(RateLimited, match="running"):
            limits.take(caller, model="m", tokens=1)
    limits.release(first)
    assert limits.take(caller, model="m", tokens=1)
    limits.close()


def test_while_the_store_is_away_each_process_counts_for_itself_and_no_loop_waits() -> None:
    store = Slow()
    store.away = True
    limits = SharedLimits(SystemClock(), store, store)
    caller = me(requests_per_minute=3, max_concurrent=2)

    async def work() -> list[LimitState | None]:
        store.loop = asyncio.get_running_loop()
        found = await asyncio.gather(*(admitted(limits, caller) for _ in range(6)))
        store.loop = None
        return list(found)

    found = [state for state in asyncio.run(work()) if state]
    assert store.stuck == 0
    assert len(found) == 2, "as many as may run at once"
    for state in found:
        limits.release(state)
    assert limits.take(caller, model="m", tokens=1), "what found no place counts nowhere"
    with pytest.raises(RateLimited, match="used up"):
        limits.take(caller, model="m", tokens=1)
    limits.close()
