"""Transactions of several threads of a process done as one: while one commits, the others' gather for the next.

To begin and to commit costs as much as what a step changes; and a run's steps wait for each other's commits anyway.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from gateway.engine.ports import EngineStore, EngineTx
from gateway.engine.rows import Doorbell, StepRow
from gateway.errors import Unavailable

_log = logging.getLogger(__name__)
#: So many go together: what the last of them waits for the others is to be no more than a commit.
_MOST = 16
T = TypeVar("T")


class _Entry(Generic[T]):
    """What one thread wants done to a step; what came of it."""

    def __init__(self, what: StepRow | Doorbell, work: Callable[[EngineTx], T]) -> None:
        self.what = what
        #: Empty where it is not known.
        self.run_id = what.run_id
        self.work = work
        self.over = False
        #: Free once its thread should look again: its work is over, or there is something to do for all.
        self.bell = threading.Lock()
        self.bell.acquire()
        #: Until it is done: whoever did it for others may be stopped from outside.
        self.error: Exception | None = Unavailable("the transaction was abandoned", mend="try again")
        self.value: Any = None

    def ring(self) -> None:
        """By whoever holds the lock of all."""
        if self.bell.locked():
            self.bell.release()

    def outcome(self) -> T:
        if self.error is not None:
            raise self.error
        value: T = self.value
        return value


class Together:
    """One a process. ``do`` may be called from any thread."""

    def __init__(self, store: EngineStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._waiting: list[_Entry[Any]] = []
        #: Of the transactions that are open: how many, and whose runs they hold.
        self._open = 0
        self._held: set[str] = set()

    def do(self, what: StepRow | Doorbell, work: Callable[[EngineTx], T]) -> T:
        """What ``work`` gives, once it is committed; raises what it raises. ``what`` is the step that it ends, or the
        doorbell of one that it begins. It may be done again, after its changes were rolled back, and should change
        nothing but the transaction."""
        entry = _Entry(what, work)
        with self._lock:
            self._waiting.append(entry)
        while not entry.over:
            batch = self._batch()
            if not batch:
                entry.bell.acquire()
                continue
            try:
                self._try(batch)
            finally:
                self._done(batch)
        return entry.outcome()

    def _batch(self) -> list[_Entry[Any]]:
        """What may be done next, for this thread and others. A run that is held is left for those who will have it
        next."""
        with self._lock:
            if self._open >= self._store.writers:
                return []
            free = self._free()
            if free:
                self._waiting = [one for one in self._waiting if one not in free]
                self._open += 1
                self._held.update(one.run_id for one in free if one.run_id)
            return free

    def _free(self) -> list[_Entry[Any]]:
        return [one for one in self._waiting if one.run_id not in self._held][:_MOST]

    def _done(self, batch: list[_Entry[Any]]) -> None:
        """Wakes those whose work is over, and one more, who goes on with what has come meanwhile."""
        with self._lock:
            self._open -= 1
            self._held.difference_update(one.run_id for one in batch if one.run_id)
            for one in batch:
                one.over = True
                one.ring()
            for one in self._free()[:1]:
                one.ring()

    def _try(self, batch: list[_Entry[Any]]) -> None:
        try:
            with self._store.begin() as tx:
                tx.expect([entry.what for entry in batch])
                values = [entry.work(tx) for entry in batch]
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised to whom it concerns
            if len(batch) == 1 or isinstance(error, Unavailable):
                for entry in batch:
                    entry.error = error
                return
            _log.warning("%d transactions that were one are done one by one (%s)", len(batch), type(error).__name__)
            for entry in batch:
                self._try([entry])
            return
        for entry, value in zip(batch, values, strict=True):
            entry.value, entry.error = value, None
