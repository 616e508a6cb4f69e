"""Calls at once: each holds a place of every limit on them while it runs, and gives it back when it ends.

Where processes share their limits they say in the store how many calls they have running. What a process said
holds for ``LEASE_SECONDS`` and is said anew while they run, so that a killed process's places are free after that.
A call is let in only where all that is said, and it, fit: never more than the limit, over all processes.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from gateway.clock import Clock
from gateway.errors import RateLimited, Unavailable
from gateway.models.bound import Bound

_log = logging.getLogger(__name__)
LEASE_SECONDS = 10.0
_RENEW_SECONDS = LEASE_SECONDS / 4
#: How long a store is left alone that did not answer.
_AWAY_SECONDS = 2.0
#: What a refused caller is told to wait: nobody knows when a call ends.
_WAIT_SECONDS = 1.0


class Wanted(Struct, frozen=True):
    """One more place under that name, of which there are ``most`` and this process has ``running``."""

    name: str
    most: int
    running: int


class PlaceStore(Protocol):
    """What the processes share. ``Unavailable`` where it does not answer at once."""

    def enter(self, holder: str, wanted: Sequence[Wanted]) -> tuple[int, int] | None:
        """Takes all, or none and says which of them (from 0) is full, and how many places of it are taken."""
        ...

    def say(self, holder: str, running: Mapping[str, int]) -> None:
        """How many places the process has, by name; for another ``LEASE_SECONDS``."""
        ...


class Places:
    """Counts the calls of this process; safe from any thread."""

    def __init__(self) -> None:
        self._running: dict[str, int] = {}
        self._lock = threading.RLock()

    def enter(self, bounds: Sequence[Bound], model: str) -> None:
        """Takes a place of each, or raises ``RateLimited`` and takes none."""
        with self._lock:
            self._admit(bounds, model)
            self._count(bounds)

    def leave(self, names: Sequence[str]) -> None:
        """Gives a place of each back."""
        with self._lock:
            for name in names:
                left = self._running[name] - 1
                if left:
                    self._running[name] = left
                else:
                    del self._running[name]

    def renew(self) -> None:
        """Says anew what runs, where that is said; now and then."""

    def close(self) -> None:
        """Nothing runs here any more."""

    def go(self, names: Sequence[str]) -> None:
        """``leave``, of which nobody else has to be told at once."""
        self.leave(names)

    def tell(self) -> None:
        """Tells those others."""

    def _count(self, bounds: Sequence[Bound]) -> None:
        for bound in bounds:
            self._running[bound.name] = self._running.get(bound.name, 0) + 1

    def _admit(self, bounds: Sequence[Bound], model: str) -> None:
        for bound in bounds:
            running = self._running.get(bound.name, 0)
            if running >= (bound.concurrent or 0):
                raise full(bound, running, model)


class SharedPlaces(Places):
    """Counts the calls of all processes. While the store is away, each counts for itself.

    One thread at a time talks to the store (``_talking``), so that what is said last is what is true; nobody waits
    for it who only counts.
    """

    def __init__(self, clock: Clock, store: PlaceStore, holder: str) -> None:
        """``holder`` names this process."""
        super().__init__()
        self._clock = clock
        self._store = store
        self._holder = holder
        self._talking = threading.Lock()
        #: Until when the store is left alone; 0 while it answers.
        self._away_until = 0.0
        #: Names of which the store does not know what runs here.
        self._unsaid: set[str] = set()
        self._said_at = 0.0

    def enter(self, bounds: Sequence[Bound], model: str) -> None:
        with self._talking:
            with self._lock:
                self._admit(bounds, model)
                wanted = [
                    Wanted(bound.name, bound.concurrent or 0, self._running.get(bound.name, 0)) for bound in bounds
                ]
            refused = self._ask(wanted)
            if refused is not None:
                number, taken = refused
                raise full(bounds[number], taken, model)
            with self._lock:  # nobody else enters meanwhile
                self._count(bounds)

    def leave(self, names: Sequence[str]) -> None:
        self.go(names)
        self.tell()

    def go(self, names: Sequence[str]) -> None:
        """``leave`` without waiting for the store: it is to be told (``tell``) from another thread."""
        with self._lock:
            super().leave(names)
            self._unsaid.update(names)

    def tell(self) -> None:
        """Says what the store does not know, if it is there."""
        with self._talking:
            if self._clock.monotonic() >= self._away_until:
                self._say()

    def renew(self) -> None:
        with self._lock:
            now = self._clock.monotonic()
            if now >= self._away_until and now - self._said_at >= _RENEW_SECONDS:
                self._said_at = now
                self._unsaid.update(self._running)
        self.tell()

    def close(self) -> None:
        with self._lock:
            self._unsaid.update(self._running)
            self._running.clear()
        with self._talking:
            self._say()

    def _ask(self, wanted: Sequence[Wanted]) -> tuple[int, int] | None:
        """What the store says to one more place of each; nothing while it is away."""
        names = [one.name for one in wanted]
        if self._clock.monotonic() >= self._away_until:
            try:
                refused = self._store.enter(self._holder, wanted)
            except Unavailable as error:  # it may have taken them all the same
                self._lost(error)
            else:
                self._away_until = 0.0
                return refused
        with self._lock:
            self._unsaid.update(names)
        return None

    def _say(self) -> None:
        with self._lock:
            running = {name: self._running.get(name, 0) for name in self._unsaid}
            self._unsaid.clear()
        if not running:
            return
        try:
            self._store.say(self._holder, running)
        except Unavailable as error:  # said by ``renew`` as soon as it is back
            with self._lock:
                self._unsaid.update(running)
            self._lost(error)
            return
        self._away_until = 0.0

    def _lost(self, error: Unavailable) -> None:
        told, self._away_until = bool(self._away_until), self._clock.monotonic() + _AWAY_SECONDS
        if not told:
            _log.warning("calls at once are counted by each process for itself: %s", error.message)


def full(bound: Bound, taken: int, model: str) -> RateLimited:
    """The refusal of a call for which there is no place."""
    scope, _, subject = bound.name.partition(":")
    whose = "this key" if scope == "key" else f"the {scope} {subject!r}"
    return RateLimited(
        f"{bound.concurrent} calls of {whose} are running, and no more may at once",
        mend="wait for one of them to end",
        retry_after=_WAIT_SECONDS,
        scope=scope,
        subject=subject,
        window="concurrent",
        limit=bound.concurrent,
        used=taken,
        requested=1,
        model=model,
    )
