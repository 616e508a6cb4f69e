"""Entries, postings and balances in SQL: each method one transaction. (Calls are entered by ``call_entries``.)

Locks are taken in one order everywhere: budgets by id, the balances by account, the day's threshold. An
entry's cause is unique, which makes recording twice the same as recording once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Connection, Row, Select, Text, and_, case, func, literal_column, select

from gateway.clock import SECOND, rfc3339
from gateway.ledger.budgets import subjects_of
from gateway.ledger.entry import (
    BudgetAlert,
    Charge,
    Entry,
    Settled,
    UsageFilter,
    UsageRow,
    VerifyReport,
)
from gateway.ledger.outcome import Outcome, entry_of
from gateway.store.budget_store import count_towards_threshold, spend_in_budgets
from gateway.store.dialect import insert_into, one_snapshot
from gateway.store.engine import Database
from gateway.store.ledger_check import problems_of
from gateway.store.postings import post
from gateway.store.tables import entry
from gateway.store.usage_rollups import add_usage

_DAY = 86_400 * SECOND


class SqlLedgerStore:
    """Keeps the ledger; see ``ledger.cost_tracker.LedgerStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(
        self,
        charge: Charge,
        card: str,
        entry_id: str,
        outcome: Outcome,
        now: int,
        *,
        budgets: bool,
        threshold: int | None,
    ) -> Settled:
        made = entry_of(entry_id, charge, outcome, card=card, hold_id=None, at=now)
        with self._database.begin() as connection:
            added = connection.execute(
                insert_into(connection, entry)
                .values(msgspec.structs.asdict(made))
                .on_conflict_do_nothing(index_elements=[entry.c.cause])
                .returning(entry.c.entry_id)
            ).one_or_none()
            if added is None:
                return Settled(_entry_by_cause(connection, charge.cause), repeated=True)
            alerts = spend_in_budgets(connection, subjects_of(charge), made.cost, now) if budgets else ()
            return Settled(made, alerts + _post(connection, made, threshold))

    def verify(self, now: int) -> VerifyReport:
        with self._database.read() as connection:
            one_snapshot(connection)
            count = connection.scalar(select(func.count()).select_from(entry)) or 0
            problems = problems_of(connection, now)
        return VerifyReport(not problems, count, tuple(problems[:100]))

    def summary(self, where: UsageFilter, by: Sequence[str]) -> list[UsageRow]:
        # Literals, not parameters: PostgreSQL must see the same expression in GROUP BY.
        groups = [
            (
                entry.c.at // literal_column(str(_DAY), BigInteger)
                if name == "day"
                else func.coalesce(entry.c[name], literal_column("''", Text))
            ).label(f"by_{name}")
            for name in by
        ]
        sums = (
            "input_tokens",
            "output_tokens",
            "cached_tokens",
            "reasoning_tokens",
            "inference_micros",
            "rows",
            "cost",
        )
        query = select(
            *groups,
            func.coalesce(func.sum(case((entry.c.kind == "correction", 0), else_=1)), 0).label("calls"),
            *(func.coalesce(func.sum(entry.c[name]), 0).label(f"sum_{name}") for name in sums),
        )
        query = _filtered(query, where).group_by(*groups).order_by(*groups)
        with self._database.read() as connection:
            found = connection.execute(query).mappings().all()
        return [
            UsageRow(
                {
                    name: rfc3339(int(row[f"by_{name}"]) * _DAY)[:10] if name == "day" else row[f"by_{name}"]
                    for name in by
                },
                int(row["calls"]),
                *(int(row[f"sum_{name}"]) for name in sums),
            )
            for row in found
        ]

    def entries(self, where: UsageFilter, *, after: str | None, limit: int) -> list[Entry]:
        query = _filtered(select(entry), where).order_by(entry.c.entry_id.desc()).limit(limit)
        if after is not None:
            query = query.where(entry.c.entry_id < after)
        with self._database.read() as connection:
            return [_entry_of(row) for row in connection.execute(query)]


def _post(connection: Connection, made: Entry, threshold: int | None) -> tuple[BudgetAlert, ...]:
    """The postings of an entry, the balances they move, and the day's alert if it is due."""
    post(connection, (made,))
    add_usage(connection, (made,))
    return () if threshold is None else count_towards_threshold(connection, threshold, made.cost, made.at)


def _entry_by_cause(connection: Connection, cause: str) -> Entry:
    return _entry_of(connection.execute(select(entry).where(entry.c.cause == cause)).one())


def _entry_of(row: Row[Any]) -> Entry:
    return Entry(**row._mapping)


def _filtered(query: Select[Any], where: UsageFilter) -> Select[Any]:
    conditions = [
        entry.c[name] == value
        for name in (
            "principal",
            "key_id",
            "team",
            "model",
            "provider",
            "kind",
            "run_id",
            "task_id",
            "request_id",
            "entry_id",
        )
        if (value := getattr(where, name)) is not None
    ]
    if where.since is not None:
        conditions.append(entry.c.at >= where.since)
    if where.until is not None:
        conditions.append(entry.c.at < where.until)
    return query.where(and_(*conditions)) if conditions else query
