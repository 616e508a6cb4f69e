"""Knows, without asking the database, that nobody has written to it since it was last asked."""

from __future__ import annotations

import time
from collections.abc import Callable

#: A file's time is as coarse as the kernel's clock: only one this old cannot belong to a later write as well.
_SURE_NANOSECONDS = 1_000_000_000


class Unchanged:
    """``of(ask)`` gives what ``ask`` gave last, where SQLite's journal says that nothing was written since; else it
    asks. On a database without such a file it always asks. For values that only rows decide, not time."""

    def __init__(self, stamp: Callable[[], tuple[int, int] | None]) -> None:
        self._stamp = stamp
        self._seen: tuple[int, int] | None = None
        self._value = 0

    def of(self, ask: Callable[[], int]) -> int:
        """The value as of now."""
        stamp = self._stamp()
        if stamp is not None and stamp == self._seen:
            return self._value
        value = ask()
        old = stamp is not None and stamp[0] > 0 and time.time_ns() - stamp[0] > _SURE_NANOSECONDS
        self._seen, self._value = stamp if old else None, value
        return value
