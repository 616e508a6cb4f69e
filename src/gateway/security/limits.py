"""Requests and tokens a minute, exact: in any sixty seconds no key, user, team or model gets more than its limit.

A sliding log, not buckets: each take is remembered for a minute of the monotonic clock, so that
neither the edge of a window nor a jump of the wall clock lets more through. The log of a limit is as
long as its requests of the last minute. Counted for each process; ``shared_limits`` for all of them.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from msgspec import Struct

from gateway.clock import Clock
from gateway.errors import RateLimited
from gateway.models.bound import Bound
from gateway.security.access import Caller
from gateway.security.places import Places

WINDOW_SECONDS = 60.0
#: Idle names are forgotten once so many are remembered.
_MANY_NAMES = 10_000


class Taken(Struct):
    """What a call took of one bound's minute: when, and how many tokens; and the grant that it was taken from,
    where processes share their limits."""

    name: str
    entry: list[float | int]
    grant: str = ""


class LimitState(Struct, frozen=True):
    """What is left of the tightest of a call's limits, for the headers; ``None`` where there is no limit.

    ``reset_*`` is in seconds: when the whole limit is free again if nothing more comes. ``taken`` is for ``settle``,
    ``places`` names what ``release`` gives back.
    """

    limit_requests: int | None = None
    remaining_requests: int | None = None
    reset_requests: float | None = None
    limit_tokens: int | None = None
    remaining_tokens: int | None = None
    reset_tokens: float | None = None
    taken: Sequence[Taken] = ()
    places: list[str] | None = None


UNLIMITED = LimitState()
_NO_LIMIT = (None, None, None)
#: What is left of one bound: of its requests and of its tokens (remaining, limit, seconds until it is whole again).
Left = tuple[tuple[int, int, float] | None, tuple[int, int, float] | None]


@dataclass(slots=True)
class _Log:
    """One bound's last minute: [time, tokens] of each request, oldest first, and the tokens' sum."""

    takes: deque[list[float | int]] = field(default_factory=deque)
    tokens: int = 0

    def forget(self, before: float) -> None:
        takes = self.takes
        while takes and takes[0][0] <= before:
            self.tokens -= int(takes.popleft()[1])

    def check(self, bound: Bound, tokens: int, now: float, model: str) -> None:
        """``RateLimited`` where one more call with ``tokens`` is too much."""
        most, count = bound.requests, len(self.takes)
        if most is not None and count >= most:
            wait = float(self.takes[count - most][0]) + WINDOW_SECONDS - now if most else None
            raise refusal(bound, "requests", count, 1, model, wait)
        most = bound.tokens
        if most is not None and self.tokens + tokens > most:
            wait = self._until_free(self.tokens + tokens - most, now) if tokens <= most else None
            raise refusal(bound, "tokens", self.tokens, tokens, model, wait)

    def left(self, bound: Bound) -> Left:
        """What is left after a take: the newest of the minute is that one, so all is free when its minute is over."""
        requests, tokens = bound.requests, bound.tokens
        return (
            None if requests is None else (max(requests - len(self.takes), 0), requests, WINDOW_SECONDS),
            None if tokens is None else (max(tokens - self.tokens, 0), tokens, WINDOW_SECONDS),
        )

    def _until_free(self, needed: int, now: float) -> float:
        freed = 0
        for time, tokens in self.takes:
            freed += int(tokens)
            if freed >= needed:
                return float(time) + WINDOW_SECONDS - now
        return WINDOW_SECONDS


class Limits:
    """Takes from and gives back to the minutes and the places that bind a call; safe from any thread."""

    def __init__(self, clock: Clock, places: Places | None = None) -> None:
        self._clock = clock
        self._places = Places() if places is None else places
        self._logs: dict[str, _Log] = {}
        self._lock = threading.Lock()

    def take(self, caller: Caller, *, model: str, tokens: int, of_model: Bound | None = None) -> LimitState:
        """One request with ``tokens`` (its worst case) of every limit that binds it: the caller's, and the model's
        own. It holds places until ``release``.

        Raises ``RateLimited`` naming whose limit, the window (requests, tokens or calls at once) and when to come
        again; then nothing is taken of any. ``model`` is named in the refusal.
        """
        bounds, places = binding(caller, of_model)
        return self._take(bounds, places, model, max(tokens, 0)) if bounds or places else UNLIMITED

    def at_once(self, bounds: Sequence[Bound], places: Sequence[Bound], model: str, tokens: int) -> LimitState | None:
        """``admit`` for what ``binding`` gave, where nothing has to be waited for; ``None`` elsewhere: then ``admit``
        it."""
        return self._take(bounds, places, model, max(tokens, 0)) if bounds or places else UNLIMITED

    async def admit(self, caller: Caller, *, model: str, tokens: int, of_model: Bound | None = None) -> LimitState:
        """``take`` for an event loop: whatever has to be waited for is not waited for there."""
        return self.take(caller, model=model, tokens=tokens, of_model=of_model)

    @asynccontextmanager
    async def passing(
        self, caller: Caller, *, model: str, tokens: int, of_model: Bound | None
    ) -> AsyncIterator[LimitState]:
        """``admit``, and ``release`` at the end of the block."""
        state = await self.admit(caller, model=model, tokens=tokens, of_model=of_model)
        try:
            yield state
        finally:
            self.release(state)

    def release(self, state: LimitState) -> None:
        """The call has ended, in whatever way: what it holds is given back. A second time changes nothing."""
        if state.places:
            names = tuple(state.places)
            state.places.clear()
            self._places.leave(names)

    def settle(self, state: LimitState, actual_tokens: int) -> None:
        """Puts what was truly used in the place of what was taken (``state`` is what ``take`` gave), if its
        minute still runs."""
        if not state.taken:
            return
        actual = max(actual_tokens, 0)
        with self._lock:
            now = self._clock.monotonic()
            for taken in state.taken:
                log = self._logs.get(taken.name)
                if log is not None and taken.entry[0] > now - WINDOW_SECONDS:
                    log.tokens += actual - int(taken.entry[1])
                    taken.entry[1] = actual

    def close(self) -> None:
        """What this process holds is given back, and its thread ends; at the end of the process."""

    def _take(self, bounds: Sequence[Bound], places: Sequence[Bound], model: str, tokens: int) -> LimitState:
        with self._lock:
            now = self._clock.monotonic()
            bound_logs = [(bound, self._log(bound.name, now)) for bound in bounds]
            for bound, log in bound_logs:
                log.check(bound, tokens, now, model)
            held = self._enter(places, model) if places else None
            taken, lefts = [], []
            for bound, log in bound_logs:
                entry: list[float | int] = [now, tokens]
                log.takes.append(entry)
                log.tokens += tokens
                taken.append(Taken(bound.name, entry))
                lefts.append(log.left(bound))
            return tightest(lefts, taken, held)

    def _forget(self, state: LimitState) -> None:
        """Nothing of it was used: it does not count."""
        with self._lock:
            now = self._clock.monotonic()
            for taken in state.taken:
                log = self._log(taken.name, now)
                if taken.entry in log.takes:
                    log.takes.remove(taken.entry)
                    log.tokens -= int(taken.entry[1])

    def _enter(self, places: Sequence[Bound], model: str) -> list[str]:
        """Takes the call's places, the last thing that may refuse it."""
        self._places.enter(places, model)
        return [bound.name for bound in places]

    def _log(self, name: str, now: float) -> _Log:
        """That log with the last minute only; the lock is held."""
        log = self._logs.get(name)
        if log is None:
            if len(self._logs) >= _MANY_NAMES:
                self._forget_idle(now)
            log = self._logs[name] = _Log()
        takes = log.takes
        if takes and takes[0][0] <= now - WINDOW_SECONDS:
            log.forget(now - WINDOW_SECONDS)
        return log

    def _forget_idle(self, now: float) -> None:
        for name, log in list(self._logs.items()):
            log.forget(now - WINDOW_SECONDS)
            if not log.takes:
                del self._logs[name]


def binding(caller: Caller, of_model: Bound | None) -> tuple[Sequence[Bound], Sequence[Bound]]:
    """What bounds a call in a minute, and at once."""
    bounds, places = caller.bounds, caller.places
    if of_model is not None:
        bounds = (*bounds, of_model) if of_model.in_a_minute else bounds
        places = places if of_model.concurrent is None else (*places, of_model)
    return bounds, places


def tightest(lefts: Sequence[Left], taken: Sequence[Taken], places: list[str] | None) -> LimitState:
    """What a caller is told: of requests and of tokens the limit of which the least is left."""
    if len(lefts) == 1:
        requests, tokens = lefts[0][0] or _NO_LIMIT, lefts[0][1] or _NO_LIMIT
    else:
        requests = min([left[0] for left in lefts if left[0] is not None], default=_NO_LIMIT)
        tokens = min([left[1] for left in lefts if left[1] is not None], default=_NO_LIMIT)
    return LimitState(requests[1], requests[0], requests[2], tokens[1], tokens[0], tokens[2], taken, places)


def refusal(bound: Bound, window: str, used: int, asked: int, model: str, wait: float | None) -> RateLimited:
    """What a caller is told; ``wait`` in seconds, ``None`` where waiting does not help."""
    scope, _, subject = bound.name.partition(":")
    limit = (bound.requests if window == "requests" else bound.tokens) or 0
    whose = "the key's limit" if scope == "key" else f"the limit of the {scope} {subject!r}"
    if wait is None:
        message = f"this request asks for {asked} {window}, {whose} is {limit} a minute"
        mend = "ask for fewer tokens, or have the limit raised"
    else:
        message, mend = f"{whose} of {limit} {window} a minute is used up", f"come again in {wait:.1f} s"
    return RateLimited(
        message,
        mend=mend,
        retry_after=wait,
        scope=scope,
        subject=subject,
        window=f"{window}_per_minute",
        limit=limit,
        used=used,
        requested=asked,
        model=model,
    )
