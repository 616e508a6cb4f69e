"""Budgets in SQL, and what is spent of them.

Whoever changes what a budget has spent or reserved locks its row first, so no number of processes can pass
a cap together. Budgets are always locked in the order of their ids, so two that share several never wait
for each other in a ring.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, select, tuple_, update

from gateway.errors import ValidationFailed
from gateway.ledger.budget import DENIED, THRESHOLD_ID, THRESHOLD_SCOPE, Budget, Spending
from gateway.ledger.entry import BudgetAlert
from gateway.ledger.windows import window_start
from gateway.money import MAX_UNITS
from gateway.store.dialect import insert_into
from gateway.store.engine import Database, next_value
from gateway.store.many_rows import update_rows
from gateway.store.tables import budget as table

#: The counter that counts the changes of which budgets are in force.
VERSION = "budgets"
#: What spending changes of a budget, after which budget it is.
_SPENDING = (
    "budget_id", "limit_units", "window_start", "spent", "reserved", "alerted", "slots", "extra", "asked",
)  # fmt: skip


class SqlBudgetStore:
    """Keeps budgets; see ``ledger.budgets.BudgetStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def insert(self, budget: Budget) -> None:
        with self._database.begin() as connection:
            again = {"active": True, "limit_units": budget.limit}
            new = insert_into(connection, table).values(values_of(budget))
            connection.execute(new.on_conflict_do_update(index_elements=[table.c.budget_id], set_=again))
            next_value(connection, VERSION)

    def get(self, budget_id: str) -> Budget | None:
        with self._database.read() as connection:
            row = connection.execute(select(table).where(table.c.budget_id == budget_id)).one_or_none()
        return None if row is None else budget_of(row)

    def list(
        self, *, scope: str | None, subject: str | None, active: bool | None, parent: str | None = None,
        limit: int | None = None,
    ) -> list[Budget]:  # fmt: skip
        newest = (table.c.created_at.desc(), table.c.budget_id.desc())
        query = select(table).order_by(*(newest if active is False else (table.c.budget_id,))).limit(limit)
        query = query.where(table.c.parent.is_(None) if parent is None else table.c.parent == parent)
        for column, value in ((table.c.scope, scope), (table.c.subject, subject), (table.c.active, active)):
            if value is not None:
                query = query.where(column == value)
        with self._database.read() as connection:
            return [budget_of(row) for row in connection.execute(query)]

    def deactivate(self, budget_id: str) -> bool:
        with self._database.begin() as connection:
            ended = connection.execute(
                update(table)
                .where(table.c.budget_id == budget_id, table.c.active)
                .values(active=False)
                .returning(table.c.budget_id)
            )
            found = ended.first() is not None
            connection.execute(update(table).where(table.c.parent == budget_id).values(active=False))
            next_value(connection, VERSION)
            return found

    def decide(self, budget_id: str, extra: int, now: int) -> Budget | None:
        with self._database.begin() as connection:
            spending = lock_budgets(connection, [budget_id]).get(budget_id)
            if spending is None or not spending.budget.active:
                return None
            budget = spending.budget.as_of(now)
            if budget.window_start != spending.budget.window_start:
                spending.alerted = ()
            if budget.cap + extra > MAX_UNITS:
                raise ValidationFailed("amount_usd: no window spends more than 900 million USD", param="amount_usd")
            asked = 0 if extra else DENIED
            spending.budget = msgspec.structs.replace(budget, extra=budget.extra + extra, asked=asked)
            write_spendings(connection, [spending])
            next_value(connection, VERSION)
            return spending.budget


def lock_budgets(connection: Connection, budget_ids: Iterable[str]) -> dict[str, Spending]:
    """The budgets as they stand, until the transaction ends."""
    wanted = sorted(set(budget_ids))
    if not wanted:
        return {}
    query = select(table).where(table.c.budget_id.in_(wanted)).order_by(table.c.budget_id).with_for_update()
    return {
        row.budget_id: Spending(budget_of(row), msgspec.json.decode(row.alerted, type=tuple[str, ...]))
        for row in connection.execute(query)
    }


def lock_bound(connection: Connection, subjects: Sequence[tuple[str, str]]) -> dict[str, Spending]:
    """Every budget of the subjects that is in force, as it stands, until the transaction ends."""
    bound = select(table.c.budget_id).where(
        tuple_(table.c.scope, table.c.subject).in_(subjects), table.c.active, table.c.window != "run"
    )
    return lock_budgets(connection, connection.scalars(bound))


def lock_threshold(connection: Connection, threshold: int, now: int) -> Spending:
    """The day's total of the whole gateway, as a budget of ``threshold``. To be locked after all others."""
    found = lock_budgets(connection, [THRESHOLD_ID])
    if not found:
        current = window_start("day", now)
        whole = Budget(
            THRESHOLD_ID, THRESHOLD_SCOPE, "*", "day", threshold, current, "gateway", now, alert_shares=("1",)
        )
        connection.execute(insert_into(connection, table).values(values_of(whole)).on_conflict_do_nothing())
        found = lock_budgets(connection, [THRESHOLD_ID])
    spending = found[THRESHOLD_ID]
    spending.budget = msgspec.structs.replace(spending.budget, limit=threshold)
    return spending


def write_spendings(connection: Connection, spendings: Iterable[Spending]) -> None:
    """Keeps what was spent of budgets that this transaction has locked."""
    rows = [
        (
            spending.budget.budget_id,
            spending.budget.limit,
            spending.budget.window_start,
            spending.budget.spent,
            spending.budget.reserved,
            msgspec.json.encode(spending.alerted).decode(),
            msgspec.json.encode(spending.budget.slots).decode(),
            spending.budget.extra,
            spending.budget.asked,
        )
        for spending in spendings
    ]
    update_rows(connection, table, _SPENDING, rows)


def spend_in_budgets(
    connection: Connection, subjects: Sequence[tuple[str, str]], cost: int, now: int
) -> tuple[BudgetAlert, ...]:
    """Adds ``cost``, which was never reserved, to every active budget of the subjects."""
    spendings = lock_bound(connection, subjects)
    alerts = [alert for spending in spendings.values() for alert in spending.spend(cost, now)]
    write_spendings(connection, spendings.values())
    return tuple(alerts)


def count_towards_threshold(connection: Connection, threshold: int, cost: int, now: int) -> tuple[BudgetAlert, ...]:
    """Adds ``cost`` to the day's total of the whole gateway; the alert if it passes ``threshold`` now."""
    spending = lock_threshold(connection, threshold, now)
    alerts = spending.spend(cost, now)
    write_spendings(connection, [spending])
    return alerts


def budget_of(row: Row[Any]) -> Budget:
    """The budget that a row holds."""
    return Budget(
        budget_id=row.budget_id,
        scope=row.scope,
        subject=row.subject,
        window=row.window,
        limit=row.limit_units,
        window_start=row.window_start,
        created_by=row.created_by,
        created_at=row.created_at,
        spent=row.spent,
        reserved=row.reserved,
        alert_shares=msgspec.json.decode(row.alert_shares, type=tuple[str, ...]),
        active=row.active,
        time_zone=row.time_zone,
        slots=() if row.slots == "[]" else msgspec.json.decode(row.slots, type=tuple[tuple[int, int], ...]),
        at_cap=row.at_cap,
        degrade_to=() if row.degrade_to == "[]" else msgspec.json.decode(row.degrade_to, type=tuple[str, ...]),
        parent=row.parent,
        extra=row.extra,
        asked=row.asked,
    )


def values_of(budget: Budget) -> dict[str, Any]:
    return {
        "budget_id": budget.budget_id,
        "scope": budget.scope,
        "subject": budget.subject,
        "window": budget.window,
        "limit_units": budget.limit,
        "window_start": budget.window_start,
        "spent": budget.spent,
        "reserved": budget.reserved,
        "alert_shares": msgspec.json.encode(budget.alert_shares).decode(),
        "alerted": "[]",
        "created_by": budget.created_by,
        "created_at": budget.created_at,
        "active": budget.active,
        "time_zone": budget.time_zone,
        "slots": msgspec.json.encode(budget.slots).decode(),
        "at_cap": budget.at_cap,
        "degrade_to": msgspec.json.encode(budget.degrade_to).decode(),
        "parent": budget.parent,
        "extra": budget.extra,
        "asked": budget.asked,
    }
