"""Keys that were looked up a moment ago, by the SHA-256 of the whole key; only ever in memory.

One look-up shortly before the others would all have to: where many calls come with one key, one of them
asks the database anew while the rest go on with what is remembered. Where the database does not answer, what it
said last holds for some minutes: a key that is in force is not refused for it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol, TypeVar

from gateway.clock import Clock
from gateway.errors import Unavailable
from gateway.security.access import Caller

_MOST = 10_000
#: The last part of a look-up's life, in which one caller renews it.
_RENEWAL = 1 / 3
#: So long after the database last said that a key is in force it is taken for so while the database is silent …
SILENCE_SECONDS = 300.0
#: … which is asked again so often.
_AGAIN_SECONDS = 1.0


class Key(Protocol):
    """A key's record."""

    @property
    def expires_at(self) -> int | None:
        """When it ends (microseconds), if it does."""
        ...

    def usable(self, now: int) -> bool: ...


Record = TypeVar("Record", bound=Key)


class KeyMemory:
    """Safe from any thread. A look-up is remembered for ``seconds``; ``caller_of`` makes its caller, once."""

    def __init__(self, clock: Clock, seconds: float, caller_of: Callable[[Record], Caller]) -> None:
        self._clock = clock
        self._seconds = seconds
        self._caller_of: Callable[..., Caller] = caller_of
        self._kept: OrderedDict[str, tuple[float, Key | None, Caller | None]] = OrderedDict()
        #: When the database last told of a key (monotonic).
        self._told: dict[str, float] = {}
        self._renewing: set[str] = set()
        self._lock = threading.Lock()

    def find(self, name: str) -> tuple[bool, Caller | None]:
        """Whether the name is remembered at all, and its caller where it is in force. Never blocks."""
        found = self._kept.get(name)
        if found is None:
            return False, None
        until, record, caller = found
        left = until - self._clock.monotonic()
        if caller is None or record is None or left <= 0:
            return True, None
        if record.expires_at is not None and not record.usable(self._clock.now()):
            return True, None
        if left < self._seconds * _RENEWAL and name not in self._renewing:
            self._renewing.add(name)
            return True, None
        return True, caller

    def look_up(
        self, name: str, ask: Callable[[str], Record | None], after: Callable[[], object]
    ) -> tuple[float, Record | None]:
        """The record, and until when (monotonic) it is remembered; ``ask``, then ``after``, where it is not.
        ``Unavailable`` where the database is silent, and has not told of a key in force for too long."""
        now = self._clock.monotonic()
        with self._lock:
            found = self._kept.get(name)
            if found is not None and now < found[0] and name not in self._renewing:
                return found[0], found[1]  # type: ignore[return-value]  # what ``ask`` gave for this name
        try:
            record = ask(name)
            after()
        except Unavailable as error:
            return self._as_told(name, error)
        finally:
            self._renewing.discard(name)
        until = now + self._seconds
        with self._lock:
            self._told[name] = now
            in_force = record is not None and record.usable(self._clock.now())
            self._kept[name] = (until, record, self._caller_of(record) if in_force else None)
            self._kept.move_to_end(name)
            while len(self._kept) > _MOST:
                del self._told[self._kept.popitem(last=False)[0]]
        return until, record

    def _as_told(self, name: str, silence: Unavailable) -> tuple[float, Record | None]:
        """What the database said last, for a moment more."""
        now = self._clock.monotonic()
        with self._lock:
            found = self._kept.get(name)
            if found is None or found[1] is None or now - self._told[name] >= SILENCE_SECONDS:
                raise silence
            _, record, caller = found
            until = now + _AGAIN_SECONDS
            self._kept[name] = (until, record, caller)
        return until, record  # type: ignore[return-value]  # what ``ask`` gave for this name

    def clear(self) -> None:
        """Every key is looked up anew."""
        with self._lock:
            self._kept.clear()
            self._told.clear()
