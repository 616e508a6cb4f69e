"""What this process knows of each deployment: whether it is worth trying, how busy and how quick it is.

A breaker opens after failures in a row. When its pause is over it is half open: one call at a time
is let through as the probe, and its outcome closes the breaker or opens it again.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from gateway.clock import Clock
from gateway.routing.learning import Outcomes

#: Failures in a row that open the breaker, and how long it stays open, in seconds.
FAILURES = 5
OPEN_SECONDS = 10.0
#: The share of the newest measurement in the moving average of latency.
_NEWEST = 0.2


@dataclass(slots=True)
class _State:
    failures: int = 0
    open_until: float = 0.0
    probing: bool = False
    busy: int = 0
    latency: float | None = None
    #: Counted since they were last taken: answered, failed, microseconds to the first token, and of how many.
    answered: int = 0
    failed: int = 0
    micros: int = 0
    measured: int = 0


class Health:
    """Of every deployment this process has called; thread safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._states: dict[str, _State] = {}
        self._lock = threading.Lock()

    def is_healthy(self, name: str) -> bool:
        """False while its breaker is open, or half open with a probe under way."""
        state = self._states.get(name)
        if state is None or state.failures < FAILURES:
            return True
        with self._lock:
            return self._clock.monotonic() >= state.open_until and not state.probing

    def busy(self, name: str) -> int:
        """Calls under way."""
        with self._lock:
            state = self._states.get(name)
            return 0 if state is None else state.busy

    def latency(self, name: str) -> float | None:
        """Seconds to the first token (or the whole answer), a moving average; ``None``: never measured."""
        with self._lock:
            state = self._states.get(name)
            return None if state is None else state.latency

    def entered(self, name: str) -> None:
        """A call begins; the first after an open breaker's pause is its probe."""
        with self._lock:
            state = self._states.get(name) or self._state(name)
            state.busy += 1
            if state.failures >= FAILURES and self._clock.monotonic() >= state.open_until:
                state.probing = True

    def left(self, name: str, seconds: float | None = None) -> None:
        """A call has ended; ``seconds`` to its first token where it had one."""
        with self._lock:
            self._leave(self._state(name), seconds)

    def succeeded(self, name: str) -> None:
        """It answered (an answer that refuses the request is an answer)."""
        with self._lock:
            state = self._states.get(name)
            if state is not None:
                self._forgive(state)

    def answered(self, name: str, seconds: float) -> None:
        """A call has ended with its answer: ``left`` and ``succeeded`` in one."""
        with self._lock:
            state = self._states.get(name) or self._state(name)
            self._leave(state, seconds)
            state.failures, state.open_until = 0, 0.0  # as ``_forgive``: this is for every call
            state.answered += 1

    def failed(self, name: str) -> None:
        """It did not."""
        with self._lock:
            state = self._state(name)
            state.failures += 1
            state.failed += 1
            state.probing = False
            if state.failures >= FAILURES:
                state.open_until = self._clock.monotonic() + OPEN_SECONDS

    def failures(self) -> dict[str, int]:
        """Failures in a row by name, for those that have any."""
        with self._lock:
            return {name: state.failures for name, state in self._states.items() if state.failures}

    def taken(self) -> dict[str, Outcomes]:
        """The outcomes by name since this was last asked, for those that have any."""
        with self._lock:
            found = {}
            for name, state in self._states.items():
                if state.answered or state.failed or state.measured:
                    found[name] = Outcomes(state.answered, state.failed, state.micros, state.measured)
                    state.answered = state.failed = state.micros = state.measured = 0
            return found

    # -- parts, under the lock ---------------------------------------------------------------------

    def _state(self, name: str) -> _State:
        state = self._states.get(name)
        if state is None:
            state = self._states[name] = _State()
        return state

    @staticmethod
    def _leave(state: _State, seconds: float | None) -> None:
        state.busy = state.busy - 1 if state.busy else 0
        state.probing = False
        if seconds is not None:
            known = state.latency
            state.latency = seconds if known is None else known + _NEWEST * (seconds - known)
            state.micros += int(seconds * 1e6)
            state.measured += 1

    @staticmethod
    def _forgive(state: _State) -> None:
        state.failures, state.open_until, state.probing = 0, 0.0, False
        state.answered += 1
