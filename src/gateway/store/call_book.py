"""Brings ended calls into the ledger: many calls, one transaction.

A thread takes what has ended since it last looked and writes entries, postings, balances, budgets, shares,
audit records and how far the journal is brought in, all or nothing. Where the database does not answer it
tries again until it does; what waits is in the journal meanwhile.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError

from gateway.errors import GatewayError, Unavailable
from gateway.ledger.entry import BudgetAlert
from gateway.ledger.intents import Done
from gateway.security.audit import AuditRecord, Witness, checkpoint_of
from gateway.store.call_entries import enter_calls
from gateway.store.engine import Database

_log = logging.getLogger(__name__)
#: How long calls gather before they are brought in, unless somebody waits for them.
GATHER_SECONDS = 0.25
#: At most so many in one transaction.
_BATCH = 2000
_TICK_SECONDS = 1.0
_LONGEST_PAUSE = 5.0
#: How long whoever waits for the ledger waits, in seconds.
LONGEST_FLUSH = 10.0


class Segments(Protocol):
    """The journal's own part in it."""

    @property
    def name(self) -> str: ...

    def settled(self, segments: list[int], mark: tuple[int, int]) -> None: ...


class SqlCallBook:
    """See ``ledger.calls.Book``. ``alerted`` and ``witness`` are told after the commit, from its thread."""

    def __init__(
        self,
        database: Database,
        journal: Segments,
        witness: Witness,
        *,
        threshold: int | None,
        alerted: Callable[[str, tuple[BudgetAlert, ...]], None],
        tick: Callable[[], None],
    ) -> None:
        self._database = database
        self._journal = journal
        self._threshold = threshold
        self._alerted = alerted
        self._witness = witness
        self._tick = tick
        self._queue: deque[Done] = deque()
        self._wake = threading.Event()
        #: Whether the thread was told of what waits; it says no before it looks.
        self._told = False
        self._hurry = threading.Event()
        self._change = threading.Condition()
        self._entered = 0
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def take(self, done: Done) -> None:
        self._queue.append(done)
        if not self._told:
            self._told = True
            self._wake.set()

    def flush(self, seconds: float = LONGEST_FLUSH) -> None:
        with self._change:
            if not self._queue:
                return
            target = self._entered + len(self._queue)
            self._hurry.set()
            self._wake.set()
            self._change.wait_for(lambda: self._entered >= target or not self._thread.is_alive(), timeout=seconds)
            if self._entered < target:
                raise Unavailable(
                    "the ledger is behind: the database does not take what calls have cost", retry_after=5.0
                )

    def close(self) -> bool:
        with contextlib.suppress(Unavailable):  # what is left is told by the answer
            self.flush()
        self._closing = True
        self._hurry.set()
        self._wake.set()
        self._thread.join(timeout=10)
        return not self._queue

    def _run(self) -> None:
        last_tick = time.monotonic()
        while not self._closing:
            if self._wake.wait(_TICK_SECONDS):
                self._hurry.wait(GATHER_SECONDS)
                self._wake.clear()
                self._told = False
                self._hurry.clear()
                self._enter_all()
                if self._queue:
                    self._wake.set()
            if time.monotonic() - last_tick >= _TICK_SECONDS:
                last_tick = time.monotonic()
                self._look_around()

    def _enter_all(self) -> None:
        pause = 0.05
        left = len(self._queue)  # what comes meanwhile gathers for the next time
        while left > 0:
            batch = [self._queue[at] for at in range(min(len(self._queue), _BATCH))]
            try:
                alerts, record = enter_calls(self._database, self._journal.name, batch, self._threshold)
            except Exception as error:  # noqa: BLE001 - whatever it is, the journal has them: told, and tried again
                expected = isinstance(error, GatewayError)
                _log.warning("%s calls wait for the ledger: %s", self.waiting, error, exc_info=not expected)
                if self._closing:
                    return
                self._hurry.wait(pause)
                self._hurry.clear()
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            self._tell(alerts, record)
            with self._change:
                for _ in batch:
                    self._queue.popleft()
                self._entered += len(batch)
                left -= len(batch)
                self._change.notify_all()
            self._journal.settled([item.segment for item in batch], max(item.position for item in batch))

    def _tell(self, alerts: list[tuple[str, tuple[BudgetAlert, ...]]], record: AuditRecord | None) -> None:
        try:
            if record is not None:
                self._witness.note(checkpoint_of(record))
            for principal, told in alerts:
                self._alerted(principal, told)
        except Exception:  # noqa: BLE001 - told in the log; the calls themselves are in the ledger
            _log.exception("a checkpoint or an alert of calls could not be told")

    def _look_around(self) -> None:
        try:
            self._tick()
        except (GatewayError, SQLAlchemyError) as error:
            _log.warning("budgets could not be looked at: %s", error)
        except Exception:  # noqa: BLE001 - told in the log; calls are brought in all the same
            _log.exception("budgets could not be looked at")
