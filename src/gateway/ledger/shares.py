"""The shares of budgets that this process holds: what a call may take without asking the database.

A share is leased from its budget in the database, where it counts as reserved; so the sum of all
processes' shares never passes the cap, and taking from a share is an addition in memory. Used from
one event loop only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gateway.ledger.budgets import Budget, subjects_of
from gateway.ledger.entry import Charge

#: Kinds of charges whose shares are remembered.
_MOST_FOUND = 10_000


class Share:
    """What is leased of one budget and not taken by a call (``free``, units)."""

    __slots__ = ("budget_id", "free", "scope", "subject", "used", "window")

    def __init__(self, budget_id: str, scope: str, subject: str, window: str) -> None:
        self.budget_id = budget_id
        self.scope = scope
        self.subject = subject
        self.window = window
        self.free = 0
        #: Whether a call took from it since it was last looked at.
        self.used = False


class Shares:
    """The budgets in force and this process's share of each."""

    def __init__(self) -> None:
        self._shares: dict[str, Share] = {}
        self._binding: dict[tuple[str, str], tuple[Share, ...]] = {}
        #: The shares that bind a charge, by what of it they ask.
        self._found: dict[tuple[str | None, ...], tuple[Share, ...]] = {}

    def replace(self, budgets: Iterable[Budget]) -> list[Share]:
        """Takes the budgets that are in force now; returns the shares of those that no longer are."""
        current: dict[str, Share] = {}
        binding: dict[tuple[str, str], tuple[Share, ...]] = {}
        for budget in sorted(budgets, key=lambda item: item.budget_id):
            share = self._shares.pop(budget.budget_id, None) or Share(
                budget.budget_id, budget.scope, budget.subject, budget.window
            )
            current[budget.budget_id] = share
            key = (budget.scope, budget.subject)
            binding[key] = (*binding.get(key, ()), share)
        ended, self._shares, self._binding, self._found = list(self._shares.values()), current, binding, {}
        return ended

    def binding(self, charge: Charge) -> tuple[Share, ...]:
        """The shares of every budget that binds the charge."""
        if not self._binding:
            return ()
        key = (charge.key_id, charge.principal, charge.team, charge.model, charge.workflow_id, charge.run_id)
        kept = self._found.get(key)
        if kept is None:
            kept = ()
            for subject in subjects_of(charge):
                kept += self._binding.get(subject, ())
            if len(self._found) >= _MOST_FOUND:
                self._found = {}
            self._found[key] = kept
        return kept

    def any(self) -> bool:
        """Whether any budget is in force."""
        return bool(self._shares)

    def idle(self) -> dict[str, int]:
        """Takes what is free of the shares that nobody used since the last look: ``{budget_id: units}``."""
        found: dict[str, int] = {}
        for share in self._shares.values():
            if not share.used and share.free > 0:
                found[share.budget_id], share.free = share.free, 0
            share.used = False
        return found

    def give(self, amounts: Mapping[str, int]) -> None:
        """Puts amounts back that could not be returned."""
        for budget_id, amount in amounts.items():
            if (share := self._shares.get(budget_id)) is not None:
                share.free += amount


def lacking(shares: Sequence[Share], amount: int) -> Share | None:
    """The first share that has less than ``amount`` free; ``None`` where every one has."""
    for share in shares:
        if share.free < amount:
            return share
    return None


def take(shares: Sequence[Share], amount: int) -> None:
    """Sets ``amount`` aside in each."""
    for share in shares:
        share.free -= amount
        share.used = True


def settle(shares: Sequence[Share], amount: int, cost: int) -> None:
    """Ends what was set aside: ``cost`` is spent, the rest is free again."""
    for share in shares:
        share.free += amount - cost
