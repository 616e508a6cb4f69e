"""Shares of budgets in SQL: what a process sets aside for calls to come counts as reserved.

A share is asked for by need. A little more is given where much is left, so that most calls need no
look at the database; near the cap exactly what is needed is given, so that nearly all of it is usable.
A budget is locked before its shares, and budgets in the order of their ids, here as everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace
from sqlalchemy import Connection, bindparam, delete, func, select, update

from gateway.clock import SECOND
from gateway.ledger.budgets import THRESHOLD_SCOPE, Budget, Spending, refusal
from gateway.ledger.entry import BudgetAlert
from gateway.store.budget_store import VERSION, budget_of, lock_budgets, write_spendings
from gateway.store.dialect import insert_into
from gateway.store.engine import Database
from gateway.store.tables import budget, budget_lease, counter

#: A share is at most this part of what is left, beyond what is needed now …
_PART_OF_LEFT = 64
#: … and at most so many times what is needed now.
_TIMES_NEEDED = 4096
#: So long a holder that seems gone is waited for, once somebody has noticed and said so.
NOTICE_SECONDS = 120


class Spent(NamedTuple):
    """What calls cost that had set money aside in a budget: ``covered`` of it out of the share."""

    budget_id: str
    at: int
    cost: int
    covered: int
    principal: str


class SqlBudgetLeases:
    """The shares of one holder (a journal's name); see ``ledger.leasing.ShareStore``."""

    def __init__(self, database: Database, holder: str) -> None:
        self._database = database
        self._holder = holder

    def version(self) -> int:
        with self._database.read() as connection:
            return connection.scalar(select(counter.c.value).where(counter.c.name == VERSION)) or 0

    def active(self) -> list[Budget]:
        query = select(budget).where(budget.c.active, budget.c.scope != THRESHOLD_SCOPE)
        with self._database.read() as connection:
            return [budget_of(row) for row in connection.execute(query)]

    def grow(self, budget_id: str, amount: int, free: int, now: int, expires_at: int) -> int | None:
        """Adds at least ``amount - free`` units to the share, of which ``free`` are not in use, and returns how
        many; ``None`` where the budget is no longer in force. ``BudgetExceeded`` where it has not so much left."""
        with self._database.begin() as connection:
            stands = lock_budgets(connection, [budget_id])[budget_id].budget.as_of(now)
            if not stands.active:
                return None
            left, needed = stands.limit - stands.spent - stands.reserved, amount - free
            if left < needed:
                raise refusal(replace(stands, reserved=stands.reserved - free), amount)
            given = max(needed, min(left // _PART_OF_LEFT, needed * _TIMES_NEEDED))
            connection.execute(
                update(budget).where(budget.c.budget_id == budget_id).values(reserved=budget.c.reserved + given)
            )
            connection.execute(
                insert_into(connection, budget_lease)
                .values(holder=self._holder, budget_id=budget_id, amount=given, expires_at=expires_at)
                .on_conflict_do_update(
                    index_elements=[budget_lease.c.holder, budget_lease.c.budget_id],
                    set_={"amount": budget_lease.c.amount + given, "expires_at": expires_at},
                )
            )
        return given

    def elsewhere(self, budget_id: str) -> int:
        query = select(func.coalesce(func.sum(budget_lease.c.amount), 0)).where(
            budget_lease.c.budget_id == budget_id, budget_lease.c.holder != self._holder
        )
        with self._database.read() as connection:
            return int(connection.scalar(query) or 0)

    def shrink(self, amounts: Mapping[str, int]) -> None:
        """Returns parts of shares; never more than there is."""
        with self._database.begin() as connection:
            spendings = lock_budgets(connection, amounts)
            _take_from_shares(connection, self._holder, spendings, amounts)
            write_spendings(connection, spendings.values())

    def beat(self, expires_at: int) -> dict[str, int]:
        """Says that the holder is alive, and what it has."""
        mine = budget_lease.c.holder == self._holder
        with self._database.begin() as connection:
            # Locked in the order of the budgets: whoever spends from shares does so too.
            query = select(budget_lease).where(mine).order_by(budget_lease.c.budget_id).with_for_update()
            leased = {row.budget_id: row.amount for row in connection.execute(query)}
            connection.execute(update(budget_lease).where(mine).values(expires_at=expires_at))
        return leased


def spend_from_shares(
    connection: Connection, holder: str, spent: Sequence[Spent]
) -> list[tuple[str, tuple[BudgetAlert, ...]]]:
    """Turns shares into spending. The alerts that it sets off, each with whose call did."""
    covered: dict[str, int] = {}
    for item in spent:
        covered[item.budget_id] = covered.get(item.budget_id, 0) + item.covered
    spendings = lock_budgets(connection, covered)
    _take_from_shares(connection, holder, spendings, covered)
    alerts = []
    for item in sorted(spent):
        told = spendings[item.budget_id].spend(item.cost, item.at)
        if told:
            alerts.append((item.principal, told))
    write_spendings(connection, spendings.values())
    return alerts


def end_shares(connection: Connection, holder: str) -> None:
    """Returns all that a holder has."""
    mine = budget_lease.c.holder == holder
    spendings = lock_budgets(connection, connection.scalars(select(budget_lease.c.budget_id).where(mine)))
    leased = _leased(connection, holder)
    _take_from_shares(connection, holder, spendings, {budget_id: leased.get(budget_id, 0) for budget_id in spendings})
    write_spendings(connection, spendings.values())
    connection.execute(delete(budget_lease).where(mine, budget_lease.c.amount == 0))


def doubtful_holders(connection: Connection, now: int) -> list[str]:
    """Holders that have not said for a long time that they live."""
    query = select(budget_lease.c.holder).where(budget_lease.c.expires_at <= now).distinct()
    return list(connection.scalars(query))


def give_notice(connection: Connection, holder: str, now: int) -> bool:
    """Whether a doubtful holder has had notice for so long that its shares may go to others. The first time
    it is given notice: one that was only cut off from the database says now that it lives."""
    mine = budget_lease.c.holder == holder
    expiries = connection.scalars(select(budget_lease.c.expires_at).where(mine)).all()
    noticed = [-at for at in expiries if at < 0]
    if not noticed:
        connection.execute(update(budget_lease).where(mine).values(expires_at=-now))
        return False
    return bool(max(noticed) <= now - NOTICE_SECONDS * SECOND)


def _leased(connection: Connection, holder: str) -> dict[str, int]:
    query = select(budget_lease.c.budget_id, budget_lease.c.amount).where(budget_lease.c.holder == holder)
    return {row.budget_id: row.amount for row in connection.execute(query)}


def _take_from_shares(
    connection: Connection, holder: str, spendings: Mapping[str, Spending], amounts: Mapping[str, int]
) -> None:
    """Takes ``amounts`` out of a holder's shares of locked budgets, or what there is, and out of ``reserved``."""
    leased = _leased(connection, holder)
    taken: dict[str, int] = {}
    for budget_id, amount in sorted(amounts.items()):
        least = min(leased.get(budget_id, 0), amount)
        if least > 0:
            taken[budget_id] = least
            spendings[budget_id].unreserve(least)
    if taken:
        connection.execute(
            update(budget_lease)
            .where(budget_lease.c.holder == holder, budget_lease.c.budget_id == bindparam("of"))
            .values(amount=budget_lease.c.amount - bindparam("taken")),
            [{"of": budget_id, "taken": amount} for budget_id, amount in taken.items()],
        )
