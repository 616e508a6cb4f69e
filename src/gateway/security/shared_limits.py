"""Requests and tokens a minute over all processes: each takes small grants from a store that they share.

A call within a grant asks nobody. A grant has to be used within ``LAPSE_SECONDS`` and counts against its
limit until a minute after that, so that in any sixty seconds no key gets more than its limit, whichever
processes answer it. What was not used is given back. While the store is away each process counts for itself.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from msgspec import Struct

from gateway.clock import Clock
from gateway.errors import RateLimited, Unavailable
from gateway.ids import new_id
from gateway.security.access import Caller
from gateway.security.limits import WINDOW_SECONDS, Limits, LimitState, name_of, refusal

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


class _Most(Struct, frozen=True):
    """A key's limits."""

    requests: int | None
    tokens: int | None


@dataclass(slots=True)
class _Hold:
    """A key's grant in this process."""

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

    def covers(self, most: _Most, tokens: int, now: float) -> bool:
        """Whether it has room for one more call."""
        return (
            now < self.until
            and bool(self.grant_id)
            and (most.requests is None or self.requests >= 1)
            and (most.tokens is None or self.tokens >= tokens)
        )

    def resize(self, most: _Most, tokens: int, now: float) -> None:
        """What the next grant is to have: at the beginning of a second what the last second used, within it twice
        as much as the grant that is used up."""
        elapsed = now - self.began
        if elapsed >= LAPSE_SECONDS:
            part = LAPSE_SECONDS / elapsed
            self.size, self.token_size = int(self.spent * part), int(self.spent_tokens * part)
            self.began, self.spent, self.spent_tokens = now, 0, 0
        elif self.grant_id:
            self.size, self.token_size = self.size * 2, self.token_size * 2
        self.size = max(min(self.size, (most.requests or 0) // _LARGEST_PART), 1)
        self.token_size = max(min(self.token_size, (most.tokens or 0) // _LARGEST_PART), tokens)

    def spend(self, tokens: int) -> None:
        """One call."""
        self.requests -= 1
        self.tokens -= tokens
        self.spent += 1
        self.spent_tokens += tokens

    def state(self, most: _Most, now: float, taken: list[float | int] | None) -> LimitState:
        """What the key has left of its minute, over all processes as the store knew it."""
        reset = round(max(self.until + WINDOW_SECONDS - now, 0.0), 3)
        requests, tokens = most.requests, most.tokens
        return LimitState(
            limit_requests=requests,
            remaining_requests=None if requests is None else max(requests - self.used_requests + self.requests, 0),
            reset_requests=None if requests is None else reset,
            limit_tokens=tokens,
            remaining_tokens=None if tokens is None else max(tokens - self.used_tokens + self.tokens, 0),
            reset_tokens=None if tokens is None else reset,
            taken=taken,
            grant=self.grant_id,
        )


class SharedLimits(Limits):
    """See ``limits.Limits``. Waits for the store where a grant is used up: a round trip on the local network."""

    def __init__(self, clock: Clock, store: GrantStore) -> None:
        super().__init__(clock)
        self._store = store
        self._holds: dict[str, _Hold] = {}
        self._back: dict[str, list[Back]] = {}
        self._sharing = threading.RLock()
        self._away_until = 0.0
        self._ticker: threading.Thread | None = None
        self._closed = threading.Event()
        self._process, self._grants = new_id("limits"), itertools.count(1)

    def take(self, caller: Caller, *, model: str, tokens: int) -> LimitState:
        most = _Most(caller.requests_per_minute, caller.tokens_per_minute)
        if most.requests is None and most.tokens is None:
            return LimitState()
        tokens, name = max(tokens, 0), name_of(caller)
        with self._sharing:
            now = self._clock.monotonic()
            if now < self._away_until:
                return super().take(caller, model=model, tokens=tokens)
            hold = self._holds.get(name)
            if hold is None:
                hold = self._holds[name] = _Hold(began=now)
            if most.tokens is not None and tokens > most.tokens:
                raise refusal("tokens", most.tokens, hold.used_tokens, tokens, model, None)
            if not hold.covers(most, tokens, now):
                if hold.refused is None or now >= hold.refused_until:
                    try:
                        self._more(name, hold, most, tokens, now)
                    except Unavailable as error:
                        self._away_until = now + _AWAY_SECONDS
                        _log.warning("rate limits are counted by each process for itself: %s", error.message)
                        return super().take(caller, model=model, tokens=tokens)
                if hold.refused is not None:
                    raise _refused(hold.refused, most, tokens, model)
            hold.spend(tokens)
            return hold.state(most, now, [now, tokens])

    def settle(self, caller: Caller, state: LimitState, actual_tokens: int) -> None:
        if not state.grant or state.taken is None:
            super().settle(caller, state, actual_tokens)
            return
        if caller.tokens_per_minute is None:
            return
        with self._sharing:
            left = int(state.taken[1]) - max(actual_tokens, 0)
            state.taken[1] = max(actual_tokens, 0)
            hold = self._holds.get(name_of(caller))
            if hold is not None and hold.grant_id == state.grant and self._clock.monotonic() < hold.until:
                hold.tokens += left
            elif left:
                self._back.setdefault(name_of(caller), []).append(Back(state.grant, 0, left))

    def state(self, caller: Caller) -> LimitState:
        most = _Most(caller.requests_per_minute, caller.tokens_per_minute)
        hold = self._holds.get(name_of(caller))
        return super().state(caller) if hold is None else hold.state(most, self._clock.monotonic(), None)

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
            with contextlib.suppress(Unavailable):  # it forgets by itself; see ``give_back``
                self.give_back(everything=True)

    def _more(self, name: str, hold: _Hold, most: _Most, tokens: int, now: float) -> None:
        """A new grant in the place of the one that is used up, or the refusal of one."""
        if self._ticker is None and not self._closed.is_set():
            self._ticker = threading.Thread(target=self._tick, name="limits", daemon=True)
            self._ticker.start()
        hold.resize(most, tokens, now)
        self._note(name, hold)
        ask = Ask(
            f"{self._process}:{next(self._grants)}",
            most.requests,
            most.tokens,
            want_requests=0 if most.requests is None else hold.size,
            want_tokens=0 if most.tokens is None else hold.token_size,
            tokens=0 if most.tokens is None else tokens,
        )
        granted = self._store.exchange(name, self._back.pop(name, []), ask)
        if granted is None:
            raise Unavailable("the store of limits answered nothing")
        hold.used_requests, hold.used_tokens = granted.used_requests, granted.used_tokens
        if granted.wait is not None:
            hold.grant_id, hold.refused = "", granted
            by_requests = most.requests is not None and granted.used_requests >= most.requests
            hold.refused_until = now + min(granted.wait, _REFUSED_SECONDS) if by_requests else 0.0
            return
        hold.refused = None
        hold.grant_id, hold.until = ask.grant_id, now + LAPSE_SECONDS
        hold.requests, hold.tokens = granted.requests, granted.tokens

    def _note(self, name: str, hold: _Hold) -> None:
        """What is left of the grant is to be given back."""
        if hold.grant_id and (hold.requests > 0 or hold.tokens > 0):
            back = Back(hold.grant_id, max(hold.requests, 0), max(hold.tokens, 0))
            self._back.setdefault(name, []).append(back)
        hold.grant_id, hold.requests, hold.tokens = "", 0, 0

    def _tick(self) -> None:
        while not self._closed.wait(_TICK_SECONDS):
            with contextlib.suppress(Unavailable):  # told where a call asks; see ``give_back``
                self.give_back()


def _refused(granted: Granted, most: _Most, tokens: int, model: str) -> RateLimited:
    if most.requests is not None and granted.used_requests >= most.requests:
        return refusal("requests", most.requests, granted.used_requests, 1, model, granted.wait)
    return refusal("tokens", most.tokens or 0, granted.used_tokens, tokens, model, granted.wait)
