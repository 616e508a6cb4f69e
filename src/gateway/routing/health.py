"""Whether a deployment is worth trying: a breaker that opens after failures in a row, one probe at a time."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from gateway.clock import Clock

#: Failures in a row that open the breaker, and how long it stays open, in seconds.
FAILURES = 5
OPEN_SECONDS = 10.0


@dataclass(slots=True)
class _State:
    failures: int = 0
    open_until: float = 0.0


class Health:
    """Of every deployment this process has called; thread safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._states: dict[str, _State] = {}
        self._lock = threading.Lock()

    def is_healthy(self, name: str) -> bool:
        """False while its breaker is open; once the pause is over, the next call is the probe."""
        with self._lock:
            state = self._states.get(name)
            return state is None or state.failures < FAILURES or self._clock.monotonic() >= state.open_until

    def succeeded(self, name: str) -> None:
        """It answered (an answer that refuses the request is an answer)."""
        with self._lock:
            self._states.pop(name, None)

    def failed(self, name: str) -> None:
        """It did not."""
        with self._lock:
            state = self._states.setdefault(name, _State())
            state.failures += 1
            if state.failures >= FAILURES:
                state.open_until = self._clock.monotonic() + OPEN_SECONDS

    def failures(self) -> dict[str, int]:
        """Failures in a row by name, for those that have any."""
        with self._lock:
            return {name: state.failures for name, state in self._states.items()}
