"""The audit of the ledger: every sum done again from the rows it came from."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, and_, case, func, or_, select, union_all

from gateway.clock import SECOND
from gateway.ledger.budgets import THRESHOLD_SCOPE
from gateway.money import plain, usd
from gateway.store.tables import balance, budget, budget_lease, entry, hold, hold_budget, posting
from gateway.store.usage_check import usage_problems

#: A hold that stands so long past its time means that nobody sweeps.
_OVERDUE = 3600 * SECOND
_MOST = 100


def problems_of(connection: Connection, now: int) -> list[str]:
    """What does not add up, one line each, at most 100 of each kind."""
    return [
        *_postings(connection),
        *_balances(connection),
        *_holds(connection, now),
        *_reservations(connection),
        *usage_problems(connection),
    ]


def _postings(connection: Connection) -> Iterator[str]:
    debit = func.sum(case((posting.c.account.like("caller:%"), posting.c.amount), else_=0))
    query = (
        select(entry.c.entry_id, entry.c.cost)
        .outerjoin(posting, posting.c.entry_id == entry.c.entry_id)
        .group_by(entry.c.entry_id, entry.c.cost)
        .having(
            or_(
                func.count(posting.c.account) != 2,
                func.coalesce(func.sum(posting.c.amount), 0) != 0,
                func.coalesce(debit, 0) != entry.c.cost,
            )
        )
        .limit(_MOST)
    )
    for row in connection.execute(query):
        yield f"entry {row.entry_id}: its postings do not balance at its cost of {plain(usd(row.cost))} USD"
    negative = select(entry.c.entry_id).where(entry.c.cost < 0, entry.c.kind != "correction").limit(_MOST)
    for row in connection.execute(negative):
        yield f"entry {row.entry_id}: a negative cost that is no correction"


def _balances(connection: Connection) -> Iterator[str]:
    sums = (
        select(posting.c.account, func.sum(posting.c.amount).label("amount"), func.count().label("entries"))
        .group_by(posting.c.account)
        .subquery()
    )
    wrong = (
        select(sums.c.account)
        .outerjoin(balance, balance.c.account == sums.c.account)
        .where(
            or_(
                balance.c.account.is_(None),
                balance.c.amount != sums.c.amount,
                balance.c.entries != sums.c.entries,
            )
        )
        .order_by(sums.c.account)
        .limit(_MOST)
    )
    for row in connection.execute(wrong):
        yield f"account {row.account}: its balance is not the sum of its postings"
    orphan = (
        select(balance.c.account)
        .outerjoin(posting, posting.c.account == balance.c.account)
        .where(posting.c.account.is_(None), or_(balance.c.amount != 0, balance.c.entries != 0))
        .limit(_MOST)
    )
    for row in connection.execute(orphan):
        yield f"account {row.account}: a balance without postings"


def _holds(connection: Connection, now: int) -> Iterator[str]:
    charged = hold.c.state.in_(("settled", "unresolved"))
    query = (
        select(hold.c.hold_id, hold.c.state)
        .outerjoin(entry, entry.c.cause == hold.c.cause)
        .where(or_(and_(charged, entry.c.cause.is_(None)), and_(~charged, entry.c.cause.is_not(None))))
        .limit(_MOST)
    )
    for row in connection.execute(query):
        what = "has no entry" if row.state in ("settled", "unresolved") else "has an entry"
        yield f"hold {row.hold_id}: it is {row.state} and {what}"
    overdue = select(hold.c.hold_id).where(hold.c.state == "held", hold.c.expires_at < now - _OVERDUE).limit(_MOST)
    for row in connection.execute(overdue):
        yield f"hold {row.hold_id}: it ran out over an hour ago and was not swept"


def _reservations(connection: Connection) -> Iterator[str]:
    held = (
        select(hold_budget.c.budget_id, hold_budget.c.amount)
        .join(hold, hold.c.hold_id == hold_budget.c.hold_id)
        .where(hold.c.state == "held")
    )
    claims = union_all(held, select(budget_lease.c.budget_id, budget_lease.c.amount)).subquery()
    live = select(claims.c.budget_id, func.sum(claims.c.amount).label("amount")).group_by(claims.c.budget_id).subquery()
    query = (
        select(budget.c.budget_id)
        .outerjoin(live, live.c.budget_id == budget.c.budget_id)
        .where(
            budget.c.scope != THRESHOLD_SCOPE,
            or_(budget.c.reserved != func.coalesce(live.c.amount, 0), budget.c.spent < 0),
        )
        .limit(_MOST)
    )
    for row in connection.execute(query):
        yield f"budget {row.budget_id}: what it has reserved is not what is held and leased"
