"""Doorbells that the broker did not take: rung again by whoever has them, as soon as the broker answers."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from gateway.clock import SECOND
from gateway.engine.claim import QUEUE_LEASE
from gateway.engine.rows import Doorbell

_log = logging.getLogger(__name__)


class BrokerAway(Exception):
    """The broker did not take a doorbell. Never told to a caller: the doorbell waits, and the step is in SQL."""


class Ringer:
    """``ring`` gives each doorbell to ``send``; once that raises ``BrokerAway`` they wait in this process, and
    a thread tries every ``pause`` seconds until all are rung; those that come meanwhile join them and hold up nobody.

    One that waited for ``keep`` seconds is let go: the sweep has handed that step out anew. So is what waits in a
    process that dies.
    """

    def __init__(
        self, send: Callable[[Doorbell], None], *, pause: float = 0.25, keep: float = QUEUE_LEASE / SECOND
    ) -> None:
        self._send = send
        self._pause = pause
        self._keep = keep
        self._lock = threading.Lock()
        #: What the broker did not take, with the time (of the monotonic clock) at which it is let go.
        self._waiting: deque[tuple[float, Doorbell]] = deque()
        self._thread: threading.Thread | None = None

    def ring(self, doorbells: Sequence[Doorbell]) -> None:
        """Rings now, or as soon as the broker answers; never raises."""
        for number, bell in enumerate(doorbells):
            if self._waiting:
                self._wait_with(doorbells[number:])
                return
            try:
                self._send(bell)
            except BrokerAway as away:
                _log.warning("the broker took no doorbell (%s); it is rung as soon as the broker answers", away)
                self._wait_with(doorbells[number:])
                return

    def _wait_with(self, bells: Sequence[Doorbell]) -> None:
        until = time.monotonic() + self._keep
        with self._lock:
            self._waiting.extend((until, bell) for bell in bells)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._ring_again, daemon=True, name="doorbells")
                self._thread.start()

    def _ring_again(self) -> None:
        """Ends with the last of them."""
        rung = 0
        while (bell := self._first()) is not None:
            try:
                self._send(bell)
            except BrokerAway:
                time.sleep(self._pause)
                continue
            rung += 1
            with self._lock:
                self._waiting.popleft()
        _log.info("%s doorbells that the broker had not taken are rung", rung)

    def _first(self) -> Doorbell | None:
        """The one that has waited longest; ``None``, and whoever comes next starts another thread, where none is
        left."""
        with self._lock:
            while self._waiting and self._waiting[0][0] <= time.monotonic():
                self._waiting.popleft()
            if self._waiting:
                return self._waiting[0][1]
            self._thread = None
            return None
