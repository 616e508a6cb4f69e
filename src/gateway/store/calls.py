"""Starts a process's call ledger over SQL: its journal, its shares of budgets, and the book between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.clock import Clock
from gateway.ledger.calls import Started
from gateway.ledger.entry import BudgetAlert
from gateway.security.audit import Witness
from gateway.store.budget_leases import SqlBudgetLeases, end_shares
from gateway.store.call_book import SqlCallBook
from gateway.store.engine import Database
from gateway.store.journal_file import JournalFile
from gateway.store.journal_recovery import Recovered, recover


@dataclass(frozen=True, slots=True)
class CallStore:
    """Where the calls of a process are kept: a folder of journals, and the ledger in the database."""

    database: Database
    folder: Path
    clock: Clock
    threshold: int | None
    alerted: Callable[[str, tuple[BudgetAlert, ...]], None]
    witness: Witness
    strict: bool = False

    def start(self, tick: Callable[[], None]) -> Started:
        """A new journal with all that goes with it; brings in those of dead processes first."""
        self.recover()
        journal = JournalFile(self.folder, strict=self.strict)
        book = SqlCallBook(
            self.database, journal, self.witness, threshold=self.threshold, alerted=self.alerted, tick=tick
        )

        def close(everything: bool) -> None:
            """Gives the shares back and deletes the journal, where ``everything`` is in the ledger."""
            if everything:
                with self.database.begin() as connection:
                    end_shares(connection, journal.name)
            journal.close(discard=everything)

        return Started(journal, SqlBudgetLeases(self.database, journal.name), book, close)

    def recover(self) -> Recovered:
        """Settles what processes that are gone had begun."""
        return recover(self.folder, self.database, self.clock, self.threshold)
