"""The shares of budgets that this process holds: what a call may take without asking the database.

A share is leased from its budget in the database, where it counts as reserved; so the sum of all
processes' shares never passes the cap, and taking from a share is an addition in memory. What is leased
is at every moment what is free, what calls have taken, and what ended calls cost that is not in the
database yet. Whoever changes a share's sums holds the lock of ``leasing``.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from gateway.ledger.budget import Budget, child_id, named_id, subjects_of
from gateway.ledger.entry import Charge

#: Kinds of charges whose shares are remembered.
_MOST_FOUND = 10_000
#: Of a charge that no budget binds.
_UNBOUND: tuple[tuple[()], tuple[()]] = ((), ())


class Share:
    """What is leased of one budget: ``free``, or ``taken`` by calls under way (units)."""

    __slots__ = ("budget_id", "free", "in_force", "taken", "used")

    def __init__(self, budget_id: str) -> None:
        self.budget_id = budget_id
        self.free = 0
        self.taken = 0
        #: Whether a call took from it since it was last looked at.
        self.used = False
        #: Whether its budget still binds new calls.
        self.in_force = True


class Shares:
    """The budgets in force and this process's share of each, and shares of ended budgets that calls still have."""

    def __init__(self) -> None:
        self._shares: dict[str, Share] = {}
        self._ended: list[Share] = []
        self._binding: dict[tuple[str, str], tuple[Share, ...]] = {}
        #: Ids of the budgets for each run, by whom they bind, and the shares of single runs and steps by name.
        self._each_run: dict[tuple[str, str], tuple[str, ...]] = {}
        self._by_name: dict[str, Share] = {}
        #: Names under which no budget is in force.
        self._gone: set[str] = set()
        self._making = threading.Lock()
        #: The shares that bind a charge and their budgets' ids, by what of it they ask.
        self._found: dict[tuple[object, ...], tuple[tuple[Share, ...], tuple[str, ...]]] = {}

    def replace(self, budgets: Iterable[Budget]) -> None:
        """Takes the budgets that are in force now."""
        current: dict[str, Share] = {}
        binding: dict[tuple[str, str], tuple[Share, ...]] = {}
        each_run: dict[tuple[str, str], tuple[str, ...]] = {}
        for budget in sorted(budgets, key=lambda item: item.budget_id):
            if budget.window == "run":
                each_run[budget.scope, budget.subject] = (
                    *each_run.get((budget.scope, budget.subject), ()), budget.budget_id
                )  # fmt: skip
                continue
            share = self._shares.pop(budget.budget_id, None) or Share(budget.budget_id)
            current[budget.budget_id] = share
            key = (budget.scope, budget.subject)
            binding[key] = (*binding.get(key, ()), share)
        for share in self._shares.values():
            share.in_force = False
            self._ended.append(share)
        # In this order: see ``binding``.
        self._shares, self._binding, self._each_run = current, binding, each_run
        self._forget_runs()

    def _forget_runs(self) -> None:
        """Shares of single runs and steps are found anew; what they have comes back."""
        with self._making:
            ended, self._by_name = self._by_name, {}
            self._found, self._gone = {}, set()
        for share in ended.values():
            share.in_force = False
            self._ended.append(share)

    def gone(self, name: str) -> None:
        """No budget of that name is in force: until the next ``replace`` it binds nothing."""
        with self._making:
            self._gone.add(name)
            share = self._by_name.pop(name, None)
            self._found = {}  # and with it whatever was found before
        if share is not None:
            share.in_force = False
            self._ended.append(share)

    def binding(self, charge: Charge) -> tuple[Share, ...]:
        """The shares of every budget that binds the charge."""
        return self.bound_by(charge)[0]

    def bound_by(self, charge: Charge) -> tuple[tuple[Share, ...], tuple[str, ...]]:
        """The same, and the ids of the budgets."""
        # Taken before the budgets are looked at: what is found by old ones is not remembered beside new ones.
        remembered = self._found
        if not self._binding and not self._each_run and not charge.within:
            return _UNBOUND
        key = (
            charge.key_id, charge.principal, charge.team, charge.project, charge.model, charge.provider,
            charge.workflow_id, charge.run_id, charge.within,
        )  # fmt: skip
        known = remembered.get(key)
        if known is None:
            kept: tuple[Share, ...] = ()
            for subject in subjects_of(charge):
                kept += self._binding.get(subject, ())
            if len(remembered) >= _MOST_FOUND:
                remembered.clear()
            names = [named_id(name.split(":", 1)[1]) for name in charge.within]
            if self._each_run and charge.run_id:
                each = [template for subject in subjects_of(charge) for template in self._each_run.get(subject, ())]
                names += [child_id(template, charge.run_id) for template in each]
            if names:
                kept = self._with_named(names, kept)
            if self._gone:
                kept = tuple(share for share in kept if share.budget_id not in self._gone)
            known = remembered[key] = kept, tuple([share.budget_id for share in kept])
        return known

    def _with_named(self, names: Iterable[str], kept: tuple[Share, ...]) -> tuple[Share, ...]:
        with self._making:
            for name in names:
                share = self._shares.get(name) or self._by_name.get(name)
                if share is None:
                    share = self._by_name[name] = Share(name)
                if share not in kept:
                    kept += (share,)
        return kept

    def any(self) -> bool:
        """Whether any budget is in force, or was when a call began that is still under way."""
        return bool(self._shares or self._ended or self._by_name)

    def idle(self, *, everything: bool = False) -> list[tuple[Share, int]]:
        """Takes what is free of the shares that nobody used since the last look, and of ended budgets; or of all."""
        self._ended = [share for share in self._ended if share.free or share.taken]
        found: list[tuple[Share, int]] = []
        if len(self._by_name) > _MOST_FOUND:
            self._forget_runs()
        for share in self._all():
            if share.free > 0 and (everything or not (share.used and share.in_force)):
                found.append((share, share.free))
                share.free = 0
            share.used = False
        return found

    def compare(self, leased: Mapping[str, int]) -> tuple[dict[str, int], dict[str, int]]:
        """What the database says is leased beyond what is known here, and what it lacks, by budget. What it
        lacks is free no more."""
        held: Counter[str] = Counter()
        for share in self._all():  # of one budget there may be several: one in force, and one that ended
            held[share.budget_id] += share.free + share.taken
        differences = {name: leased.get(name, 0) - held[name] for name in {*leased, *held}}
        lacked = {name: -amount for name, amount in differences.items() if amount < 0}
        left = dict(lacked)
        for share in self._all():
            taken_back = min(share.free, left.get(share.budget_id, 0))
            if taken_back:
                share.free -= taken_back
                left[share.budget_id] -= taken_back
        return {name: amount for name, amount in differences.items() if amount > 0}, lacked

    def _all(self) -> tuple[Share, ...]:
        return (*self._shares.values(), *self._by_name.values(), *self._ended)


def lacking(shares: Sequence[Share], amount: int) -> Share | None:
    """The first share that has less than ``amount`` free; ``None`` where every one has."""
    for share in shares:
        if share.free < amount:
            return share
    return None


def take(shares: Sequence[Share], amount: int) -> bool:
    """Sets ``amount`` aside in each; false, and nothing is, where one has less free."""
    for share in shares:
        if share.free < amount:
            return False
    for share in shares:
        share.free -= amount
        share.taken += amount
        share.used = True
    return True


def settle(shares: Sequence[Share], amount: int, cost: int) -> None:
    """Ends what was set aside: ``cost`` is spent, the rest is free again. What it cost beyond ``amount``
    was never in the share; the budget itself bears it."""
    left = max(amount - cost, 0)
    for share in shares:
        share.free += left
        share.taken -= amount
