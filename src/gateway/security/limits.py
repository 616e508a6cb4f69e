"""Requests and tokens a minute, exact: in any sixty seconds no key gets more than its limit.

A sliding log, not buckets: each take is remembered for a minute of the monotonic clock, so that
neither the edge of a window nor a jump of the wall clock lets more through. The log of a key is as
long as its requests of the last minute. Counted for each process; ``shared_limits`` for all of them.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from msgspec import Struct

from gateway.clock import Clock
from gateway.errors import RateLimited
from gateway.security.access import Caller

WINDOW_SECONDS = 60.0
#: Idle keys are forgotten once so many are remembered.
_MANY_KEYS = 10_000


class LimitState(Struct, frozen=True):
    """What a key has left, for the ``x-ratelimit-*`` headers; ``None`` where there is no limit.

    ``reset_*`` is in seconds: when the whole limit is free again if nothing more comes.
    """

    limit_requests: int | None = None
    remaining_requests: int | None = None
    reset_requests: float | None = None
    limit_tokens: int | None = None
    remaining_tokens: int | None = None
    reset_tokens: float | None = None
    #: Time and tokens of the take that this is the state after; for ``settle``.
    taken: list[float | int] | None = None
    #: The grant that it was taken from, where processes share their limits.
    grant: str = ""


@dataclass(slots=True)
class _Log:
    """One key's last minute: [time, tokens] of each request, oldest first, and the tokens' sum."""

    takes: deque[list[float | int]] = field(default_factory=deque)
    tokens: int = 0
    running: int = 0

    def forget(self, before: float) -> None:
        takes = self.takes
        while takes and takes[0][0] <= before:
            self.tokens -= int(takes.popleft()[1])


class Limits:
    """Takes from and gives back to each caller's minute; safe from any thread.

    The defaults bind callers whose key names no limit of its own; ``None`` means unlimited.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        default_requests_per_minute: int | None = None,
        default_tokens_per_minute: int | None = None,
        max_concurrent: int | None = None,
    ) -> None:
        self._clock = clock
        self._default_requests = default_requests_per_minute
        self._default_tokens = default_tokens_per_minute
        self._max_concurrent = max_concurrent
        self._logs: dict[str, _Log] = {}
        self._lock = threading.Lock()

    def take(self, caller: Caller, *, model: str, tokens: int) -> LimitState:
        """One request with ``tokens`` (its worst case) of the caller's minute.

        Raises ``RateLimited`` naming the window (requests or tokens) and when to come again; then
        nothing is taken. ``model`` is named in the refusal.
        """
        most_requests, most_tokens = self._limits(caller)
        if most_requests is None and most_tokens is None:
            return LimitState()
        tokens = max(tokens, 0)
        with self._lock:
            now = self._clock.monotonic()
            log = self._log(caller, now)
            if most_requests is not None and len(log.takes) >= most_requests:
                wait = (
                    float(log.takes[len(log.takes) - most_requests][0]) + WINDOW_SECONDS - now
                    if most_requests
                    else None
                )
                raise refusal("requests", most_requests, len(log.takes), 1, model, wait)
            if most_tokens is not None and log.tokens + tokens > most_tokens:
                wait = _until_free(log, log.tokens + tokens - most_tokens, now) if tokens <= most_tokens else None
                raise refusal("tokens", most_tokens, log.tokens, tokens, model, wait)
            taken: list[float | int] = [now, tokens]
            log.takes.append(taken)
            log.tokens += tokens
            # The newest of the minute is this one: the whole limit is free again when its minute is over.
            return LimitState(
                most_requests,
                None if most_requests is None else max(most_requests - len(log.takes), 0),
                None if most_requests is None else WINDOW_SECONDS,
                most_tokens,
                None if most_tokens is None else max(most_tokens - log.tokens, 0),
                None if most_tokens is None else WINDOW_SECONDS,
                taken,
            )

    def settle(self, caller: Caller, state: LimitState, actual_tokens: int) -> None:
        """Puts what was truly used in the place of what was taken (``state`` is what ``take`` gave), if its
        minute still runs."""
        taken = state.taken
        if taken is None:
            return
        with self._lock:
            log = self._log(caller, now := self._clock.monotonic())
            if taken[0] > now - WINDOW_SECONDS:
                actual = actual_tokens if actual_tokens > 0 else 0
                log.tokens += actual - int(taken[1])
                taken[1] = actual

    def state(self, caller: Caller) -> LimitState:
        """What the caller has left, taking nothing."""
        most_requests, most_tokens = self._limits(caller)
        if most_requests is None and most_tokens is None:
            return LimitState()
        with self._lock:
            now = self._clock.monotonic()
            return _state(self._log(caller, now), most_requests, most_tokens, now)

    def close(self) -> None:
        """What this process holds is given back, and its thread ends; at the end of the process."""

    @contextmanager
    def running(self, caller: Caller) -> Iterator[None]:
        """Holds one of the caller's ``max_concurrent`` places; ``RateLimited`` if none is free."""
        if self._max_concurrent is None:
            yield
            return
        with self._lock:
            log = self._log(caller, self._clock.monotonic())
            if log.running >= self._max_concurrent:
                raise refusal("concurrent", self._max_concurrent, log.running, 1, "", 1.0)
            log.running += 1
        try:
            yield
        finally:
            with self._lock:
                log.running -= 1

    def _limits(self, caller: Caller) -> tuple[int | None, int | None]:
        return (
            self._default_requests if caller.requests_per_minute is None else caller.requests_per_minute,
            self._default_tokens if caller.tokens_per_minute is None else caller.tokens_per_minute,
        )

    def _log(self, caller: Caller, now: float) -> _Log:
        """The caller's log with the last minute only; the lock is held."""
        name = name_of(caller)
        log = self._logs.get(name)
        if log is None:
            if len(self._logs) >= _MANY_KEYS:
                self._forget_idle(now)
            log = self._logs[name] = _Log()
        log.forget(now - WINDOW_SECONDS)
        return log

    def _forget_idle(self, now: float) -> None:
        for name, log in list(self._logs.items()):
            log.forget(now - WINDOW_SECONDS)
            if not log.takes and not log.running:
                del self._logs[name]


def name_of(caller: Caller) -> str:
    """Whose minute it is."""
    return f"key:{caller.key_id}" if caller.key_id else f"user:{caller.principal}"


def _state(
    log: _Log,
    most_requests: int | None,
    most_tokens: int | None,
    now: float,
    taken: list[float | int] | None = None,
) -> LimitState:
    reset = round(max(float(log.takes[-1][0]) + WINDOW_SECONDS - now, 0.0), 3) if log.takes else 0.0
    return LimitState(
        limit_requests=most_requests,
        remaining_requests=None if most_requests is None else max(most_requests - len(log.takes), 0),
        reset_requests=None if most_requests is None else reset,
        limit_tokens=most_tokens,
        remaining_tokens=None if most_tokens is None else max(most_tokens - log.tokens, 0),
        reset_tokens=None if most_tokens is None else reset,
        taken=taken,
    )


def _until_free(log: _Log, needed: int, now: float) -> float:
    freed = 0
    for time, tokens in log.takes:
        freed += int(tokens)
        if freed >= needed:
            return float(time) + WINDOW_SECONDS - now
    return WINDOW_SECONDS


def refusal(window: str, limit: int, used: int, asked: int, model: str, wait: float | None) -> RateLimited:
    """What a caller is told; ``wait`` in seconds, ``None`` where waiting does not help."""
    if window == "concurrent":
        message, mend = f"{limit} requests of this key are running already", "wait for one to end"
    elif wait is None:
        message = f"this request asks for {asked} {window}, the key's limit is {limit} a minute"
        mend = "ask for fewer tokens, or have the limit raised"
    else:
        message = f"the key's limit of {limit} {window} a minute is used up"
        mend = f"come again in {wait:.1f} s"
    return RateLimited(
        message,
        mend=mend,
        retry_after=wait,
        window=f"{window}_per_minute" if window != "concurrent" else window,
        limit=limit,
        used=used,
        requested=asked,
        model=model,
    )
