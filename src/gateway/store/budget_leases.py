"""Shares of budgets in SQL: what a process sets aside for calls to come counts as reserved.

A share is asked for by need. A little more is given where much is left, so that most calls need no
look at the database; near the cap exactly what is needed is given, so that nearly all of it is usable.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, delete, func, select, update

from gateway.ledger.budgets import THRESHOLD_SCOPE, Budget, refusal
from gateway.ledger.entry import BudgetAlert
from gateway.store.budget_store import VERSION, budget_of, spend
from gateway.store.dialect import insert_into
from gateway.store.engine import Database
from gateway.store.tables import budget, budget_lease, counter

#: A share is at most this part of what is left, beyond what is needed now …
_PART_OF_LEFT = 64
#: … and at most so many times what is needed now.
_TIMES_NEEDED = 4096


class SqlBudgetLeases:
    """The shares of one holder (a journal's name)."""

    def __init__(self, database: Database, holder: str) -> None:
        self._database = database
        self._holder = holder

    def version(self) -> int:
        """A number that changes whenever a budget is set or ended."""
        with self._database.read() as connection:
            return connection.scalar(select(counter.c.value).where(counter.c.name == VERSION)) or 0

    def active(self) -> list[Budget]:
        """Every budget in force."""
        query = select(budget).where(budget.c.active, budget.c.scope != THRESHOLD_SCOPE)
        with self._database.read() as connection:
            return [budget_of(row) for row in connection.execute(query)]

    def grow(self, budget_id: str, needed: int, now: int, expires_at: int) -> int | None:
        """Adds at least ``needed`` units to the share and returns how many; ``None`` where the budget is no
        longer in force. ``BudgetExceeded`` where it has not so much left."""
        with self._database.begin() as connection:
            row = connection.execute(select(budget).where(budget.c.budget_id == budget_id).with_for_update()).one()
            if not row.active:
                return None
            stands = budget_of(row).as_of(now)
            left = stands.limit - stands.spent - stands.reserved
            if left < needed:
                raise refusal(stands, needed)
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
        """Units of the budget that other processes have set aside."""
        query = select(func.coalesce(func.sum(budget_lease.c.amount), 0)).where(
            budget_lease.c.budget_id == budget_id, budget_lease.c.holder != self._holder
        )
        with self._database.read() as connection:
            return int(connection.scalar(query) or 0)

    def shrink(self, amounts: Mapping[str, int], expires_at: int) -> None:
        """Returns parts of shares, and says that the holder is alive."""
        with self._database.begin() as connection:
            for budget_id, amount in sorted(amounts.items()):
                _unreserve(connection, self._holder, budget_id, amount)
            connection.execute(
                update(budget_lease).where(budget_lease.c.holder == self._holder).values(expires_at=expires_at)
            )


def spend_from_share(
    connection: Connection, holder: str, budget_id: str, cost: int, now: int
) -> tuple[BudgetAlert, ...]:
    """Turns ``cost`` of a share into spending."""
    # The budget is locked before the share, here as everywhere.
    window = connection.scalar(select(budget.c.window).where(budget.c.budget_id == budget_id).with_for_update())
    where = (budget_lease.c.holder == holder, budget_lease.c.budget_id == budget_id)
    leased = connection.scalar(select(budget_lease.c.amount).where(*where)) or 0
    covered = min(leased, cost)
    if covered > 0:
        connection.execute(update(budget_lease).where(*where).values(amount=budget_lease.c.amount - covered))
    return spend(connection, budget_id, str(window), reserved=covered, cost=cost, now=now)


def end_shares(connection: Connection, holder: str) -> None:
    """Returns all that a holder has."""
    for row in connection.execute(
        select(budget_lease).where(budget_lease.c.holder == holder).order_by(budget_lease.c.budget_id)
    ).all():
        connection.execute(
            update(budget).where(budget.c.budget_id == row.budget_id).values(reserved=budget.c.reserved - row.amount)
        )
    connection.execute(delete(budget_lease).where(budget_lease.c.holder == holder))


def expired_holders(connection: Connection, now: int) -> list[str]:
    """Holders that have not said for a long time that they live: their journals are lost."""
    query = select(budget_lease.c.holder).where(budget_lease.c.expires_at <= now).distinct()
    return list(connection.scalars(query))


def _unreserve(connection: Connection, holder: str, budget_id: str, amount: int) -> None:
    connection.execute(
        update(budget).where(budget.c.budget_id == budget_id).values(reserved=budget.c.reserved - amount)
    )
    connection.execute(
        update(budget_lease)
        .where(budget_lease.c.holder == holder, budget_lease.c.budget_id == budget_id)
        .values(amount=budget_lease.c.amount - amount)
    )
