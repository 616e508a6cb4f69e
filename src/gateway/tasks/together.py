"""Transactions of several threads of a process done as one: while one commits, the others' gather for the next.

To begin and to commit costs as much as what a step changes; and a run's steps wait for each other's commits anyway.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from gateway.engine.ports import EngineStore, EngineTx
from gateway.errors import Unavailable

_log = logging.getLogger(__name__)
#: So many go together: what the last of them waits for the others is to be no more than a commit.
_MOST = 16
T = TypeVar("T")


class _Entry(Generic[T]):
    """What one thread wants done to a run; what came of it."""

    def __init__(self, run_id: str, work: Callable[[EngineTx], T]) -> None:
        self.run_id = run_id
        self.work = work
        self.over = threading.Event()
        self.error: Exception | None = None
        self.value: Any = None

    def outcome(self) -> T:
        if self.error is not None:
            raise self.error
        value: T = self.value
        return value


class Together:
    """One a process. ``do`` may be called from any thread."""

    def __init__(self, store: EngineStore) -> None:
        self._store = store
        self._waiting: deque[_Entry[Any]] = deque()
        self._turn = threading.Semaphore(store.writers)

    def do(self, run_id: str, work: Callable[[EngineTx], T]) -> T:
        """What ``work`` gives, once it is committed; raises what it raises. It may be done again, after its changes
        were rolled back, and should change nothing but the transaction."""
        entry = _Entry(run_id, work)
        self._waiting.append(entry)
        with self._turn:
            self._next()
        entry.over.wait()  # for whoever took it along
        return entry.outcome()

    def _next(self) -> None:
        """Does those that wait; runs are locked in one order, here and in other processes."""
        batch: list[_Entry[Any]] = []
        with contextlib.suppress(IndexError):  # all are taken
            while True:
                batch.append(self._waiting.popleft())
        batch.sort(key=lambda entry: entry.run_id)
        for at in range(0, len(batch), _MOST):
            self._try(batch[at : at + _MOST])

    def _try(self, batch: list[_Entry[Any]]) -> None:
        try:
            with self._store.begin() as tx:
                values = [entry.work(tx) for entry in batch]
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised to whom it concerns
            if len(batch) == 1 or isinstance(error, Unavailable):
                for entry in batch:
                    entry.error = error
                    entry.over.set()
                return
            _log.warning("%d transactions that were one are done one by one (%s)", len(batch), type(error).__name__)
            for entry in batch:
                self._try([entry])
            return
        for entry, value in zip(batch, values, strict=True):
            entry.value = value
            entry.over.set()
