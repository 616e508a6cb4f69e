"""Settles what processes that are gone had begun: their journals, from where they were brought in.

A call whose end stands in the journal is entered as it ended. One that has none died with its process:
nobody can say what it cost, so it is charged at its reservation and named ``unresolved``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import msgspec
from sqlalchemy import delete, select

from gateway.clock import Clock
from gateway.ids import new_id
from gateway.ledger.intents import Done, Ended, Opened, Released, decode_line, done, unresolved
from gateway.store.budget_leases import end_shares, expired_holders
from gateway.store.call_entries import enter_calls
from gateway.store.engine import Database
from gateway.store.journal_file import Position, lines_of, orphans, remove_journal
from gateway.store.tables import journal_mark

_log = logging.getLogger(__name__)
_BATCH = 1000


class Recovered(msgspec.Struct, frozen=True):
    """How many calls were brought in from journals of dead processes, and how many of them nobody ended."""

    calls: int = 0
    unresolved: int = 0


def recover(folder: Path, database: Database, clock: Clock, threshold: int | None) -> Recovered:
    """Brings in every orphaned journal of the folder, and gives back the shares of processes whose journal
    is lost. Safe to run in many processes at once, and again after a crash in its midst."""
    calls = left = 0
    for name in orphans(folder):
        ended, hanging = _calls_of(folder, name, database, clock)
        for at in range(0, len(ended), _BATCH):
            enter_calls(database, name, ended[at : at + _BATCH], threshold)
        with database.begin() as connection:
            end_shares(connection, name)
            connection.execute(delete(journal_mark).where(journal_mark.c.journal == name))
        remove_journal(folder, name)
        calls, left = calls + len(ended), left + hanging
        if ended:
            _log.warning("%s of a process that is gone: %s calls brought in, %s unresolved", name, len(ended), hanging)
    with database.begin() as connection:
        for holder in expired_holders(connection, clock.now()):
            _log.error("the journal %s is lost, its shares of budgets are given back", holder)
            end_shares(connection, holder)
    return Recovered(calls, left)


def _calls_of(folder: Path, name: str, database: Database, clock: Clock) -> tuple[list[Done], int]:
    """What is not in the ledger yet, in the order it ended; the unresolved last."""
    with database.read() as connection:
        row = connection.execute(select(journal_mark).where(journal_mark.c.journal == name)).one_or_none()
    mark: Position = (0, 0) if row is None else (row.segment, row.applied)
    opened: dict[str, Opened] = {}
    ended: list[Done] = []
    for position, record in _records(folder, name):
        if isinstance(record, Opened):
            opened[record.hold_id] = record
        elif record.hold_id in opened:
            begun = opened.pop(record.hold_id)
            if position > mark:
                ended.append(done(begun, record, segment=0, position=position))
    end = max((item.position for item in ended), default=mark)
    hanging = [unresolved(begun, new_id("entry"), clock.now()) for begun in opened.values()]
    return [*ended, *(msgspec.structs.replace(item, position=end) for item in hanging)], len(hanging)


def _records(folder: Path, name: str) -> Iterator[tuple[Position, Opened | Ended | Released]]:
    for position, line in lines_of(folder, name):
        try:
            yield position, decode_line(line)
        except msgspec.DecodeError:
            _log.error("a line of the journal %s cannot be read (segment %s, byte %s)", name, *position)
