"""Beginnings and ends of steps, written by the set: while one transaction is under way, others gather for the next.

To begin and to commit costs as much as what a step changes; and a run's steps wait for each other's commits anyway.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from gateway.engine.ports import EngineStore, EngineTx, EngineWriter
from gateway.engine.rows import Doorbell, StepRow
from gateway.errors import Unavailable

_log = logging.getLogger(__name__)
#: So many go together: what the last of them waits for the others is to be no more than a commit.
_MOST = 64
#: While one writes, another begins only where so many wait: two small transactions cost more than one.
_WORTH = 16


class Change:
    """What is wanted of one step, and what came of it: ``work`` gives ``value`` in a transaction, or raises ``error``.
    It may be done again, after its changes were rolled back, and should change nothing but the transaction."""

    __slots__ = ("error", "run_id", "value", "what", "work")

    def __init__(self, what: StepRow | Doorbell, work: Callable[[EngineTx], Any]) -> None:
        """``what``: the step that it ends, or the doorbell of one that it begins."""
        self.what = what
        #: Empty where it is not known.
        self.run_id = what.run_id
        self.work = work
        self.value: Any = None
        self.error: Exception | None = None


_C = TypeVar("_C", bound=Change)


class Together(Generic[_C]):
    """One a process: as many threads as the store has writers. ``put`` may be called from any thread."""

    def __init__(
        self,
        store: EngineStore,
        before: Callable[[Sequence[_C]], None],
        after: Callable[[Sequence[_C]], None],
    ) -> None:
        """``before`` is done before the transaction of these begins, ``after`` once it is over; both by the thread that
        writes. What ``before`` raises is the error of all; those to which it gives an ``error`` are not made."""
        self._store = store
        self._before = before
        self._after = after
        self._lock = threading.Lock()
        self._waiting: list[_C] = []
        #: The runs of the transactions that are open.
        self._held: set[str] = set()
        #: How many threads have nothing to do; each waits for one word.
        self._idle = 0
        self._word: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._write, name="steps-writer", daemon=True) for _ in range(store.writers)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, changes: Sequence[_C]) -> None:
        """They are made as soon as a writer is free and nobody else holds their runs."""
        with self._lock:
            self._waiting += changes
            self._call_if_worth()

    def close(self, seconds: float) -> None:
        """What was put is still written, as far as that takes no longer."""
        with self._lock:
            self._closed = True
            while self._idle:
                self._call()
        for thread in self._threads:
            thread.join(seconds)

    def _call_if_worth(self) -> None:
        """One of the threads that have nothing to do looks again, unless one is at work that will look when it is done
        and little waits for it. The lock is held."""
        if self._idle == len(self._threads) or (self._idle and len(self._waiting) >= _WORTH):
            self._call()

    def _call(self) -> None:
        self._idle -= 1
        self._word.put(None)

    def _write(self) -> None:
        writer = self._store.writer()
        try:
            self._write_by(writer)
        finally:
            writer.close()

    def _write_by(self, writer: EngineWriter) -> None:
        while True:
            batch = self._batch()
            if batch is None:
                return
            if not batch:
                self._word.get()
                continue
            self._make(writer, batch)
            with self._lock:
                self._held.difference_update(one.run_id for one in batch)
                self._call_if_worth()  # perhaps for these runs
            try:
                self._after(batch)
            except Exception:  # noqa: BLE001 - of these; those that come are written all the same
                _log.exception("after %d steps were written", len(batch))

    def _batch(self) -> list[_C] | None:
        """What may be done next; nothing where this thread is to wait for a word, ``None`` where there will be no
        more. A run that is held is left for those who will have it next."""
        with self._lock:
            held = self._held
            batch = [one for one in self._waiting if one.run_id not in held][:_MOST]
            if batch:
                taken = set(map(id, batch))
                self._waiting = [one for one in self._waiting if id(one) not in taken]
                held.update(one.run_id for one in batch if one.run_id)
                return batch
            if self._closed and not self._waiting:
                while self._idle:  # who waited for a run that was held until now
                    self._call()
                return None
            self._idle += 1
            return batch

    def _make(self, writer: EngineWriter, batch: Sequence[_C]) -> None:
        try:
            self._before(batch)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told to whom it concerns
            for one in batch:
                one.error = error
            return
        wanted = [one for one in batch if one.error is None]
        if wanted:
            self._try(writer, wanted)

    def _try(self, writer: EngineWriter, batch: Sequence[_C]) -> None:
        try:
            with writer.begin() as tx:
                tx.expect([one.what for one in batch])
                values = [one.work(tx) for one in batch]
        except Exception as error:  # noqa: BLE001 - as above
            if len(batch) == 1 or isinstance(error, Unavailable):
                for one in batch:
                    one.error = error
                return
            _log.warning("%d changes that were one are made one by one (%s)", len(batch), type(error).__name__)
            for one in batch:
                self._try(writer, [one])
            return
        for one, value in zip(batch, values, strict=True):
            one.value, one.error = value, None
