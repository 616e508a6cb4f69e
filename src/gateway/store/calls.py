"""Starts a process's call ledger over SQL: its journal, its shares of budgets, and the book between them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.clock import Clock
from gateway.errors import Unavailable
from gateway.ledger.calls import Started
from gateway.ledger.entry import BudgetAlert
from gateway.security.audit import Witness
from gateway.store.budget_leases import SqlBudgetLeases
from gateway.store.call_book import SqlCallBook
from gateway.store.engine import Database
from gateway.store.journal_file import JournalFile
from gateway.store.journal_recovery import Recovered, Recovery, end_journal, forget_journal

_log = logging.getLogger(__name__)


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
            """Gives the shares back and deletes the journal, where ``everything`` is in the ledger and no call
            is under way. Else calls still end in it, and whoever finds it without its process brings it in."""
            if everything and journal.seal():
                try:
                    end_journal(self.database, journal.name)
                    forget_journal(self.database, self.folder, journal.name)
                except (Unavailable, OSError) as error:
                    _log.warning("the journal %s is left to whoever comes next: %s", journal.name, error)
                finally:
                    journal.close()

        return Started(journal, SqlBudgetLeases(self.database, journal.name), book, close)

    def recover(self) -> Recovered:
        """Settles what processes that are gone had begun."""
        recovery = Recovery(self.folder, self.database, self.clock, self.threshold, self.alerted, self.witness)
        try:
            return recovery.run()
        except OSError as error:
            raise Unavailable(
                "the journals of calls cannot be read", mend="see the disk of the gateway's data directory"
            ) from error
