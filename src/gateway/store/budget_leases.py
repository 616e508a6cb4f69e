"""Shares of budgets in SQL: what a process sets aside for calls to come counts as reserved.

So does what is set aside for requests that are with a provider's batch API for hours, whatever processes come
and go: such a share has a name of its own (``batch_holder``), and lives as long as requests of its owner do.

A share is asked for by need. A little more is given where much is left, so that most calls need no
look at the database; near the cap exactly what is needed is given, so that nearly all of it is usable.
A budget is locked before its shares, and budgets in the order of their ids, here as everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace
from sqlalchemy import Connection, delete, func, select, tuple_, update

from gateway.clock import SECOND
from gateway.errors import BudgetExceeded
from gateway.events.event import EventDraft
from gateway.ledger.budget import SCOPES, Budget, Spending, child_id, child_of, refusal
from gateway.ledger.entry import BudgetAlert
from gateway.money import usd
from gateway.store.budget_store import VERSION, budget_of, lock_bound, lock_budgets, values_of, write_spendings
from gateway.store.dialect import insert_into
from gateway.store.engine import Database
from gateway.store.event_store import tell
from gateway.store.many_rows import update_rows
from gateway.store.tables import budget, budget_lease, counter
from gateway.store.unchanged import Unchanged

#: A share is at most this part of what is left, beyond what is needed now …
_PART_OF_LEFT = 64
#: … and at most so many times what is needed now.
_TIMES_NEEDED = 4096
#: So long a holder that seems gone is waited for, once somebody has noticed and said so.
NOTICE_SECONDS = 120
#: How the names of holders begin that are no process.
BATCH = "batch:"

_OF_BATCHES = budget_lease.c.holder.startswith(BATCH, autoescape=True)


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
        self._unchanged = Unchanged(database.stamp)

    def version(self) -> int:
        return self._unchanged.of(self._version)

    def _version(self) -> int:
        with self._database.read() as connection:
            return connection.scalar(select(counter.c.value).where(counter.c.name == VERSION)) or 0

    def active(self) -> list[Budget]:
        # By the scopes' names: so the index of what is in force serves, however many have ended.
        shown = (budget.c.active, budget.c.scope.in_(SCOPES), budget.c.parent.is_(None))
        query = select(budget).where(*shown)
        with self._database.read() as connection:
            return [budget_of(row) for row in connection.execute(query)]

    def grow(self, budget_id: str, amount: int, free: int, now: int, expires_at: int) -> int | None:
        """Adds at least ``amount - free`` units to the share, of which ``free`` are not in use, and returns how
        many; ``None`` where the budget is no longer in force. ``BudgetExceeded`` where it has not so much left;
        where more may be approved, its owner is asked for it."""
        try:
            return self._grow(budget_id, amount, free, now, expires_at)
        except BudgetExceeded as refused:
            ask_for_more(self._database, refused, amount, now)
            raise

    def _grow(self, budget_id: str, amount: int, free: int, now: int, expires_at: int) -> int | None:
        with self._database.begin() as connection:
            found = lock_budgets(connection, [budget_id]) or _of_run(connection, budget_id, now)
            if budget_id not in found or not found[budget_id].budget.active:
                return None
            stands = found[budget_id].budget.as_of(now)
            left, needed = stands.cap - stands.spent - stands.reserved, amount - free
            if left < needed:
                raise refusal(replace(stands, reserved=stands.reserved - free), amount, now)
            given = max(needed, min(left // _PART_OF_LEFT, needed * _TIMES_NEEDED))
            _add_to_share(connection, self._holder, budget_id, given, expires_at)
        return given

    def elsewhere(self, budget_id: str) -> int:
        """What other processes have set aside; what batches at providers have does not come back for hours."""
        query = select(func.coalesce(func.sum(budget_lease.c.amount), 0)).where(
            budget_lease.c.budget_id == budget_id, budget_lease.c.holder != self._holder, ~_OF_BATCHES
        )
        with self._database.read() as connection:
            return int(connection.scalar(query) or 0)

    def shrink(self, amounts: Mapping[str, int]) -> None:
        """Returns parts of shares; never more than there is."""
        with self._database.begin() as connection:
            return_shares(connection, self._holder, amounts)

    def beat(self, expires_at: int) -> dict[str, int]:
        """Says that the holder is alive, and what it has."""
        mine = budget_lease.c.holder == self._holder
        with self._database.begin() as connection:
            # Locked in the order of the budgets: whoever spends from shares does so too.
            query = select(budget_lease).where(mine).order_by(budget_lease.c.budget_id).with_for_update()
            leased = {row.budget_id: row.amount for row in connection.execute(query)}
            connection.execute(update(budget_lease).where(mine).values(expires_at=expires_at))
        return leased


def ask_for_more(database: Database, refused: BudgetExceeded, amount: int, now: int) -> None:
    """Asks whoever made the budget for more, once a window, where that is what it does at its cap. In a
    transaction of its own: what was refused is undone."""
    if refused.details["at_cap"] != "approve":
        return
    budget_id = str(refused.details["budget_id"])
    with database.begin() as connection:
        # The refusal has undone the making of a run's own budget as well.
        spending = (lock_budgets(connection, [budget_id]) or _of_run(connection, budget_id, now)).get(budget_id)
        if spending is None or (stands := spending.budget.as_of(now)).asked:
            return
        if stands.window_start != spending.budget.window_start:
            spending.alerted = ()
        spending.budget = replace(stands, asked=amount)
        write_spendings(connection, [spending])
        payload = {
            "budget_id": budget_id,
            "scope": stands.scope,
            "subject": stands.subject,
            "limit_usd": usd(stands.cap),
            "spent_usd": usd(stands.spent),
            "asked_usd": usd(amount),
        }
        tell(connection, EventDraft("budget_approval_needed", stands.created_by, payload=payload), now)


def _of_run(connection: Connection, budget_id: str, now: int) -> dict[str, Spending]:
    """The budget of one run, made where its run charges to it first."""
    return lock_budgets(connection, [budget_id]) if _make_of_run(connection, budget_id, now) else {}


def _make_of_run(connection: Connection, budget_id: str, now: int) -> bool:
    template_id, _, run_id = budget_id.partition(":")
    row = connection.execute(select(budget).where(budget.c.budget_id == template_id)).one_or_none()
    if row is None or not row.active or not run_id:
        return False
    made = child_of(budget_of(row), run_id, now)
    connection.execute(insert_into(connection, budget).values(values_of(made)).on_conflict_do_nothing())
    return True


def _of_each_run(connection: Connection, subjects: Sequence[tuple[str, str]], now: int) -> None:
    """Makes what is not there yet of the run's own budgets."""
    run_id = dict(subjects).get("run")
    bound = tuple_(budget.c.scope, budget.c.subject).in_(subjects)
    each = select(budget.c.budget_id).where(bound, budget.c.active, budget.c.window == "run")
    for template_id in connection.scalars(each).all() if run_id else ():
        _make_of_run(connection, child_id(template_id, run_id or ""), now)


def batch_holder(owner: str) -> str:
    """In whose name money is set aside for the requests of a batch of ours, or a task, at a provider."""
    return BATCH + owner


def set_aside(
    connection: Connection, holder: str, subjects: Sequence[tuple[str, str]], amount: int, now: int, expires_at: int
) -> tuple[str, ...]:
    """Adds exactly ``amount`` to the holder's share of every budget in force of the subjects; their ids.
    ``BudgetExceeded`` where one has not so much left."""
    _of_each_run(connection, subjects, now)
    bound = [spending.budget.as_of(now) for spending in lock_bound(connection, subjects).values()]
    in_force = [stands for stands in bound if stands.active]
    for stands in in_force:
        if stands.cap - stands.spent - stands.reserved < amount:
            raise refusal(stands, amount, now)
    for stands in in_force:
        _add_to_share(connection, holder, stands.budget_id, amount, expires_at)
    return tuple(stands.budget_id for stands in in_force)


def return_shares(connection: Connection, holder: str, amounts: Mapping[str, int]) -> None:
    """Returns parts of a holder's shares, by budget; never more than there is."""
    spendings = lock_budgets(connection, amounts)
    _take_from_shares(connection, holder, spendings, amounts)
    write_spendings(connection, spendings.values())
    _forget_ended(connection, holder, spendings)


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
    _forget_ended(connection, holder, spendings)
    return alerts


def end_shares(connection: Connection, holder: str) -> None:
    """Returns all that a holder has."""
    mine = budget_lease.c.holder == holder
    spendings = lock_budgets(connection, connection.scalars(select(budget_lease.c.budget_id).where(mine)))
    leased = _leased(connection, holder)
    _take_from_shares(connection, holder, spendings, {budget_id: leased.get(budget_id, 0) for budget_id in spendings})
    write_spendings(connection, spendings.values())
    forget_empty(connection, holder, spendings)


def forget_empty(connection: Connection, holder: str, budget_ids: Iterable[str]) -> None:
    """Deletes a holder's shares of locked budgets in which nothing is left."""
    connection.execute(
        delete(budget_lease).where(
            budget_lease.c.holder == holder,
            budget_lease.c.budget_id.in_(sorted(budget_ids)),
            budget_lease.c.amount == 0,
        )
    )


def _forget_ended(connection: Connection, holder: str, spendings: Mapping[str, Spending]) -> None:
    """Of budgets that have ended nobody asks for a share again."""
    ended = [name for name, found in spendings.items() if not found.budget.active]
    if ended:
        forget_empty(connection, holder, ended)


def doubtful_holders(connection: Connection, now: int) -> list[str]:
    """Processes that have not said for a long time that they live. Batches are none: whoever carries them
    ends each of their requests, and says how."""
    query = select(budget_lease.c.holder).where(budget_lease.c.expires_at <= now, ~_OF_BATCHES).distinct()
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


def _add_to_share(connection: Connection, holder: str, budget_id: str, amount: int, expires_at: int) -> None:
    """Of a locked budget."""
    connection.execute(
        update(budget).where(budget.c.budget_id == budget_id).values(reserved=budget.c.reserved + amount)
    )
    connection.execute(
        insert_into(connection, budget_lease)
        .values(holder=holder, budget_id=budget_id, amount=amount, expires_at=expires_at)
        .on_conflict_do_update(
            index_elements=[budget_lease.c.holder, budget_lease.c.budget_id],
            set_={"amount": budget_lease.c.amount + amount, "expires_at": expires_at},
        )
    )


def _leased(connection: Connection, holder: str) -> dict[str, int]:
    query = select(budget_lease.c.budget_id, budget_lease.c.amount).where(budget_lease.c.holder == holder)
    return {row.budget_id: row.amount for row in connection.execute(query)}


def _take_from_shares(
    connection: Connection, holder: str, spendings: Mapping[str, Spending], amounts: Mapping[str, int]
) -> None:
    """Takes ``amounts`` out of a holder's shares of locked budgets, or what there is, and out of ``reserved``."""
    leased = _leased(connection, holder)
    left: list[tuple[str, str, int]] = []
    for budget_id, amount in sorted(amounts.items()):
        least = min(leased.get(budget_id, 0), amount)
        if least > 0:
            left.append((holder, budget_id, leased[budget_id] - least))
            spendings[budget_id].unreserve(least)
    update_rows(connection, budget_lease, ("holder", "budget_id", "amount"), left, keys=2)
