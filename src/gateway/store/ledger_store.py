"""Holds, entries, postings and balances in SQL: each method one transaction.

Locks are taken in one order everywhere: the hold, its budgets by id, the balances by account, the
day's threshold. An entry's cause is unique, which makes settling twice the same as settling once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Connection,
    Row,
    Select,
    Text,
    and_,
    case,
    delete,
    func,
    insert,
    literal_column,
    select,
    update,
)

from gateway.clock import SECOND, rfc3339
from gateway.errors import Conflict, NotFound
from gateway.ledger.budgets import subjects_of
from gateway.ledger.entry import (
    BudgetAlert,
    Charge,
    Entry,
    Hold,
    Settled,
    UsageFilter,
    UsageRow,
    VerifyReport,
    postings_of,
)
from gateway.ledger.journal import Outcome, correction_cause, correction_of, entry_of
from gateway.store.budget_store import (
    adjust_in_budgets,
    count_towards_threshold,
    release_in_budgets,
    reserve_in_budgets,
    settle_in_budgets,
    spend_in_budgets,
)
from gateway.store.dialect import insert_into, one_snapshot
from gateway.store.engine import Database
from gateway.store.ledger_check import problems_of
from gateway.store.tables import balance, entry, hold, hold_budget, posting
from gateway.store.usage_rollups import add_usage

_DAY = 86_400 * SECOND


class _Intent(msgspec.Struct, frozen=True):
    """What a hold row remembers of the call it stands for."""

    charge: Charge
    card: str


class SqlLedgerStore:
    """Keeps the ledger; see ``ledger.cost_tracker.LedgerStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def reserve(self, new: Hold, charge: Charge, now: int, *, budgets: bool) -> Hold:
        values = {
            "hold_id": new.hold_id,
            "cause": new.cause,
            "state": "held",
            "amount": new.amount,
            "principal": charge.principal,
            "request": msgspec.json.encode(_Intent(charge, new.card)).decode(),
            "created_at": now,
            "expires_at": new.expires_at,
            "completed_at": None,
        }
        with self._database.begin() as connection:
            added = connection.execute(
                insert_into(connection, hold)
                .values(values)
                .on_conflict_do_nothing(index_elements=[hold.c.cause])
                .returning(hold.c.hold_id)
            ).one_or_none()
            if added is None:
                row = connection.execute(select(hold).where(hold.c.cause == new.cause).with_for_update()).one()
                if row.state == "held":
                    return _hold_of(row)
                if row.state != "released":
                    raise Conflict(
                        "this call was charged already", mend="use a new cause for a new call", cause=new.cause
                    )
                new = msgspec.structs.replace(new, hold_id=row.hold_id)
                connection.execute(delete(hold_budget).where(hold_budget.c.hold_id == row.hold_id))
                connection.execute(
                    update(hold).where(hold.c.hold_id == row.hold_id).values({**values, "hold_id": row.hold_id})
                )
            if budgets:
                reserve_in_budgets(connection, subjects_of(charge), new.hold_id, new.amount, now)
        return new

    def settle(self, hold_id: str, entry_id: str, outcome: Outcome, now: int, *, threshold: int | None) -> Settled:
        with self._database.begin() as connection:
            row = _end_hold(connection, hold_id, "settled", now)
            if row is None:
                return _settle_again(connection, hold_id, entry_id, outcome, now, threshold)
            intent = msgspec.json.decode(row.request, type=_Intent)
            made = entry_of(entry_id, intent.charge, outcome, card=intent.card, hold_id=hold_id, at=now)
            alerts = settle_in_budgets(connection, hold_id, made.cost, now)
            return Settled(made, alerts + _enter(connection, made, threshold))

    def resolve(self, hold_id: str, entry_id: str, now: int, *, threshold: int | None) -> Settled | None:
        with self._database.begin() as connection:
            row = _end_hold(connection, hold_id, "unresolved", now, only_expired=True)
            if row is None:
                return None
            intent = msgspec.json.decode(row.request, type=_Intent)
            outcome = Outcome(cost=row.amount, outcome="unresolved", basis="estimated")
            made = entry_of(entry_id, intent.charge, outcome, card=intent.card, hold_id=hold_id, at=now)
            alerts = settle_in_budgets(connection, hold_id, made.cost, now)
            return Settled(made, alerts + _enter(connection, made, threshold))

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

    def release(self, hold_id: str, now: int) -> bool:
        with self._database.begin() as connection:
            if _end_hold(connection, hold_id, "released", now) is None:
                return False
            release_in_budgets(connection, hold_id)
            return True

    def renew(self, hold_id: str, expires_at: int) -> bool:
        with self._database.begin() as connection:
            moved = connection.execute(
                update(hold)
                .where(hold.c.hold_id == hold_id, hold.c.state == "held")
                .values(expires_at=expires_at)
                .returning(hold.c.hold_id)
            )
            return moved.first() is not None

    def expired(self, now: int, limit: int) -> list[str]:
        with self._database.read() as connection:
            found = connection.scalars(
                select(hold.c.hold_id)
                .where(hold.c.state == "held", hold.c.expires_at <= now)
                .order_by(hold.c.expires_at)
                .limit(limit)
            )
            return list(found)

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


def _end_hold(
    connection: Connection, hold_id: str, state: str, now: int, *, only_expired: bool = False
) -> Row[Any] | None:
    """The hold's row if it stood and has now ended, locked until commit; else ``None``."""
    query = update(hold).where(hold.c.hold_id == hold_id, hold.c.state == "held")
    if only_expired:
        query = query.where(hold.c.expires_at <= now)
    return connection.execute(
        query.values(state=state, completed_at=now).returning(hold.c.amount, hold.c.request)
    ).one_or_none()


def _settle_again(
    connection: Connection, hold_id: str, entry_id: str, outcome: Outcome, now: int, threshold: int | None
) -> Settled:
    """What settling an ended hold gives: its first entry, or the correction of an unresolved one."""
    row = connection.execute(select(hold).where(hold.c.hold_id == hold_id).with_for_update()).one_or_none()
    if row is None:
        raise NotFound("no hold has that id", param="hold_id")
    if row.state == "released":
        raise Conflict("the hold was released: nothing can be charged to it", hold_id=hold_id)
    first = _entry_by_cause(connection, row.cause)
    if row.state == "settled":
        return Settled(first, repeated=True)
    done = connection.execute(select(entry).where(entry.c.cause == correction_cause(row.cause))).one_or_none()
    if done is not None:
        return Settled(_entry_of(done), repeated=True)
    intent = msgspec.json.decode(row.request, type=_Intent)
    late = entry_of(entry_id, intent.charge, outcome, card=intent.card, hold_id=hold_id, at=now)
    correction = correction_of(first, late)
    alerts = adjust_in_budgets(connection, hold_id, correction.cost, now)
    return Settled(correction, alerts + _enter(connection, correction, threshold))


def _enter(connection: Connection, made: Entry, threshold: int | None) -> tuple[BudgetAlert, ...]:
    connection.execute(insert(entry).values(msgspec.structs.asdict(made)))
    return _post(connection, made, threshold)


def _post(connection: Connection, made: Entry, threshold: int | None) -> tuple[BudgetAlert, ...]:
    """The postings of an entry, the balances they move, and the day's alert if it is due."""
    postings = postings_of(made)
    connection.execute(insert(posting), [msgspec.structs.asdict(item) for item in postings])
    for item in sorted(postings, key=lambda item: item.account):
        connection.execute(
            insert_into(connection, balance)
            .values(account=item.account, amount=item.amount, entries=1)
            .on_conflict_do_update(
                index_elements=[balance.c.account],
                set_={"amount": balance.c.amount + item.amount, "entries": balance.c.entries + 1},
            )
        )
    add_usage(connection, (made,))
    return () if threshold is None else count_towards_threshold(connection, threshold, made.cost, made.at)


def _entry_by_cause(connection: Connection, cause: str) -> Entry:
    return _entry_of(connection.execute(select(entry).where(entry.c.cause == cause)).one())


def _entry_of(row: Row[Any]) -> Entry:
    return Entry(**row._mapping)


def _hold_of(row: Row[Any]) -> Hold:
    card = msgspec.json.decode(row.request, type=_Intent).card
    return Hold(row.hold_id, row.cause, row.amount, card, row.state, row.expires_at)


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
