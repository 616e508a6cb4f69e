"""Requests and tokens a minute over all processes: each takes small grants from a store that they share.

A call within a grant asks nobody. A grant has to be used within ``LAPSE_SECONDS`` and counts against its
limit until a minute after that, so that in any sixty seconds nobody gets more than their limit, whichever
processes answer. What was not used is given back. While the store is away each process counts for itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from gateway.clock import Clock
from gateway.errors import RateLimited, Unavailable
from gateway.ids import new_id
from gateway.models.bound import Bound
from gateway.security.access import Caller
from gateway.security.limits import (
    UNLIMITED,
    WINDOW_SECONDS,
    Left,
    Limits,
    LimitState,
    Taken,
    binding,
    refusal,
    tightest,
)
from gateway.security.places import PlaceStore, SharedPlaces

_log = logging.getLogger(__name__)
LAPSE_SECONDS = 1.0
#: A grant is at most this part of a limit; the store keeps it within what is left for each process.
_LARGEST_PART = 16
#: How long a refusal stands before the store is asked again, and for how long a store is left alone that
#: did not answer.
_REFUSED_SECONDS, _AWAY_SECONDS = 0.2, 2.0
_TICK_SECONDS = 0.5


class Back(Struct, frozen=True):
    """What of the grant ``grant_id`` is not used; tokens below 0 were used beyond it."""

    grant_id: str
    requests: int
    tokens: int


class Ask(Struct, frozen=True):
    """A grant of at most ``want_*`` and of the process's share of what is left, and of no less than one request
    and ``tokens``, under the limits ``most_*`` (``None``: there is none). ``grant_id`` is the process's name,
    a colon, and what tells its grants apart."""

    grant_id: str
    most_requests: int | None
    most_tokens: int | None
    want_requests: int
    want_tokens: int
    tokens: int


class Granted(Struct, frozen=True):
    """What is granted; nothing where ``wait`` says in how many seconds it would be. ``used_*`` is what all
    processes hold of the minute, this grant included."""

    requests: int
    tokens: int
    used_requests: int
    used_tokens: int
    wait: float | None = None


class GrantStore(Protocol):
    """What the processes share. ``Unavailable`` where it does not answer at once."""

    def exchange(self, key: str, back: Sequence[Back], ask: Ask | None) -> Granted | None:
        """Gives back, then asks, at once; ``None`` where nothing is asked."""
        ...


@dataclass(slots=True)
class _Hold:
    """A bound's grant in this process."""

    grant_id: str = ""
    until: float = 0.0
    requests: int = 0
    tokens: int = 0
    #: What the last grant was to have, since when the running second is counted, and what it used so far.
    size: int = 1
    token_size: int = 0
    began: float = 0.0
    spent: int = 0
    spent_tokens: int = 0
    used_requests: int = 0
    used_tokens: int = 0
    #: No requests before then, as the store said.
    refused: Granted | None = None
    refused_until: float = 0.0

    def resize(self, bound: Bound, tokens: int, now: float) -> None:
        """What the next grant is to have: at the beginning of a second what the last second used, within it twice
        as much as the grant that is used up."""
        elapsed = now - self.began
        if elapsed >= LAPSE_SECONDS:
            part = LAPSE_SECONDS / elapsed
            self.size, self.token_size = int(self.spent * part), int(self.spent_tokens * part)
            self.began, self.spent, self.spent_tokens = now, 0, 0
        elif self.grant_id:
            self.size, self.token_size = self.size * 2, self.token_size * 2
        self.size = max(min(self.size, (bound.requests or 0) // _LARGEST_PART), 1)
        self.token_size = max(min(self.token_size, (bound.tokens or 0) // _LARGEST_PART), tokens)

    def granted(self, bound: Bound, ask: Ask, granted: Granted, now: float) -> None:
        """What the store gave at ``now``, or refused."""
        self.used_requests, self.used_tokens = granted.used_requests, granted.used_tokens
        if granted.wait is not None:
            self.grant_id, self.refused = "", granted
            by_requests = bound.requests is not None and granted.used_requests >= bound.requests
            self.refused_until = now + min(granted.wait, _REFUSED_SECONDS) if by_requests else 0.0
            return
        self.refused = None
        self.grant_id, self.until = ask.grant_id, now + LAPSE_SECONDS
        self.requests, self.tokens = granted.requests, granted.tokens

    def left(self, bound: Bound, now: float) -> Left:
        """What is left of the minute, over all processes as the store knew it."""
        reset = round(max(self.until + WINDOW_SECONDS - now, 0.0), 3)
        requests, tokens = bound.requests, bound.tokens
        return (
            None if requests is None else (max(requests - self.used_requests + self.requests, 0), requests, reset),
            None if tokens is None else (max(tokens - self.used_tokens + self.tokens, 0), tokens, reset),
        )


class SharedLimits(Limits):
    """See ``limits.Limits``. ``take`` waits for the store where a grant is used up: a round trip on the local network.
    ``admit`` has a thread wait for it. One thread at a time asks (``_asking``); who finds room in a grant does not
    wait for those."""

    def __init__(self, clock: Clock, store: GrantStore, places: PlaceStore | None = None) -> None:
        self._process, self._grants = new_id("limits"), itertools.count(1)
        super().__init__(clock, None if places is None else SharedPlaces(clock, places, self._process))
        self._store = store
        self._holds: dict[str, _Hold] = {}
        self._back: dict[str, list[Back]] = {}
        self._sharing = threading.RLock()
        self._asking = threading.Lock()
        self._away_until = 0.0
        self._ticker: threading.Thread | None = None
        self._closed = threading.Event()
        self._waiter = ThreadPoolExecutor(1, "limits")

    def at_once(self, bounds: Sequence[Bound], places: Sequence[Bound], model: str, tokens: int) -> LimitState | None:
        if not bounds and not places:
            return UNLIMITED
        return None if places else self._at_once(bounds, model, max(tokens, 0), [])

    async def admit(self, caller: Caller, *, model: str, tokens: int, of_model: Bound | None = None) -> LimitState:
        bounds, places = binding(caller, of_model)
        tokens = max(tokens, 0)
        state = self.at_once(bounds, places, model, tokens)
        if state is not None:
            return state
        if self._closed.is_set():
            return self._take(bounds, places, model, tokens)
        work = self._waiter.submit(self._take, bounds, places, model, tokens)
        try:
            return await asyncio.wrap_future(work)
        except asyncio.CancelledError:
            work.add_done_callback(self._unwanted)
            raise

    def release(self, state: LimitState) -> None:
        """As ``Limits.release``; from an event loop nobody waits for the store."""
        if not state.places:
            return
        names = tuple(state.places)
        state.places.clear()
        self._places.go(names)
        if _in_event_loop() and not self._closed.is_set():
            self._waiter.submit(self._places.tell)
        else:
            self._places.tell()

    def settle(self, state: LimitState, actual_tokens: int) -> None:
        if not state.taken or not state.taken[0].grant:
            super().settle(state, actual_tokens)
            return
        actual = max(actual_tokens, 0)
        with self._sharing:
            for taken in state.taken:
                left = int(taken.entry[1]) - actual
                taken.entry[1] = actual
                if left:
                    self._untake(taken.name, taken.grant, 0, left)

    def _take(self, bounds: Sequence[Bound], places: Sequence[Bound], model: str, tokens: int) -> LimitState:
        """Sees to it that every bound has room before anything is taken of one."""
        grants: list[str] = []
        with self._asking:
            while (state := self._at_once(bounds, model, tokens, grants)) is None:
                self._ask(bounds, model, tokens)
        if not places:
            return state
        try:
            return replace(state, places=self._enter(places, model))
        except BaseException:
            if grants:
                with self._sharing:
                    for bound, grant in zip(bounds, grants, strict=True):
                        self._untake(bound.name, grant, 1, tokens)
            else:
                self._forget(state)
            raise

    def _at_once(self, bounds: Sequence[Bound], model: str, tokens: int, grants: list[str]) -> LimitState | None:
        """One call out of the ``grants`` at hand, which are told; ``None`` where one of them has no room. While the
        store is away, one as this process counts by itself."""
        with self._sharing:
            now = self._clock.monotonic()
            if self._ticker is None and not self._closed.is_set():
                self._ticker = threading.Thread(target=self._tick, name="limits", daemon=True)
                self._ticker.start()
            if now < self._away_until:
                return super()._take(bounds, (), model, tokens)
            holds = []
            for bound in bounds:
                hold = self._covering(bound, tokens, now, model)
                if hold is None:
                    return None
                holds.append(hold)
            taken, lefts = [], []
            for bound, hold in zip(bounds, holds, strict=True):
                hold.requests -= 1
                hold.tokens -= tokens
                hold.spent += 1
                hold.spent_tokens += tokens
                grants.append(hold.grant_id)
                if bound.tokens is not None:  # of the others nothing is to be settled
                    taken.append(Taken(bound.name, [now, tokens], hold.grant_id))
                lefts.append(hold.left(bound, now))
            return tightest(lefts, taken, None)

    def _covering(self, bound: Bound, tokens: int, now: float, model: str) -> _Hold | None:
        """The bound's grant, where it has room for one more call."""
        hold = self._holds.get(bound.name)
        if hold is None:
            hold = self._holds[bound.name] = _Hold(began=now)
        if bound.tokens is not None and tokens > bound.tokens:
            raise refusal(bound, "tokens", hold.used_tokens, tokens, model, None)
        if (
            now < hold.until
            and hold.grant_id
            and (bound.requests is None or hold.requests >= 1)
            and (bound.tokens is None or hold.tokens >= tokens)
        ):
            return hold
        if hold.refused is not None and now < hold.refused_until:
            raise _refused(hold.refused, bound, tokens, model)
        return None

    def _ask(self, bounds: Sequence[Bound], model: str, tokens: int) -> None:
        """A new grant for the first bound that lacks one, or its refusal. Nobody else waits meanwhile but to ask."""
        with self._sharing:
            now = self._clock.monotonic()
            lacking = [bound for bound in bounds if self._covering(bound, tokens, now, model) is None]
            if not lacking:
                return
            bound = lacking[0]
            hold = self._holds[bound.name]
            hold.resize(bound, tokens, now)
            self._note(bound.name, hold)
            ask = Ask(
                f"{self._process}:{next(self._grants)}",
                bound.requests,
                bound.tokens,
                want_requests=0 if bound.requests is None else hold.size,
                want_tokens=0 if bound.tokens is None else hold.token_size,
                tokens=0 if bound.tokens is None else tokens,
            )
            back = self._back.pop(bound.name, [])
        try:
            granted = self._store.exchange(bound.name, back, ask)
            if granted is None:
                raise Unavailable("the store of limits answered nothing")
        except Unavailable as error:
            self._away_until = self._clock.monotonic() + _AWAY_SECONDS
            _log.warning("rate limits are counted by each process for itself: %s", error.message)
            return
        with self._sharing:
            self._holds[bound.name] = hold  # it may have been forgotten meanwhile
            hold.granted(bound, ask, granted, now)
            if hold.refused is not None:
                raise _refused(hold.refused, bound, tokens, model)

    def _untake(self, name: str, grant: str, requests: int, tokens: int) -> None:
        """What was taken of a grant and is not used; the lock is held."""
        hold = self._holds.get(name)
        if hold is not None and hold.grant_id == grant and self._clock.monotonic() < hold.until:
            hold.requests += requests
            hold.tokens += tokens
        elif requests or tokens:
            self._back.setdefault(name, []).append(Back(grant, requests, tokens))

    def _unwanted(self, work: Future[LimitState]) -> None:
        """What a caller got who is no longer there."""
        if not work.cancelled() and work.exception() is None:
            self.release(work.result())
            self.settle(work.result(), 0)

    def give_back(self, *, everything: bool = False) -> None:
        """What has lapsed unused (or ``everything``), and what calls did not use of their tokens. ``Unavailable``
        as the store says; then the store forgets it by itself after a minute."""
        with self._sharing:
            now = self._clock.monotonic()
            for name, hold in list(self._holds.items()):
                if everything or now >= hold.until:
                    self._note(name, hold)
                # What it used is remembered for the beginning of its next second.
                if everything or now >= max(hold.until + LAPSE_SECONDS, hold.refused_until):
                    del self._holds[name]
            back, self._back = self._back, {}
        for name, items in back.items():
            self._store.exchange(name, items, None)

    def close(self) -> None:
        self._closed.set()
        with self._sharing:
            ticker, self._ticker = self._ticker, None
        if ticker is not None:
            ticker.join()
            self._waiter.shutdown()
            self._places.close()
            with contextlib.suppress(Unavailable):  # it forgets by itself; see ``give_back``
                self.give_back(everything=True)

    def _note(self, name: str, hold: _Hold) -> None:
        """What is left of the grant is to be given back."""
        if hold.grant_id and (hold.requests > 0 or hold.tokens > 0):
            back = Back(hold.grant_id, max(hold.requests, 0), max(hold.tokens, 0))
            self._back.setdefault(name, []).append(back)
        hold.grant_id, hold.requests, hold.tokens = "", 0, 0

    def _tick(self) -> None:
        while not self._closed.wait(_TICK_SECONDS):
            self._places.renew()
            with contextlib.suppress(Unavailable):  # told where a call asks; see ``give_back``
                self.give_back()


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _refused(granted: Granted, bound: Bound, tokens: int, model: str) -> RateLimited:
    if bound.requests is not None and granted.used_requests >= bound.requests:
        return refusal(bound, "requests", granted.used_requests, 1, model, granted.wait)
    return refusal(bound, "tokens", granted.used_tokens, tokens, model, granted.wait)
