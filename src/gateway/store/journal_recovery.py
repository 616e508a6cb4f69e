"""Settles what processes that are gone had begun: their journals, from where they were brought in.

A call whose end stands in the journal is entered as it ended. One that has none died with its process:
nobody can say what it cost, so it is charged at its reservation and named ``unresolved``. The journal's mark
goes on after its last line: over the calls that nobody ended, in their order, to ``_ALL``. Whoever finds a
journal goes on where its mark stands, so a recovery that dies in its midst is gone on with by the next.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from sqlalchemy import delete

from gateway.clock import Clock
from gateway.ids import new_id
from gateway.ledger.entry import BudgetAlert
from gateway.ledger.intents import Done, Ended, Opened, Released, decode_line, done, unresolved
from gateway.security.audit import Witness, checkpoint_of
from gateway.store.budget_leases import doubtful_holders, end_shares, give_notice
from gateway.store.call_entries import enter_calls, mark_of, set_mark
from gateway.store.engine import Database
from gateway.store.journal_folder import Position, is_here, lines_of, orphans, remove_journal, remove_segments
from gateway.store.tables import journal_mark

_log = logging.getLogger(__name__)
_BATCH = 1000
#: A segment that no journal has: the calls that nobody ended stand there, and behind them the end of all.
_AFTER_ALL_LINES = 2**62
_ALL: Position = (_AFTER_ALL_LINES, _AFTER_ALL_LINES)


class Recovered(msgspec.Struct, frozen=True):
    """How many calls were brought in from journals of dead processes, and how many of them nobody ended."""

    calls: int = 0
    unresolved: int = 0


def end_journal(database: Database, name: str) -> None:
    """Gives the shares of a journal back, all of which is in the ledger, and notes that nothing is left of it."""
    with database.begin() as connection:
        end_shares(connection, name)
        set_mark(connection, name, _ALL)


def forget_journal(database: Database, folder: Path, name: str) -> None:
    """Deletes the lines of a journal that has ended, then its mark, then its lock: whoever finds what a death in
    between leaves of it still sees that nothing of it is to be brought in, and goes on."""
    remove_segments(folder, name)
    with database.begin() as connection:
        connection.execute(delete(journal_mark).where(journal_mark.c.journal == name))
    remove_journal(folder, name)


def calls_left(folder: Path, name: str, mark: Position, now: int) -> tuple[list[Done], list[Done]]:
    """What of a dead process's journal is not in the ledger yet: what ended, in that order, and what nobody ended."""
    opened: dict[str, Opened] = {}
    ended: list[Done] = []
    for position, record in _records(folder, name):
        if isinstance(record, Opened):
            opened[record.hold_id] = record
        elif record.hold_id in opened:
            begun = opened.pop(record.hold_id)
            if position > mark:
                ended.append(done(begun, record, segment=0, position=position))
    hanging = []
    for number, begun in enumerate(opened.values(), 1):
        position = (_AFTER_ALL_LINES, number)
        if position > mark:
            nobody = unresolved(begun, new_id("entry"), now)
            hanging.append(msgspec.structs.replace(nobody, position=position))
    return ended, hanging


def _records(folder: Path, name: str) -> Iterator[tuple[Position, Opened | Ended | Released]]:
    for position, line in lines_of(folder, name):
        try:
            yield position, decode_line(line)
        except msgspec.DecodeError:
            _log.error("a line of the journal %s cannot be read (segment %s, byte %s)", name, *position)


class Recovery:
    """Brings in what dead processes left in ``folder``. Safe to run in many processes at once."""

    def __init__(
        self,
        folder: Path,
        database: Database,
        clock: Clock,
        threshold: int | None,
        alerted: Callable[[str, tuple[BudgetAlert, ...]], None],
        witness: Witness,
    ) -> None:
        self._folder = folder
        self._database = database
        self._clock = clock
        self._threshold = threshold
        self._alerted = alerted
        self._witness = witness

    def run(self) -> Recovered:
        """Every orphaned journal, and the shares of processes whose journal is lost."""
        calls = left = 0
        for name in orphans(self._folder):
            found = self._bring_in(name)
            calls, left = calls + found.calls, left + found.unresolved
        self._end_lost()
        return Recovered(calls, left)

    def _bring_in(self, name: str) -> Recovered:
        with self._database.read() as connection:
            mark = mark_of(connection, name)
        found = Recovered()
        if mark != _ALL:
            found = self._bring_in_after(name, mark)
            end_journal(self._database, name)
        forget_journal(self._database, self._folder, name)
        return found

    def _bring_in_after(self, name: str, mark: Position) -> Recovered:
        ended, hanging = calls_left(self._folder, name, mark, self._clock.now())
        batch = [*ended, *hanging]
        for at in range(0, len(batch), _BATCH):
            self._enter(name, batch[at : at + _BATCH])
        if batch:
            told = (name, len(batch), len(hanging))
            _log.warning("%s of a process that is gone: %s calls brought in, %s unresolved", *told)
        return Recovered(len(batch), len(hanging))

    def _enter(self, name: str, batch: list[Done]) -> None:
        alerts, record = enter_calls(self._database, name, batch, self._threshold)
        if record is not None:
            try:
                self._witness.note(checkpoint_of(record))
            except OSError as error:
                _log.error("the audit trail's checkpoint could not be kept: %s", error)
        for principal, told in alerts:
            self._alerted(principal, told)

    def _end_lost(self) -> None:
        now = self._clock.now()
        with self._database.read() as connection:
            doubtful = doubtful_holders(connection, now)
        for holder in doubtful:
            if is_here(self._folder, holder):  # alive, or brought in by somebody at this moment
                continue
            with self._database.begin() as connection:
                if give_notice(connection, holder, now):
                    _log.error("the journal %s is lost, its shares of budgets are given back", holder)
                    end_shares(connection, holder)
                    connection.execute(delete(journal_mark).where(journal_mark.c.journal == holder))
