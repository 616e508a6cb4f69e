"""Ended calls as rows: entries, postings, balances, budgets, shares, audit records, and the journal's mark.

Locks are taken in the order of the whole store: budgets by id, balances by account, sums of usage by series,
the day's threshold, the audit trail's end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, select, text
from sqlalchemy.exc import DataError, IntegrityError

from gateway.clock import SECOND
from gateway.ledger.entry import BudgetAlert, Entry
from gateway.ledger.intents import Done, Released
from gateway.ledger.savings import Saving, savings_of_note
from gateway.ledger.windows import QUARTER
from gateway.money import plain_usd
from gateway.security.audit import AuditDraft, AuditRecord, draft_of
from gateway.store.audit_store import append_records
from gateway.store.budget_leases import Spent, spend_from_shares
from gateway.store.budget_store import count_towards_threshold
from gateway.store.engine import Database
from gateway.store.journal_folder import Position
from gateway.store.many_rows import insert_rows
from gateway.store.postings import post
from gateway.store.tables import entry, journal_mark
from gateway.store.usage_rollups import add_usage

_DAY = 86_400 * SECOND

Alerts = list[tuple[str, tuple[BudgetAlert, ...]]]

_MARK = text(
    "INSERT INTO journal_mark (journal, segment, applied) VALUES (:journal, :segment, :applied) "
    "ON CONFLICT (journal) DO UPDATE SET segment = excluded.segment, applied = excluded.applied "
    "WHERE journal_mark.segment < excluded.segment "
    "OR (journal_mark.segment = excluded.segment AND journal_mark.applied < excluded.applied) RETURNING segment"
)


class _EnteredBefore(Exception):
    """Some of the calls are in the ledger already."""


def enter_calls(
    database: Database, journal: str, batch: Sequence[Done], threshold: int | None
) -> tuple[Alerts, AuditRecord | None]:
    """One transaction for all of them. The alerts that they set off (each with whose call did), and the last
    audit record. A call that is in the ledger already is left out; a cause that another call was charged
    for gets a name of its own, for both were made."""
    try:
        with database.begin() as connection:
            if not set_mark(connection, journal, max(item.position for item in batch)):
                raise _EnteredBefore
            return _enter(connection, journal, batch, threshold)
    except (_EnteredBefore, IntegrityError, DataError):
        with database.begin() as connection:
            fresh = _new(connection, journal, batch)
            set_mark(connection, journal, max(item.position for item in batch))
            return _enter(connection, journal, fresh, threshold)


def enter_without_journal(
    connection: Connection, holder: str, batch: Sequence[Done], threshold: int | None
) -> tuple[Alerts, AuditRecord | None]:
    """The same for calls that no journal has, within the transaction of whoever keeps them."""
    return _enter(connection, holder, _new(connection, holder, batch), threshold)


def set_mark(connection: Connection, journal: str, position: Position) -> bool:
    """Notes that all ends up to ``position`` are in the ledger; false where that was noted before. The end of a
    call that could not be written has no position, and is always told to be new."""
    if position == (0, 0):
        return True
    values = {"journal": journal, "segment": position[0], "applied": position[1]}
    return connection.execute(_MARK, values).first() is not None


def mark_of(connection: Connection, journal: str) -> Position:
    """How far a journal is in the ledger."""
    row = connection.execute(select(journal_mark).where(journal_mark.c.journal == journal)).one_or_none()
    return (0, 0) if row is None else (row.segment, row.applied)


def _new(connection: Connection, journal: str, batch: Sequence[Done]) -> list[Done]:
    """The calls that are not entered yet, with causes that nobody has, and text that any database takes."""
    mark = mark_of(connection, journal)
    waiting = [item for item in batch if item.position == (0, 0) or item.position > mark]
    causes = [item.entry.cause for item in waiting if item.entry is not None]
    causes += [_other_cause(item.entry) for item in waiting if item.entry is not None]
    rows = connection.execute(select(entry.c.cause, entry.c.hold_id).where(entry.c.cause.in_(causes)))
    taken: dict[str, str | None] = {row.cause: row.hold_id for row in rows}
    fresh: list[Done] = []
    for item in waiting:
        made = item.entry
        if made is not None:
            cause = made.cause if made.cause not in taken else _other_cause(made)
            if made.hold_id in (taken.get(made.cause), taken.get(cause)):
                continue
            taken[cause] = made.hold_id
            made = _clean(msgspec.structs.replace(made, cause=cause))
        fresh.append(msgspec.structs.replace(item, entry=made))
    return fresh


def _other_cause(made: Entry) -> str:
    return f"{made.cause}#{made.hold_id}"


def _clean(made: Entry) -> Entry:
    values = msgspec.structs.asdict(made)
    changed = {
        name: value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
        for name, value in values.items()
        if isinstance(value, str)
    }
    return msgspec.structs.replace(made, **changed)


def _enter(
    connection: Connection, journal: str, batch: Sequence[Done], threshold: int | None
) -> tuple[Alerts, AuditRecord | None]:
    drafts = [_draft(item) for item in batch]  # before anything is locked that others wait for
    made = [item.entry for item in batch if item.entry is not None]
    alerts: Alerts = []
    if made:
        insert_rows(connection, entry, Entry.__struct_fields__, [msgspec.structs.astuple(item) for item in made])
        spent = _spent(batch)
        if spent:
            alerts += spend_from_shares(connection, journal, spent)
        post(connection, made)
        add_usage(connection, made, _saved(batch))
        if threshold is not None:
            alerts += _threshold(connection, made, threshold)
    records = append_records(connection, drafts) if drafts else []
    return alerts, records[-1] if records else None


def _saved(batch: Sequence[Done]) -> list[tuple[Entry, Saving]]:
    found = [(item.entry, item.end.note) for item in batch if item.entry is not None and "saved" in item.end.note]
    return [(made, told) for made, note in found for told in savings_of_note(note)]


def _spent(batch: Sequence[Done]) -> list[Spent]:
    """What each budget paid, by quarters of an hour: no window ends within one."""
    sums: dict[tuple[tuple[str, ...], int], list[int]] = {}
    last: dict[tuple[tuple[str, ...], int], Entry] = {}
    for item in batch:
        made, opened = item.entry, item.opened
        if made is None or not opened.budgets:
            continue
        cost, aside = made.cost, opened.amount
        key = opened.budgets, made.at // QUARTER
        total = sums.setdefault(key, [0, 0])
        total[0] += cost
        total[1] += cost if cost < aside else aside
        last[key] = made
    by_budget: dict[tuple[str, int], Spent] = {}
    for (budgets, quarter), (cost, covered) in sums.items():
        made = last[budgets, quarter]
        for budget_id in budgets:
            before = by_budget.get((budget_id, quarter))
            newest = Spent(budget_id, made.at, cost, covered, made.principal)
            by_budget[budget_id, quarter] = newest if before is None else _both(before, newest)
    return list(by_budget.values())


def _both(one: Spent, other: Spent) -> Spent:
    newest = max(one, other, key=lambda item: item.at)
    return newest._replace(cost=one.cost + other.cost, covered=one.covered + other.covered)


def _threshold(connection: Connection, made: Sequence[Entry], threshold: int) -> Alerts:
    days: dict[int, tuple[int, Entry]] = {}
    for item in made:
        days[item.at // _DAY] = days.get(item.at // _DAY, (0, item))[0] + item.cost, item
    alerts: Alerts = []
    for _, (cost, last) in sorted(days.items()):
        told = count_towards_threshold(connection, threshold, cost, last.at)
        if told:
            alerts.append((last.principal, told))
    return alerts


def _draft(item: Done) -> AuditDraft:
    opened, end, charge = item.opened, item.end, item.opened.charge
    detail: dict[str, Any] = {**end.note, "door": opened.door, "key_id": charge.key_id, "task_id": charge.task_id}
    if item.entry is None:
        detail["cost_usd"] = "0"
    else:
        detail["cost_usd"] = plain_usd(item.entry.cost)
        detail["entry_id"] = item.entry.entry_id
    return draft_of(
        at=end.at,
        actor=charge.principal,
        action=f"{charge.kind}.call",
        resource=f"model:{charge.model}",
        outcome=end.code if isinstance(end, Released) else end.outcome.outcome,
        request_id=charge.request_id,
        detail=detail,
    )
