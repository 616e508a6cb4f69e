"""Ended calls as rows: entries, postings, balances, budgets, shares, audit records, and the journal's mark.

Locks are taken in the order of the whole store: budgets by id, balances by account, sums of usage by series,
the day's threshold, the audit trail's end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from gateway.clock import SECOND
from gateway.ledger.entry import BudgetAlert, Entry
from gateway.ledger.intents import Done, Released
from gateway.ledger.savings import Saving, savings_of_note
from gateway.money import plain_usd
from gateway.security.audit import AuditDraft, AuditRecord, draft_of
from gateway.store.audit_store import append_records
from gateway.store.budget_leases import spend_from_share
from gateway.store.budget_store import count_towards_threshold
from gateway.store.dialect import insert_into, insert_rows
from gateway.store.engine import Database
from gateway.store.tables import balance, entry, journal_mark, posting
from gateway.store.usage_rollups import add_usage

_DAY = 86_400 * SECOND

Alerts = list[tuple[str, tuple[BudgetAlert, ...]]]


def enter_calls(
    database: Database, journal: str, batch: Sequence[Done], threshold: int | None
) -> tuple[Alerts, AuditRecord | None]:
    """One transaction for all of them. The alerts that they set off (each with whose call did), and the last
    audit record. A call that is in the ledger already is left out; a cause that another call was charged
    for gets a name of its own, for both were made."""
    position = max(item.position for item in batch)
    try:
        with database.begin() as connection:
            _mark(connection, journal, position)
            return _enter(connection, journal, batch, threshold)
    except IntegrityError:
        with database.begin() as connection:
            _mark(connection, journal, position)
            return _enter(connection, journal, _new(connection, batch), threshold)


def _new(connection: Connection, batch: Sequence[Done]) -> list[Done]:
    """The calls that are not entered yet, with causes that nobody has."""
    causes = [item.entry.cause for item in batch if item.entry is not None]
    rows = connection.execute(select(entry.c.cause, entry.c.hold_id).where(entry.c.cause.in_(causes)))
    taken: dict[str, str | None] = {row.cause: row.hold_id for row in rows}
    fresh: list[Done] = []
    for item in batch:
        made = item.entry
        if made is not None and made.cause in taken:
            if taken[made.cause] == made.hold_id:
                continue
            made = msgspec.structs.replace(made, cause=f"{made.cause}#{made.hold_id}")
            item = msgspec.structs.replace(item, entry=made)  # noqa: PLW2901 - the same call by another name
        if made is not None:
            taken[made.cause] = made.hold_id
        fresh.append(item)
    return fresh


def _enter(
    connection: Connection, journal: str, batch: Sequence[Done], threshold: int | None
) -> tuple[Alerts, AuditRecord | None]:
    made = [item.entry for item in batch if item.entry is not None]
    alerts: Alerts = []
    if made:
        insert_rows(connection, entry, Entry.__struct_fields__, [msgspec.structs.astuple(item) for item in made])
        rows = [(item.entry_id, *row) for item in made for row in _postings(item)]
        insert_rows(connection, posting, ("entry_id", "account", "amount"), rows)
        alerts += _spend(connection, journal, batch)
        _balance(connection, made)
        add_usage(connection, made, _saved(batch))
        if threshold is not None:
            alerts += _threshold(connection, made, threshold)
    records = append_records(connection, [_draft(item) for item in batch]) if batch else []
    return alerts, records[-1] if records else None


def _saved(batch: Sequence[Done]) -> list[tuple[Entry, Saving]]:
    found = [(item.entry, item.end.note) for item in batch if item.entry is not None and "saved" in item.end.note]
    return [(made, told) for made, note in found for told in savings_of_note(note)]


def _postings(made: Entry) -> tuple[tuple[str, int], tuple[str, int]]:
    """Accounts and amounts: see ``ledger.entry.postings_of``."""
    return (f"caller:{made.principal}", made.cost), (f"provider:{made.provider}", -made.cost)


def _spend(connection: Connection, journal: str, batch: Sequence[Done]) -> Alerts:
    """What each budget paid, window by window."""
    costs: dict[tuple[str, int], tuple[int, int, str]] = {}
    for item in batch:
        if item.entry is None:
            continue
        for budget_id in item.opened.budgets:
            key = budget_id, item.entry.at // _DAY
            before = costs.get(key, (0, 0, ""))[0]
            costs[key] = before + item.entry.cost, item.entry.at, item.entry.principal
    alerts: Alerts = []
    for (budget_id, _), (cost, at, principal) in sorted(costs.items()):
        told = spend_from_share(connection, journal, budget_id, cost, at)
        if told:
            alerts.append((principal, told))
    return alerts


def _balance(connection: Connection, made: Sequence[Entry]) -> None:
    sums: dict[str, list[int]] = {}
    for item in made:
        for account, amount in _postings(item):
            total = sums.setdefault(account, [0, 0])
            total[0] += amount
            total[1] += 1
    for account, (amount, count) in sorted(sums.items()):
        connection.execute(
            insert_into(connection, balance)
            .values(account=account, amount=amount, entries=count)
            .on_conflict_do_update(
                index_elements=[balance.c.account],
                set_={"amount": balance.c.amount + amount, "entries": balance.c.entries + count},
            )
        )


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
    detail: dict[str, Any] = dict(end.note)
    if item.entry is not None:
        detail["entry_id"] = item.entry.entry_id
    detail |= {
        "cost_usd": "0" if item.entry is None else plain_usd(item.entry.cost),
        "door": opened.door,
        "key_id": charge.key_id,
        "task_id": charge.task_id,
    }
    return draft_of(
        at=end.at,
        actor=charge.principal,
        action=f"{charge.kind}.call",
        resource=f"model:{charge.model}",
        outcome=end.code if isinstance(end, Released) else end.outcome.outcome,
        request_id=charge.request_id,
        detail=detail,
    )


def _mark(connection: Connection, journal: str, position: tuple[int, int]) -> None:
    values: Mapping[str, int] = {"segment": position[0], "applied": position[1]}
    connection.execute(
        insert_into(connection, journal_mark)
        .values(journal=journal, **values)
        .on_conflict_do_update(index_elements=[journal_mark.c.journal], set_=dict(values))
    )
