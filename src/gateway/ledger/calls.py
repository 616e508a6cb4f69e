"""The story of a call's money in one process: set its worst case aside, settle what it cost.

Nothing here waits for the database. The worst case comes out of this process's shares of the budgets
(``shares``), the intent is a line in the process's journal before any provider is called, and so is the
end; a ``Book`` brings ended calls into the ledger in batches. A process that dies leaves its journal, from
which another process settles what it had begun.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from gateway.clock import SECOND, Clock
from gateway.errors import BudgetExceeded, Unavailable
from gateway.ids import new_id
from gateway.ledger.budgets import Budget
from gateway.ledger.entry import Charge, Settled
from gateway.ledger.intents import Done, Ended, Opened, Released, done, encode_line
from gateway.ledger.journal import outcome_of
from gateway.ledger.shares import Share, Shares, lacking, settle, take
from gateway.models.llm_models import Usage
from gateway.money import plain, units, usd

_log = logging.getLogger(__name__)
#: How long a share stands after its process last said that it lives, and how often it says so.
LEASE_SECONDS = 600
_BEAT_SECONDS = 60.0
#: How long a call waits for what other processes have set aside and may not use.
_PATIENCE_SECONDS = 2.5
_PAUSE_SECONDS = 0.25
#: So many ended calls may wait for the database; then no more are made.
MOST_WAITING = 100_000


class Journal(Protocol):
    """See ``store.journal_file``."""

    @property
    def name(self) -> str: ...

    @property
    def strict(self) -> bool: ...

    def write(self, line: bytes, *, opens: bool) -> tuple[int, int]: ...

    async def synced(self) -> None: ...


class ShareStore(Protocol):
    """The budgets, and this process's shares of them; see ``store.budget_leases``. Every method blocks."""

    def version(self) -> int: ...

    def active(self) -> list[Budget]: ...

    def grow(self, budget_id: str, needed: int, now: int, expires_at: int) -> int | None: ...

    def shrink(self, amounts: Mapping[str, int], expires_at: int) -> None: ...

    def elsewhere(self, budget_id: str) -> int: ...


class Book(Protocol):
    """Brings ended calls into the ledger; see ``store.call_book``."""

    @property
    def waiting(self) -> int:
        """Ended calls that are not in the ledger yet."""
        ...

    def take(self, done: Done) -> None: ...

    def flush(self) -> None:
        """Blocks until what was taken so far is in the ledger."""
        ...

    def close(self) -> bool:
        """Flushes and ends; false where something could not be brought in."""
        ...


class Started:
    """What a process has once it has made a call: all of one journal's name."""

    __slots__ = ("book", "close", "journal", "shares")

    def __init__(self, journal: Journal, shares: ShareStore, book: Book, close: Callable[[bool], None]) -> None:
        self.journal = journal
        self.shares = shares
        self.book = book
        self.close = close


class OpenCall:
    """A call under way. ``settled`` is how it ended."""

    __slots__ = ("ended", "opened", "segment", "settled", "shares")

    def __init__(self, opened: Opened, segment: int, shares: tuple[Share, ...]) -> None:
        self.opened = opened
        self.segment = segment
        self.shares = shares
        self.ended = False
        self.settled: Settled | None = None


class CallLedger:
    """Safe from any thread; starts with its first call. ``start`` opens the journal and makes the rest,
    and is given ``tick``, which is to be called about once a second."""

    def __init__(
        self, start: Callable[[Callable[[], None]], Started], clock: Clock, *, budgets_enabled: bool = True
    ) -> None:
        self._start = start
        self._clock = clock
        self._enabled = budgets_enabled
        self._running: Started | None = None
        self._closed = False
        self._shares = Shares()
        self._version = -1
        self._beat = 0.0
        #: Guards the shares' sums; held for additions only.
        self._lock = threading.Lock()
        #: Held by whoever asks the database.
        self._asking = threading.Lock()

    def open(self, charge: Charge, amount: int, card: str, door: str) -> OpenCall | None:
        """Sets ``amount`` units aside and writes the intent; never waits for the database. ``None`` where
        a share is too small: ``grow`` it and try again. ``Unavailable`` where no call may be made now."""
        running = self._running
        if running is None:
            return None
        if running.book.waiting > MOST_WAITING:
            raise Unavailable(
                "the ledger is too far behind, so no call is made", mend="see the gateway's database", retry_after=5.0
            )
        shares = self._shares.binding(charge)
        if shares:
            with self._lock:
                if lacking(shares, amount) is not None:
                    return None
                take(shares, amount)
        budgets = tuple([share.budget_id for share in shares])
        opened = Opened(new_id("hold"), self._clock.now(), amount, card, door, charge, budgets)
        try:
            segment, _ = running.journal.write(encode_line(opened), opens=True)
        except BaseException:
            self._give_back(shares, amount, 0)
            raise
        return OpenCall(opened, segment, shares)

    @property
    def strict(self) -> bool:
        """Whether an intent is to be ``synced`` before the call."""
        return self._running is not None and self._running.journal.strict

    async def synced(self) -> None:
        """Returns once every intent so far is on the disk itself."""
        if self._running is not None:
            await self._running.journal.synced()

    def grow(self, charge: Charge, amount: int) -> None:
        """Makes room for the call in every share that lacks it. Blocks on the database.

        ``BudgetExceeded`` where a budget has not so much left, nor other processes so much unused."""
        patience = self._clock.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                self._grow(charge, amount)
            except BudgetExceeded as refused:
                missing = amount - units(refused.details["left"])
                if self._clock.monotonic() >= patience or self._elsewhere(refused) < missing:
                    raise
            else:
                return
            time.sleep(_PAUSE_SECONDS)  # what they do not use comes back within a second or two

    def _grow(self, charge: Charge, amount: int) -> None:
        with self._asking:
            if self._running is None:
                self._begin()
            running = self._running
            if running is None:
                raise Unavailable("the gateway is going down", retry_after=1.0)
            while True:
                with self._lock:
                    share = lacking(self._shares.binding(charge), amount)
                    needed = 0 if share is None else amount - share.free
                if share is None:
                    return
                now = self._clock.now()
                given = running.shares.grow(share.budget_id, needed, now, now + LEASE_SECONDS * SECOND)
                if given is None:
                    self._refresh(running)
                    continue
                with self._lock:
                    share.free += given

    def settle(
        self,
        call: OpenCall,
        *,
        cost: int,
        usage: Usage = Usage(),  # noqa: B008 - a frozen value
        inference_micros: int = 0,
        rows: int = 0,
        outcome: str = "completed",
        upstream_model: str | None = None,
        note: Mapping[str, Any] | None = None,
    ) -> Settled:
        """Charges what the call truly cost and gives the rest back. Again: the first entry.

        Impossible usage is repaired by the rules of ``pricing.repaired``, named in ``flags``; a cost above
        the reservation is charged in full and flagged ``over_reservation``.
        """
        if call.ended:
            if call.settled is None:
                raise ValueError("the call was released: nothing can be charged to it")
            return Settled(call.settled.entry, (), call.settled.flags, repeated=True)
        result, flags = outcome_of(cost, usage, inference_micros, rows, outcome, None, None, upstream_model)
        opened = call.opened
        if cost > opened.amount:
            flags = (*flags, "over_reservation")
            told = (opened.hold_id, plain(usd(cost)), plain(usd(opened.amount)))
            _log.warning("hold %s cost %s USD, %s USD were reserved", *told)
        end = Ended(opened.hold_id, self._clock.now(), new_id("entry"), result, dict(note or {}))
        ended = self._end(call, end, cost)
        if ended.entry is None:
            raise AssertionError("a call that ended has an entry")
        call.settled = Settled(ended.entry, (), flags)
        return call.settled

    def release(self, call: OpenCall, code: str, note: Mapping[str, Any] | None = None) -> None:
        """Gives the reservation back: the provider surely did no work. An ended call stays as it is."""
        if not call.ended:
            self._end(call, Released(call.opened.hold_id, self._clock.now(), code, dict(note or {})), 0)

    def flush(self) -> None:
        """Blocks until every call that this process ended is in the ledger."""
        if self._running is not None:
            self._running.book.flush()

    @property
    def waiting(self) -> int:
        """Ended calls that are not in the ledger yet."""
        return 0 if self._running is None else self._running.book.waiting

    def look(self) -> None:
        """Takes note of budgets that were set or ended. Blocks on the database."""
        with self._asking:
            if self._running is not None and self._running.shares.version() != self._version:
                self._refresh(self._running)

    def tick(self) -> None:
        """Once a second: new budgets, shares that nobody uses given back, a sign of life."""
        running = self._running
        if running is None:
            return
        with self._asking:
            if running.shares.version() != self._version:
                self._refresh(running)
            with self._lock:
                idle = self._shares.idle()
            now = self._clock.monotonic()
            if idle or (self._shares.any() and now - self._beat >= _BEAT_SECONDS):
                try:
                    running.shares.shrink(idle, self._clock.now() + LEASE_SECONDS * SECOND)
                    self._beat = now
                except BaseException:
                    with self._lock:
                        self._shares.give(idle)
                    raise

    def close(self) -> None:
        """Brings everything in and ends; what cannot be brought in stays in the journal. No call is made
        after it."""
        with self._asking:
            running, self._running, self._closed = self._running, None, True
        if running is not None:
            running.close(running.book.close())

    def _elsewhere(self, refused: BudgetExceeded) -> int:
        running = self._running
        return 0 if running is None else running.shares.elsewhere(str(refused.details["budget_id"]))

    def _begin(self) -> None:
        if self._closed:
            return
        running = self._start(self.tick)
        if self._enabled:
            self._refresh(running)
        self._running = running

    def _refresh(self, running: Started) -> None:
        if not self._enabled:
            return
        version = running.shares.version()
        budgets = running.shares.active()
        with self._lock:
            over = {share.budget_id: share.free for share in self._shares.replace(budgets) if share.free > 0}
        if over:
            running.shares.shrink(over, self._clock.now() + LEASE_SECONDS * SECOND)
        self._version = version

    def _end(self, call: OpenCall, end: Ended | Released, cost: int) -> Done:
        running = self._running
        if running is None:
            raise Unavailable("the gateway is going down; the call is settled from its journal", retry_after=1.0)
        call.ended = True
        try:
            position = running.journal.write(encode_line(end), opens=False)
        except Unavailable:  # told by the journal's health; the database takes it all the same
            position = (0, 0)
            _log.warning("the end of hold %s is not in the journal", call.opened.hold_id)
        self._give_back(call.shares, call.opened.amount, cost)
        ended = done(call.opened, end, segment=call.segment, position=position)
        running.book.take(ended)
        return ended

    def _give_back(self, shares: tuple[Share, ...], amount: int, cost: int) -> None:
        if shares:
            with self._lock:
                settle(shares, amount, cost)
