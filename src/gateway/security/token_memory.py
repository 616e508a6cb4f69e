"""Callers whose tokens were verified a moment ago, by the SHA-256 of the whole token; only ever in memory.

To verify a token costs a signature and maybe a look-up of the key that it was minted from. Neither is
done again for a few seconds: never beyond the token's ``exp``, nor beyond the moment at which its key
would be looked up anew, so that a revoked key stops as soon as without this.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from msgspec import Struct

from gateway.clock import Clock
from gateway.security.access import Caller

_MOST = 10_000


class _Verified(Struct, frozen=True):
    """``until`` by the monotonic clock, ``expires_at`` in microseconds UTC."""

    caller: Caller
    until: float
    expires_at: float


class TokenMemory:
    """Safe from any thread, and never blocks."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._verified: OrderedDict[str, _Verified] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, digest: str, caller: Caller, until: float, expires_at: float) -> None:
        """Remembers the caller until then (monotonic), and not past ``expires_at`` (UTC)."""
        with self._lock:
            self._verified[digest] = _Verified(caller, until, expires_at)
            self._verified.move_to_end(digest)
            while len(self._verified) > _MOST:
                self._verified.popitem(last=False)

    def find(self, digest: str) -> Caller | None:
        """The caller, while it may be remembered."""
        with self._lock:
            found = self._verified.get(digest)
        if found is None or self._clock.monotonic() >= found.until or self._clock.now() >= found.expires_at:
            return None
        return found.caller

    def clear(self) -> None:
        """Every token is verified anew."""
        with self._lock:
            self._verified.clear()
