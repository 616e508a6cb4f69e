"""The audit of the ledger: every sum done again from the rows it came from."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from sqlalchemy import Connection, case, exists, func, or_, select

from gateway.clock import SECOND
from gateway.ledger.budgets import THRESHOLD_SCOPE
from gateway.money import plain, usd
from gateway.store.budget_leases import BATCH, batch_holder
from gateway.store.tables import balance, batch_ask, budget, budget_lease, entry, posting
from gateway.store.usage_check import usage_problems

#: Shares whose process is silent for so long mean that nobody sweeps.
_OVERDUE = 3600 * SECOND
_MOST = 100


def problems_of(connection: Connection, now: int) -> list[str]:
    """What does not add up, one line each, at most 100 of each kind."""
    return [
        *_postings(connection),
        *_balances(connection),
        *_reservations(connection),
        *_lost_shares(connection, now),
        *_batch_shares(connection),
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
    # Each entry has its two then; more than these are nobody's.
    stray = (
        select(posting.c.entry_id)
        .where(~exists().where(entry.c.entry_id == posting.c.entry_id))
        .distinct()
        .limit(_MOST)
    )
    for row in connection.execute(stray):
        yield f"entry {row.entry_id}: it is not there, and has postings"
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


def _reservations(connection: Connection) -> Iterator[str]:
    live = (
        select(budget_lease.c.budget_id, func.sum(budget_lease.c.amount).label("amount"))
        .group_by(budget_lease.c.budget_id)
        .subquery()
    )
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
        yield f"budget {row.budget_id}: what it has reserved is not what processes lease of it"


def _lost_shares(connection: Connection, now: int) -> Iterator[str]:
    silent_since = func.abs(budget_lease.c.expires_at)
    query = select(budget_lease.c.holder).where(silent_since < now - _OVERDUE).distinct().limit(_MOST)
    for row in connection.execute(query):
        if row.holder.startswith(BATCH):
            yield f"{row.holder}: its requests should have ended at their provider, and nobody has ended them here"
        else:
            yield f"journal {row.holder}: its process is silent for over an hour, and its shares were not taken back"


def _batch_shares(connection: Connection) -> Iterator[str]:
    """What is set aside for requests at providers is what those that are not done may cost, to the unit."""
    asked = (
        select(batch_ask.c.owner, batch_ask.c.budgets, func.sum(batch_ask.c.amount).label("amount"))
        .where(batch_ask.c.state != "done", batch_ask.c.budgets != "[]")
        .group_by(batch_ask.c.owner, batch_ask.c.budgets)
    )
    expected: dict[tuple[str, str], int] = {}
    for row in connection.execute(asked):
        for budget_id in msgspec.json.decode(row.budgets, type=tuple[str, ...]):
            key = (batch_holder(row.owner), budget_id)
            expected[key] = expected.get(key, 0) + int(row.amount)
    leased = select(budget_lease).where(budget_lease.c.holder.startswith(BATCH, autoescape=True))
    found = {(row.holder, row.budget_id): row.amount for row in connection.execute(leased)}
    wrong = [key for key in expected.keys() | found.keys() if expected.get(key, 0) != found.get(key, 0)]
    for holder, budget_id in sorted(wrong)[:_MOST]:
        yield f"{holder}: its share of budget {budget_id} is not what its requests may cost"
