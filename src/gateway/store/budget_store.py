"""Budgets in SQL, and the guarded updates that keep them hard caps.

A reservation is one ``UPDATE … WHERE spent + reserved + amount <= limit``: the database decides, row
locked, so no number of processes can pass the cap together. Budgets are always locked in the order
of their ids, so two calls that share several never wait for each other in a ring.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, case, insert, select, tuple_, update

from gateway.ledger.budgets import THRESHOLD_ID, THRESHOLD_SCOPE, Budget, crossed, refusal, window_start
from gateway.ledger.entry import BudgetAlert
from gateway.store.dialect import insert_into
from gateway.store.engine import Database, next_value
from gateway.store.tables import budget as table
from gateway.store.tables import hold_budget

#: The counter that counts the changes of which budgets are in force.
VERSION = "budgets"


class SqlBudgetStore:
    """Keeps budgets; see ``ledger.budgets.BudgetStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def insert(self, budget: Budget) -> None:
        with self._database.begin() as connection:
            connection.execute(insert(table).values(_values(budget)))
            next_value(connection, VERSION)

    def get(self, budget_id: str) -> Budget | None:
        with self._database.read() as connection:
            row = connection.execute(select(table).where(table.c.budget_id == budget_id)).one_or_none()
        return None if row is None else budget_of(row)

    def list(self, *, scope: str | None, subject: str | None, active: bool | None) -> list[Budget]:
        query = select(table).order_by(table.c.budget_id)
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
            next_value(connection, VERSION)
            return found


def reserve_in_budgets(
    connection: Connection, subjects: Sequence[tuple[str, str]], hold_id: str, amount: int, now: int
) -> None:
    """Reserves ``amount`` in every active budget of the subjects, or raises ``BudgetExceeded`` for the
    first that does not cover it; the caller's transaction must then roll back."""
    for row in _binding(connection, subjects):
        current = window_start(row.window, now)
        spent = _if_rolled(current, 0, table.c.spent)
        taken = connection.execute(
            update(table)
            .where(table.c.budget_id == row.budget_id, table.c.active)
            .where(spent + table.c.reserved + amount <= table.c.limit_units)
            .values(reserved=table.c.reserved + amount, spent=spent, **_rolled(current))
            .returning(table.c.window_start)
        ).one_or_none()
        if taken is None:
            now_row = connection.execute(select(table).where(table.c.budget_id == row.budget_id)).one()
            if now_row.active:
                raise refusal(budget_of(now_row).as_of(now), amount)
            continue  # ended by somebody since we looked: it binds no more
        connection.execute(
            insert(hold_budget).values(
                hold_id=hold_id, budget_id=row.budget_id, window_start=taken.window_start, amount=amount
            )
        )


def settle_in_budgets(connection: Connection, hold_id: str, cost: int, now: int) -> tuple[BudgetAlert, ...]:
    """Turns a hold's reservations into ``cost`` spent, in the window that runs ``now``."""
    alerts: list[BudgetAlert] = []
    for row in _held(connection, hold_id):
        alerts += spend(connection, row.budget_id, row.window, reserved=row.amount, cost=cost, now=now)
    return tuple(alerts)


def adjust_in_budgets(connection: Connection, hold_id: str, difference: int, now: int) -> tuple[BudgetAlert, ...]:
    """Adds a correction to what a settled hold spent; a refund never takes a window below zero."""
    alerts: list[BudgetAlert] = []
    for row in _held(connection, hold_id):
        alerts += spend(connection, row.budget_id, row.window, reserved=0, cost=difference, now=now)
    return tuple(alerts)


def spend_in_budgets(
    connection: Connection, subjects: Sequence[tuple[str, str]], cost: int, now: int
) -> tuple[BudgetAlert, ...]:
    """Adds ``cost``, which was never reserved, to every active budget of the subjects."""
    alerts: list[BudgetAlert] = []
    for row in _binding(connection, subjects):
        alerts += spend(connection, row.budget_id, row.window, reserved=0, cost=cost, now=now)
    return tuple(alerts)


def release_in_budgets(connection: Connection, hold_id: str) -> None:
    """Gives a hold's reservations back."""
    for row in _held(connection, hold_id):
        connection.execute(
            update(table).where(table.c.budget_id == row.budget_id).values(reserved=table.c.reserved - row.amount)
        )


def count_towards_threshold(connection: Connection, threshold: int, cost: int, now: int) -> tuple[BudgetAlert, ...]:
    """Adds ``cost`` to the day's total of the whole gateway; the alert if it passes ``threshold`` now."""
    current = window_start("day", now)
    first = Budget(
        THRESHOLD_ID,
        THRESHOLD_SCOPE,
        "*",
        "day",
        threshold,
        current,
        "gateway",
        now,
        spent=max(cost, 0),
        alert_shares=("1",),
    )
    row = connection.execute(
        insert_into(connection, table)
        .values(_values(first))
        .on_conflict_do_update(
            index_elements=[table.c.budget_id],
            set_={"limit_units": threshold, "spent": _spent_after(current, cost), **_rolled(current)},
        )
        .returning(table)
    ).one()
    return _alert(connection, row)


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
    )


def _binding(connection: Connection, subjects: Sequence[tuple[str, str]]) -> Sequence[Any]:
    return connection.execute(
        select(table.c.budget_id, table.c.window)
        .where(tuple_(table.c.scope, table.c.subject).in_(subjects), table.c.active)
        .order_by(table.c.budget_id)
    ).all()


def _held(connection: Connection, hold_id: str) -> Sequence[Any]:
    return connection.execute(
        select(hold_budget.c.budget_id, hold_budget.c.amount, table.c.window)
        .join(table, table.c.budget_id == hold_budget.c.budget_id)
        .where(hold_budget.c.hold_id == hold_id)
        .order_by(hold_budget.c.budget_id)
    ).all()


def spend(
    connection: Connection, budget_id: str, window: str, *, reserved: int, cost: int, now: int
) -> tuple[BudgetAlert, ...]:
    """Turns ``reserved`` into ``cost`` spent in the window that runs ``now``; the alerts that it sets off."""
    current = window_start(window, now)
    row = connection.execute(
        update(table)
        .where(table.c.budget_id == budget_id)
        .values(reserved=table.c.reserved - reserved, spent=_spent_after(current, cost), **_rolled(current))
        .returning(table)
    ).one()
    return _alert(connection, row)


def _alert(connection: Connection, row: Row[Any]) -> tuple[BudgetAlert, ...]:
    alerted = msgspec.json.decode(row.alerted, type=tuple[str, ...])
    alerts = crossed(budget_of(row), alerted)
    if alerts:
        told = [*alerted, *(alert.share for alert in alerts)]
        connection.execute(
            update(table).where(table.c.budget_id == row.budget_id).values(alerted=msgspec.json.encode(told).decode())
        )
    return alerts


def _if_rolled(current: int, then: Any, otherwise: Any) -> ColumnElement[Any]:
    """One value where the row's window has ended, the other where it still runs."""
    return case((table.c.window_start < current, then), else_=otherwise)


def _rolled(current: int) -> dict[str, ColumnElement[Any]]:
    return {
        "window_start": _if_rolled(current, current, table.c.window_start),
        "alerted": _if_rolled(current, "[]", table.c.alerted),
    }


def _spent_after(current: int, cost: int) -> ColumnElement[Any]:
    return case(
        (table.c.window_start < current, max(cost, 0)),
        (table.c.spent + cost < 0, 0),
        else_=table.c.spent + cost,
    )


def _values(budget: Budget) -> dict[str, Any]:
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
    }
