"""The story of a call's money in one process: set its worst case aside, settle what it cost.

Nothing here waits for the database. The worst case comes out of this process's shares of the budgets
(``leasing``), the intent is a line in the process's journal before any provider is called, and so is the
end; a ``Book`` brings ended calls into the ledger in batches. A process that dies leaves its journal, from
which another process settles what it had begun.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from msgspec import Struct
from msgspec.structs import replace

from gateway.clock import Clock
from gateway.errors import BudgetExceeded, Unavailable
from gateway.ids import new_id
from gateway.ledger.entry import Charge, Settled
from gateway.ledger.intents import Done, Ended, Opened, Released, done, encode_line
from gateway.ledger.leasing import Leasing, ShareStore
from gateway.ledger.outcome import check_amount, outcome_of
from gateway.ledger.shares import Share, settle, take
from gateway.models.llm_models import Usage
from gateway.money import plain_usd

_log = logging.getLogger(__name__)
#: How often, and how far apart, a call asks again for what other processes have set aside and may not use.
_TRIES = 10
_PAUSE_SECONDS = 0.25
#: So many ended calls may wait for the database; then no more are made.
MOST_WAITING = 100_000


class Journal(Protocol):
    """See ``store.journal_file``."""

    @property
    def strict(self) -> bool: ...

    def check(self) -> None:
        """``Unavailable`` where the last write failed."""
        ...

    def write(self, line: bytes, *, opens: bool) -> tuple[int, int]: ...

    def mend(self) -> None: ...

    async def synced(self) -> None: ...


class Book(Protocol):
    """Brings ended calls into the ledger; see ``store.call_book``."""

    @property
    def waiting(self) -> int:
        """Ended calls that are not in the ledger yet."""
        ...

    def take(self, done: Done) -> None: ...

    def flush(self) -> None:
        """Blocks until what was taken so far is in the ledger. ``Unavailable`` where that takes too long."""
        ...

    def close(self) -> bool:
        """Flushes and ends; false where something could not be brought in."""
        ...


class Started:
    """What a process has once it has made a call: all of one journal's name. ``close`` is told whether
    everything that ended was brought in."""

    __slots__ = ("book", "close", "journal", "shares")

    def __init__(self, journal: Journal, shares: ShareStore, book: Book, close: Callable[[bool], None]) -> None:
        self.journal = journal
        self.shares = shares
        self.book = book
        self.close = close


class OpenCall(Struct):
    """A call under way. ``settled`` is how it ended."""

    opened: Opened
    segment: int
    shares: tuple[Share, ...]
    #: Whether its intent is to be ``synced`` before the call.
    strict: bool = False
    ended: bool = False
    settled: Settled | None = None


class _Running:
    __slots__ = ("book", "journal", "leasing", "started")

    def __init__(self, started: Started, clock: Clock, enabled: bool) -> None:
        self.started = started
        self.journal = started.journal
        self.book = started.book
        self.leasing = Leasing(started.shares, clock, lambda: started.book.waiting, enabled=enabled)


class CallLedger:
    """Safe from any thread; starts with its first call. ``start`` opens the journal and makes the rest,
    and is given ``tick``, which is to be called about once a second."""

    def __init__(
        self, start: Callable[[Callable[[], None]], Started], clock: Clock, *, budgets_enabled: bool = True
    ) -> None:
        self._start = start
        self._clock = clock
        self._enabled = budgets_enabled
        self._running: _Running | None = None
        self._starting = threading.Lock()
        self._closed = False

    def open(self, charge: Charge, amount: int, card: str, door: str) -> OpenCall | None:
        """Sets ``amount`` units aside and writes the intent; never waits for the database. ``None`` where
        a share is too small: make room and try again. ``Unavailable`` where no call may be made now."""
        running = self._running
        if running is None or self._closed:
            return None
        check_amount(amount)
        if running.book.waiting > MOST_WAITING:
            raise _too_far_behind()
        now = self._clock.now()
        leasing = running.leasing
        shares, budgets = leasing.shares.bound_by(charge)
        if shares:
            if now >= leasing.good_until:
                return None
            with leasing.lock:
                if not take(shares, amount):
                    return None
        try:
            opened = Opened(new_id("hold"), now, amount, card, door, charge, budgets)
            segment, _ = running.journal.write(encode_line(opened), opens=True)
        except BaseException:
            if shares:
                with leasing.lock:
                    settle(shares, amount, 0)
            raise
        return OpenCall(opened, segment, shares, running.journal.strict)

    async def make_room(self, charge: Charge, amount: int) -> None:
        """Returns when it is worth trying ``open`` again. ``BudgetExceeded`` where a budget does not cover the
        call and no other process gives back in time what it has set aside."""
        tries = 0
        while (refused := await asyncio.to_thread(self.grow, charge, amount)) is not None:
            tries += 1
            if tries == _TRIES:
                raise refused
            await asyncio.sleep(_PAUSE_SECONDS)

    def grow(self, charge: Charge, amount: int) -> BudgetExceeded | None:
        """Starts what is not started, and makes room in every share that lacks it; see ``Leasing.grow``."""
        return self._begin().leasing.grow(charge, amount)

    async def synced(self) -> None:
        """Returns once every intent so far is on the disk itself."""
        if self._running is not None:
            await self._running.journal.synced()

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
        card: str = "",
        note: Mapping[str, Any] | None = None,
    ) -> Settled:
        """Charges what the call truly cost, by the ``card`` of its reservation or the one named, and gives the rest
        back. Again: the first entry.

        Impossible usage is repaired by the rules of ``pricing.repaired``, named in ``flags``; a cost above
        the reservation is charged in full and flagged ``over_reservation``.
        """
        if call.ended:
            if call.settled is None:
                raise ValueError("the call was released: nothing can be charged to it")
            return Settled(call.settled.entry, (), call.settled.flags, repeated=True)
        result, flags = outcome_of(cost, usage, inference_micros, rows, outcome, None, upstream_model, card)
        opened = call.opened
        if cost > opened.amount:
            flags = (*flags, "over_reservation")
            result = replace(result, flags=flags)
            told = (opened.hold_id, plain_usd(cost), plain_usd(opened.amount))
            _log.warning("hold %s cost %s USD, %s USD were reserved", *told)
        end = Ended(opened.hold_id, self._clock.now(), new_id("entry"), result, dict(note) if note else {})
        made = self._end(call, end, cost).entry
        if made is None:
            raise AssertionError("a call that ended has an entry")
        settled = call.settled = Settled(made, (), flags)
        return settled

    def release(self, call: OpenCall, code: str, note: Mapping[str, Any] | None = None) -> None:
        """Gives the reservation back: the provider surely did no work. An ended call stays as it is."""
        if not call.ended:
            self._end(call, Released(call.opened.hold_id, self._clock.now(), code, dict(note or {})), 0)

    def flush(self) -> None:
        """Blocks until every call that this process ended is in the ledger. ``Unavailable`` where the database
        does not take them."""
        if self._running is not None:
            self._running.book.flush()

    @property
    def waiting(self) -> int:
        """Ended calls that are not in the ledger yet."""
        return 0 if self._running is None else self._running.book.waiting

    def check(self) -> None:
        """Raises what would stop a call now, budgets apart. Starts what is not started; then it blocks."""
        running = self._begin()
        if running.book.waiting > MOST_WAITING:
            raise _too_far_behind()
        running.journal.check()

    def look(self) -> None:
        """Takes note of budgets that were set or ended. Blocks on the database."""
        if self._running is not None:
            self._running.leasing.look()

    def close(self) -> None:
        """Brings everything in and ends; what cannot be brought in stays in the journal. No call is made
        after it; one that is still under way may end, and is brought in by whoever finds the journal."""
        with self._starting:
            closed, self._closed = self._closed, True
            running = self._running
        if running is not None and not closed:
            everything = running.book.close()
            if everything:
                try:
                    running.leasing.give_back()
                except Unavailable as error:
                    _log.warning("shares of budgets come back with the journal: %s", error)
            running.started.close(everything)

    def _begin(self) -> _Running:
        with self._starting:
            if self._closed:
                raise Unavailable("the gateway is going down", retry_after=1.0)
            if self._running is None:
                self._running = self._make()
            return self._running

    def _make(self) -> _Running:
        started = self._start(self._tick)
        try:
            running = _Running(started, self._clock, self._enabled)
            running.leasing.look()
        except BaseException:
            started.close(started.book.close())
            raise
        return running

    def _tick(self) -> None:
        if self._running is not None:
            self._running.journal.mend()
            self._running.leasing.tick()

    def _end(self, call: OpenCall, end: Ended | Released, cost: int) -> Done:
        running = self._running
        if running is None:
            raise AssertionError("a call was opened, so its ledger has started")
        line = encode_line(end)
        # One step: calls are brought in by the order in which they ended in the journal.
        with running.leasing.lock:
            call.ended = True
            try:
                position = running.journal.write(line, opens=False)
            except Unavailable:  # told by the journal's health; the database takes it all the same
                position = (0, 0)
                _log.warning("the end of hold %s is not in the journal", call.opened.hold_id)
            settle(call.shares, call.opened.amount, cost)
            ended = done(call.opened, end, call.segment, position)
            running.book.take(ended)
        return ended


def _too_far_behind() -> Unavailable:
    return Unavailable(
        "the ledger is too far behind, so no call is made", mend="see the gateway's database", retry_after=5.0
    )
