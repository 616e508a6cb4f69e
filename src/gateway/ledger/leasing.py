"""Keeps the shares of this process in step with the budgets in the database: asks for more, gives back what
nobody uses, and says that the process lives.

A share that its process has not spoken for in ``LEASE_SECONDS`` is not used any more, and the database
gives it to others only some time after that. Whatever else goes wrong between the two (an answer of the
database that was lost, a lease that was taken) is found by comparing both sums, once a minute.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Protocol

from gateway.clock import SECOND, Clock
from gateway.errors import BudgetExceeded, Unavailable
from gateway.ledger.budgets import Budget
from gateway.ledger.entry import Charge
from gateway.ledger.shares import Share, Shares, lacking
from gateway.money import units

_log = logging.getLogger(__name__)
#: How long a share stands after its process last said that it lives, and how often it says so.
LEASE_SECONDS = 600
BEAT_SECONDS = 60.0
#: So long a refusal, or the database's silence, answers for everybody who asks the same.
_ANSWER_SECONDS = 0.05
_SILENCE_SECONDS = 0.5


class ShareStore(Protocol):
    """The budgets, and this process's shares of them; see ``store.budget_leases``. Every method blocks."""

    def version(self) -> int:
        """Changes whenever a budget is set or ended."""
        ...

    def active(self) -> list[Budget]: ...

    def grow(self, budget_id: str, amount: int, free: int, now: int, expires_at: int) -> int | None:
        """Adds at least ``amount - free`` to a share that has ``free``; ``None`` for an ended budget."""
        ...

    def shrink(self, amounts: Mapping[str, int]) -> None: ...

    def beat(self, expires_at: int) -> dict[str, int]:
        """Says that the process lives; what is leased, by budget."""
        ...

    def elsewhere(self, budget_id: str) -> int:
        """What other processes have set aside."""
        ...


class Leasing:
    """The shares of one process. ``waiting`` is how many ended calls are not in the database yet."""

    def __init__(self, store: ShareStore, clock: Clock, waiting: Callable[[], int], *, enabled: bool) -> None:
        self.shares = Shares()
        #: Guards the shares' sums, and makes the end of a call one step; held for moments only.
        self.lock = threading.Lock()
        #: Until then (microseconds) the shares may be used.
        self.good_until = clock.now() + LEASE_SECONDS * SECOND
        self._store = store
        self._clock = clock
        self._waiting = waiting
        self._enabled = enabled
        self._version = -1
        self._beaten = clock.monotonic()
        #: Held by whoever asks the database.
        self._asking = threading.Lock()
        self._refusals: dict[tuple[str, int], tuple[float, BudgetExceeded, bool]] = {}
        self._silence: tuple[float, Unavailable] | None = None

    def grow(self, charge: Charge, amount: int) -> BudgetExceeded | None:
        """Makes room for a call in every share that lacks it. Blocks on the database.

        Raises ``BudgetExceeded`` where a budget has not so much left. One that is returned may be mended by
        waiting: other processes have set aside what is missing, and give back what they do not use.
        """
        with self._asking:
            self._hear()
            try:
                return self._grow(charge, amount)
            except Unavailable as error:
                self._silence = self._clock.monotonic(), error
                raise

    def look(self) -> None:
        """Takes note of budgets that were set or ended. Blocks on the database."""
        if self._enabled:
            with self._asking:
                if self._store.version() != self._version:
                    self._refresh()

    def tick(self) -> None:
        """Once a second, by whoever brings ended calls into the database: new budgets, shares that nobody
        uses given back, a sign of life."""
        if not self._enabled:
            return
        with self._asking:
            if self._store.version() != self._version:
                self._refresh()
            with self.lock:
                idle = self.shares.idle()
            if idle:
                self._give_back(idle)
            if self._clock.monotonic() - self._beaten >= BEAT_SECONDS:
                self._compare(self._beat())

    def give_back(self) -> None:
        """Gives back all that no call under way has. Blocks on the database."""
        if self._enabled:
            with self._asking:
                with self.lock:
                    free = self.shares.idle(everything=True)
                if free:
                    self._give_back(free)

    def _hear(self) -> None:
        """Raises what the database said last where that was a moment ago."""
        if self._silence is not None:
            since, error = self._silence
            if self._clock.monotonic() - since < _SILENCE_SECONDS:
                raise Unavailable(error.message, mend=error.mend, retry_after=1.0)
            self._silence = None

    def _grow(self, charge: Charge, amount: int) -> BudgetExceeded | None:
        while True:
            now = self._clock.now()
            if now >= self.good_until:
                self._beat()
            with self.lock:
                share = lacking(self.shares.binding(charge), amount)
                free = 0 if share is None else share.free
            if share is None:
                return None
            try:
                given = self._ask(share, amount, free, now)
            except BudgetExceeded as refused:
                if self._may_come(share, amount, refused):
                    return refused
                raise
            if given is None:
                if self._store.version() != self._version:
                    self._refresh()
                with self.lock:
                    self.shares.gone(share.budget_id)
                continue
            with self.lock:
                share.free += given

    def _ask(self, share: Share, amount: int, free: int, now: int) -> int | None:
        known = self._refusals.get((share.budget_id, amount))
        if known is not None and self._clock.monotonic() - known[0] < _ANSWER_SECONDS:
            raise known[1]
        return self._store.grow(share.budget_id, amount, free, now, now + LEASE_SECONDS * SECOND)

    def _may_come(self, share: Share, amount: int, refused: BudgetExceeded) -> bool:
        """Whether others have set aside as much as is missing."""
        known = self._refusals.get((share.budget_id, amount))
        if known is not None and known[1] is refused:
            return known[2]
        missing = amount - units(refused.details["left"])
        may_come = self._store.elsewhere(share.budget_id) >= missing
        self._refusals[share.budget_id, amount] = self._clock.monotonic(), refused, may_come
        return may_come

    def _refresh(self) -> None:
        version = self._store.version()
        budgets = self._store.active()
        with self.lock:
            self.shares.replace(budgets)
        self._version = version
        self._refusals.clear()

    def _give_back(self, idle: list[tuple[Share, int]]) -> None:
        amounts: dict[str, int] = {}
        for share, amount in idle:
            amounts[share.budget_id] = amounts.get(share.budget_id, 0) + amount
        try:
            self._store.shrink(amounts)
        except BaseException:
            with self.lock:
                for share, amount in idle:
                    share.free += amount
            raise
        self._refusals.clear()

    def _beat(self) -> dict[str, int]:
        now = self._clock.now()
        leased = self._store.beat(now + LEASE_SECONDS * SECOND)
        self.good_until = now + LEASE_SECONDS * SECOND
        self._beaten = self._clock.monotonic()
        return leased

    def _compare(self, leased: Mapping[str, int]) -> None:
        """Sets right what differs between the shares here and there."""
        with self.lock:
            if self._waiting():  # what ended calls cost is in neither sum: another time
                return
            beyond, lacked = self.shares.compare(leased)
        if lacked:
            _log.error("the database has given shares of this process to others: %s", ", ".join(sorted(lacked)))
        if beyond:
            self._store.shrink(beyond)
