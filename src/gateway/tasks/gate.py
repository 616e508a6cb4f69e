"""How many steps a process has in hand at once; of those that compute only a few, unless they are over in no time."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

#: Steps that compute for longer than a moment share the processor: more of them at once would only make each take
#: longer, while another worker may have nothing to do.
_COMPUTING = 8
T = TypeVar("T")


class Gate(Generic[T]):
    """First come, first served. Steps that compute begin with a few; with each that is over in no time one more may be
    in hand, as many as there may be of all; one that takes long makes it few again. Safe from any thread."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._few = min(_COMPUTING, at_once)
        self._window = self._few
        self._lock = threading.Lock()
        #: Who waits, each with its number in line, those that compute apart.
        self._waiting: tuple[deque[tuple[int, T]], deque[tuple[int, T]]] = (deque(), deque())
        self._number = 0
        self._in_hand = [0, 0]

    def enter(self, what: T, *, computes: bool) -> None:
        """It stands in line; ``admitted`` gives it once it may begin."""
        with self._lock:
            self._number += 1
            self._waiting[computes].append((self._number, what))

    def leave(self, *, computes: bool) -> None:
        """One that was admitted is over."""
        with self._lock:
            self._in_hand[computes] -= 1

    def noted(self, *, long: bool) -> None:
        """One that computes was over in no time, or takes long."""
        with self._lock:
            self._window = self._few if long else min(self._window + 1, self._at_once)

    def admitted(self) -> list[T]:
        """Those that may begin now."""
        admitted: list[T] = []
        with self._lock:
            while sum(self._in_hand) < self._at_once:
                kind = self._next()
                if kind is None:
                    break
                self._in_hand[kind] += 1
                admitted.append(self._waiting[kind].popleft()[1])
        return admitted

    def empty(self) -> None:
        """Nobody is in line any more."""
        with self._lock:
            for line in self._waiting:
                line.clear()

    def _next(self) -> int | None:
        """Of which kind the next is."""
        others, computing = self._waiting
        may_compute = bool(computing) and self._in_hand[1] < self._window
        if others and not (may_compute and computing[0][0] < others[0][0]):
            return 0
        return 1 if may_compute else None
