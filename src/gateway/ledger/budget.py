"""A budget: a hard cap over a window of time, who it binds, when it warns, and what happens at the cap.

A hold made before a window ends and settled after it counts in the new window: what is reserved carries
over, what was spent starts at zero, so that no window's entries ever sum to more than its cap.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal, cast

from msgspec import Struct
from msgspec.structs import replace

from gateway.clock import SECOND, rfc3339
from gateway.errors import BudgetExceeded
from gateway.ledger.entry import BudgetAlert, Charge
from gateway.ledger.windows import rolling_length, slot_width, window_end, window_start
from gateway.money import format_usd, usd

Scope = Literal["key", "user", "team", "project", "model", "provider", "workflow", "run", "step", "gateway"]
#: Of budgets that people set; that of a step comes with its run.
SCOPES: tuple[Scope, ...] = ("key", "user", "team", "project", "model", "provider", "workflow", "run", "gateway")
DEFAULT_SHARES = ("0.8", "1")
#: What happens to a call that a budget does not cover: it is refused; goes to a cheaper model; waits for the
#: next window; or is refused while somebody is asked for more.
AT_CAP = ("refuse", "degrade", "queue", "approve")
#: The row that counts the day's total for COST_ALERT_THRESHOLD. It warns and never refuses.
THRESHOLD_ID, THRESHOLD_SCOPE = "threshold_day", "threshold"
#: ``asked`` of a budget whose owner was asked for more, and said no.
DENIED = -1


class Budget(Struct, frozen=True):
    """A cap of ``limit`` units on what ``subject`` may spend in each ``window``.

    ``spent`` is settled in the window that began at ``window_start``; ``reserved`` is held now. A rolling
    window's spending is in ``slots``, each (when it began, units). ``extra`` was approved for this window
    beyond the limit, ``asked`` is what somebody has asked for and waits for.
    """

    budget_id: str
    scope: str
    subject: str
    window: str
    limit: int
    window_start: int
    created_by: str
    created_at: int
    spent: int = 0
    reserved: int = 0
    alert_shares: tuple[str, ...] = DEFAULT_SHARES
    active: bool = True
    time_zone: str = ""
    slots: tuple[tuple[int, int], ...] = ()
    at_cap: str = "refuse"
    #: The models that a call goes to instead, in their order, where ``at_cap`` is ``degrade``.
    degrade_to: tuple[str, ...] = ()
    #: The budget for each run that this is one run's of; of a step's budget, its run.
    parent: str | None = None
    extra: int = 0
    asked: int = 0

    @property
    def cap(self) -> int:
        """What may be spent in this window."""
        return self.limit + self.extra

    @property
    def left(self) -> int:
        """What is neither spent nor reserved."""
        return max(self.cap - self.spent - self.reserved, 0)

    @property
    def resets_at(self) -> int | None:
        """When the window ends, in microseconds, or some of a rolling one does; ``None`` for one that never does."""
        length = rolling_length(self.window)
        if length:
            return self.slots[0][0] + slot_width(length) + length if self.slots else None
        return window_end(self.window, self.window_start, self.time_zone)

    def as_of(self, now: int) -> Budget:
        """The budget as it stands at ``now``: with nothing spent if its window has ended."""
        length = rolling_length(self.window)
        if length:
            gone = now - length - slot_width(length)
            if not self.slots or self.slots[0][0] > gone:
                return self
            slots = tuple(slot for slot in self.slots if slot[0] > gone)
            spent = sum(cost for _, cost in slots)
            return replace(self, slots=slots, spent=spent, extra=self.extra if slots else 0, asked=0)
        current = window_start(self.window, now, self.time_zone)
        if current <= self.window_start:
            return self
        return replace(self, window_start=current, spent=0, extra=0, asked=0)

    def after(self, cost: int, now: int) -> Budget:
        """The budget once ``cost`` was spent at ``now``; a refund never takes a window below zero."""
        length = rolling_length(self.window)
        if not length:
            return replace(self, spent=max(self.spent + cost, 0))
        width = slot_width(length)
        slots = dict(self.slots)
        start = now // width * width
        slots[start] = max(slots.get(start, 0) + cost, 0)
        return replace(self, slots=tuple(sorted(slots.items())), spent=sum(slots.values()))


def subjects_of(charge: Charge) -> tuple[tuple[Scope, str], ...]:
    """Every (scope, subject) whose budgets bind this charge."""
    named: tuple[tuple[Scope, str | None], ...] = (
        ("key", charge.key_id),
        ("user", charge.principal),
        ("team", charge.team),
        ("project", charge.project),
        ("model", charge.model),
        ("provider", charge.provider),
        ("workflow", charge.workflow_id),
        ("run", charge.run_id),
        ("gateway", "*"),
    )
    within = [cast(tuple[Scope, str], tuple(name.split(":", 1))) for name in charge.within]
    return tuple(dict.fromkeys([*((scope, subject) for scope, subject in named if subject), *within]))


def named_id(subject: str) -> str:
    """The id of the budget that comes with a run, or with a step of it (``RUN_ID/STEP_ID``): whoever calls for them
    finds it without a look at which budgets there are."""
    return "budget_of_" + subject.replace("/", ".")


def child_id(template: str, run_id: str) -> str:
    """The id of the budget that one run has of a budget for each run."""
    return f"{template}:{run_id}"


def child_of(template: Budget, run_id: str, now: int) -> Budget:
    """The budget of one run."""
    return replace(
        template,
        budget_id=child_id(template.budget_id, run_id),
        scope="run",
        subject=run_id,
        window="lifetime",
        window_start=0,
        created_at=now,
        spent=0,
        reserved=0,
        slots=(),
        extra=0,
        asked=0,
        parent=template.budget_id,
    )


def refusal(budget: Budget, worst_case: int, now: int | None = None) -> BudgetExceeded:
    """The refusal that names the budget; amounts in its details are USD.

    A call whose worst case is above the limit itself is not told to wait: no window will ever cover it.
    """
    resets_at = budget.resets_at
    coverable = worst_case <= budget.limit
    queued = budget.at_cap == "queue" and resets_at is not None and now is not None and coverable
    return BudgetExceeded(
        f"the {budget.window} budget of {budget.scope} {budget.subject!r} has {format_usd(budget.left)} left of "
        f"{format_usd(budget.cap)}; this call may cost up to {format_usd(worst_case)}",
        mend="ask for fewer tokens or a cheaper model"
        + (f", wait until {rfc3339(resets_at)}" if resets_at is not None and coverable else "")
        + _more(budget),
        retry_after=max((resets_at or 0) - (now or 0), 0) / SECOND if queued else None,
        budget_id=budget.budget_id,
        scope=budget.scope,
        subject=budget.subject,
        window=budget.window,
        limit=usd(budget.cap),
        spent=usd(budget.spent),
        left=usd(budget.left),
        reserved=usd(budget.reserved),
        requested=usd(worst_case),
        resets_at=None if resets_at is None else rfc3339(resets_at),
        **_at_cap(budget),
    )


def _more(budget: Budget) -> str:
    if budget.at_cap != "approve":
        return ", or have the budget raised"
    if budget.asked == DENIED:
        return "; more was asked for and denied"
    return f"; {budget.created_by} is asked for more"


def _at_cap(budget: Budget) -> dict[str, Any]:
    if budget.at_cap == "degrade":
        return {"at_cap": "degrade", "degrade_to": list(budget.degrade_to)}
    if budget.at_cap == "approve":
        return {"at_cap": "approve", "approval": "denied" if budget.asked == DENIED else "pending"}
    return {"at_cap": budget.at_cap}


def crossed(budget: Budget, alerted: tuple[str, ...]) -> tuple[BudgetAlert, ...]:
    """The alerts that the spending now calls for and that this window has not yet given."""
    return tuple(
        BudgetAlert(
            budget.budget_id,
            budget.scope,
            budget.subject,
            budget.window,
            share,
            budget.limit,
            budget.spent,
            budget.resets_at,
            soft=budget.scope == THRESHOLD_SCOPE,
            created_by=budget.created_by,
        )
        for share in budget.alert_shares
        if share not in alerted and budget.spent >= Decimal(share) * budget.limit
    )


class Spending:
    """A budget as calls are charged to it one after the other, and which of its alerts this window has given."""

    __slots__ = ("alerted", "budget")

    def __init__(self, budget: Budget, alerted: tuple[str, ...]) -> None:
        self.budget = budget
        self.alerted = alerted

    def unreserve(self, amount: int) -> None:
        """Takes ``amount`` out of what is reserved."""
        self.budget = replace(self.budget, reserved=self.budget.reserved - amount)

    def spend(self, cost: int, now: int) -> tuple[BudgetAlert, ...]:
        """Adds ``cost`` to what was spent in the window that runs ``now``; the alerts that this calls for."""
        rolled = self.budget.as_of(now)
        if rolled is not self.budget:  # of a rolling window, alerts that would be called for again stay given
            still = [share for share in self.alerted if rolled.spent >= Decimal(share) * rolled.limit > 0]
            self.alerted = tuple(still) if rolled.slots else ()
        self.budget = rolled.after(cost, now)
        alerts = crossed(self.budget, self.alerted)
        if alerts:
            self.alerted += tuple(alert.share for alert in alerts)
        return alerts
