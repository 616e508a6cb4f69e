"""Budgets: hard caps over a window of time, who they bind, and when they warn.

Windows are UTC: a day from midnight, a week from Monday, a month from its first day, or for ever.
A hold made before midnight and settled after it counts in the new window: what is reserved carries
over, what was spent starts at zero, so that no window's entries ever sum to more than its cap.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, Protocol, cast

from msgspec import Struct
from msgspec.structs import replace

from gateway.clock import SECOND, Clock, rfc3339
from gateway.errors import BudgetExceeded, NotFound, ValidationFailed
from gateway.ids import new_id
from gateway.ledger.entry import BudgetAlert, Charge
from gateway.money import format_usd, units, usd

Scope = Literal["key", "user", "team", "model", "workflow", "run", "gateway"]
Window = Literal["day", "week", "month", "lifetime"]
SCOPES: tuple[Scope, ...] = ("key", "user", "team", "model", "workflow", "run", "gateway")
WINDOWS: tuple[Window, ...] = ("day", "week", "month", "lifetime")
DEFAULT_SHARES = ("0.8", "1")
#: The row that counts the day's total for COST_ALERT_THRESHOLD. It warns and never refuses.
THRESHOLD_ID, THRESHOLD_SCOPE = "threshold_day", "threshold"
_FIELDS = frozenset({"scope", "subject", "limit_usd", "window", "alert_shares"})


class Budget(Struct, frozen=True):
    """A cap of ``limit`` units on what ``subject`` may spend in each ``window``.

    ``spent`` is settled in the window that began at ``window_start``; ``reserved`` is held now.
    """

    budget_id: str
    scope: str
    subject: str
    window: Window
    limit: int
    window_start: int
    created_by: str
    created_at: int
    spent: int = 0
    reserved: int = 0
    alert_shares: tuple[str, ...] = DEFAULT_SHARES
    active: bool = True

    @property
    def resets_at(self) -> int | None:
        """When the window ends, in microseconds; ``None`` for a lifetime."""
        return window_end(self.window, self.window_start)

    def as_of(self, now: int) -> Budget:
        """The budget as it stands at ``now``: with nothing spent if its window has ended."""
        current = window_start(self.window, now)
        if current <= self.window_start:
            return self
        return replace(self, window_start=current, spent=0)


class BudgetStore(Protocol):
    """Where budgets are kept."""

    def insert(self, budget: Budget) -> None: ...

    def get(self, budget_id: str) -> Budget | None: ...

    def list(self, *, scope: str | None, subject: str | None, active: bool | None) -> list[Budget]: ...

    def deactivate(self, budget_id: str) -> bool:
        """True if it was active."""
        ...


class Requester(Protocol):
    """The part of a caller that this room asks."""

    @property
    def principal(self) -> str: ...

    def may(self, permission: str) -> bool: ...

    def require(self, permission: str) -> None: ...


class Calls(Protocol):
    """The calls of this process; see ``ledger.calls``."""

    def look(self) -> None: ...

    def flush(self) -> None: ...


def window_start(window: str, now: int) -> int:
    """When the window that holds ``now`` began; 0 for a lifetime."""
    if window == "lifetime":
        return 0
    moment = datetime.fromtimestamp(now // SECOND, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if window == "week":
        moment -= timedelta(days=moment.weekday())
    elif window == "month":
        moment = moment.replace(day=1)
    return int(moment.timestamp()) * SECOND


def window_end(window: str, start: int) -> int | None:
    """When the window that began at ``start`` ends; ``None`` for a lifetime."""
    if window == "lifetime":
        return None
    moment = datetime.fromtimestamp(start // SECOND, UTC)
    if window == "month":
        after = (moment.replace(day=1) + timedelta(days=32)).replace(day=1)
    else:
        after = moment + timedelta(days=7 if window == "week" else 1)
    return int(after.timestamp()) * SECOND


def subjects_of(charge: Charge) -> tuple[tuple[Scope, str], ...]:
    """Every (scope, subject) whose budgets bind this charge."""
    named: tuple[tuple[Scope, str | None], ...] = (
        ("key", charge.key_id),
        ("user", charge.principal),
        ("team", charge.team),
        ("model", charge.model),
        ("workflow", charge.workflow_id),
        ("run", charge.run_id),
        ("gateway", "*"),
    )
    return tuple((scope, subject) for scope, subject in named if subject)


def refusal(budget: Budget, worst_case: int) -> BudgetExceeded:
    """The refusal that names the budget; amounts in its details are USD."""
    resets_at = budget.resets_at
    left = max(budget.limit - budget.spent - budget.reserved, 0)
    return BudgetExceeded(
        f"the {budget.window} budget of {budget.scope} {budget.subject!r} has {format_usd(left)} left of "
        f"{format_usd(budget.limit)}; this call may cost up to {format_usd(worst_case)}",
        mend="ask for fewer tokens or a cheaper model"
        + (f", wait until {rfc3339(resets_at)}" if resets_at is not None else "")
        + ", or have the budget raised",
        budget_id=budget.budget_id,
        scope=budget.scope,
        subject=budget.subject,
        window=budget.window,
        limit=usd(budget.limit),
        spent=usd(budget.spent),
        left=usd(left),
        reserved=usd(budget.reserved),
        requested=usd(worst_case),
        resets_at=None if resets_at is None else rfc3339(resets_at),
    )


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
        if rolled is not self.budget:
            self.alerted = ()
        self.budget = replace(rolled, spent=max(rolled.spent + cost, 0))
        alerts = crossed(self.budget, self.alerted)
        if alerts:
            self.alerted += tuple(alert.share for alert in alerts)
        return alerts


class BudgetService:
    """Sets, shows and ends budgets for those who may."""

    def __init__(self, store: BudgetStore, clock: Clock, calls: Calls | None = None) -> None:
        self._store = store
        self._clock = clock
        self._calls = calls

    def create(self, caller: Requester, raw: Mapping[str, Any]) -> Budget:
        """A new budget from ``{scope, subject, limit_usd, window, alert_shares?}``.

        ``ValidationFailed`` names the wrong field; ``PermissionDenied`` without ``budgets:write``.
        """
        caller.require("budgets:write")
        budget = self._parse(raw, caller.principal)
        self._store.insert(budget)
        self._changed()
        return budget

    def create_for_key(self, caller: Requester, key_id: str, raw: Mapping[str, Any]) -> Budget:
        """The budget that comes with a new key: ``{limit_usd, window?, alert_shares?}``.

        Made before the key itself is stored, so a key is never usable without its budget.
        """
        for name in ("scope", "subject"):
            if name in raw:
                raise ValidationFailed("the budget of a new key binds that key", param=f"budget.{name}")
        return self.create(caller, {"window": "lifetime", **raw, "scope": "key", "subject": key_id})

    def list(
        self, caller: Requester, *, scope: str | None = None, subject: str | None = None, active: bool | None = True
    ) -> list[Budget]:
        """Budgets as they stand now."""
        caller.require("budgets:read")
        self._catch_up()
        now = self._clock.now()
        return [
            budget.as_of(now)
            for budget in self._store.list(scope=scope, subject=subject, active=active)
            if budget.scope != THRESHOLD_SCOPE
        ]

    def get(self, caller: Requester, budget_id: str) -> Budget:
        """One budget; ``NotFound`` otherwise."""
        caller.require("budgets:read")
        self._catch_up()
        budget = self._store.get(budget_id)
        if budget is None or budget.scope == THRESHOLD_SCOPE:
            raise NotFound("no budget has that id", param="budget_id")
        return budget.as_of(self._clock.now())

    def deactivate(self, caller: Requester, budget_id: str) -> Budget:
        """Ends a budget: it binds no new call. Ending it again changes nothing."""
        caller.require("budgets:write")
        budget = self._store.get(budget_id)
        if budget is None or budget.scope == THRESHOLD_SCOPE:
            raise NotFound("no budget has that id", param="budget_id")
        self._store.deactivate(budget_id)
        self._changed()
        return self._store.get(budget_id) or budget

    def _changed(self) -> None:
        """Calls of this process are bound from now on; those of others within a second."""
        if self._calls is not None:
            self._calls.look()

    def _catch_up(self) -> None:
        """What calls of this process have cost is shown."""
        if self._calls is not None:
            self._calls.flush()

    def _parse(self, raw: Mapping[str, Any], created_by: str) -> Budget:
        unknown = sorted(set(raw) - _FIELDS)
        if unknown:
            raise ValidationFailed(f"a budget has no field {unknown[0]!r}"[:120], param=unknown[0][:60])
        scope, window = raw.get("scope"), raw.get("window", "day")
        if scope not in SCOPES:
            raise ValidationFailed(f"scope is one of: {', '.join(SCOPES)}", param="scope")
        if window not in WINDOWS:
            raise ValidationFailed(f"window is one of: {', '.join(WINDOWS)}", param="window")
        subject = raw.get("subject", "*" if scope == "gateway" else None)
        if not isinstance(subject, str) or not 0 < len(subject) <= 200 or (scope == "gateway") != (subject == "*"):
            raise ValidationFailed(
                "subject is the key id, principal, team, model, workflow or run that the budget binds",
                mend="the gateway-wide budget has the subject '*'",
                param="subject",
            )
        now = self._clock.now()
        return Budget(
            budget_id=new_id("budget"),
            scope=cast(str, scope),
            subject=subject,
            window=cast(Window, window),
            limit=_limit(raw.get("limit_usd")),
            window_start=window_start(window, now),
            created_by=created_by,
            created_at=now,
            alert_shares=_shares(raw.get("alert_shares")),
        )


def _limit(value: Any) -> int:
    if isinstance(value, (str, int, float, Decimal)) and not isinstance(value, bool):
        try:
            limit = units(value)
            if limit >= 0 and usd(limit) == Decimal(str(value)):
                return limit
        except (ValueError, InvalidOperation):
            limit = -1
    raise ValidationFailed(
        "limit_usd is an amount in USD from 0 up, with at most ten decimals",
        mend='write it as text, such as "0.05"',
        param="limit_usd",
    )


def _shares(value: Any) -> tuple[str, ...]:
    if value is None:
        return DEFAULT_SHARES
    shares: list[Decimal] = []
    if isinstance(value, (list, tuple)) and len(value) <= 10:
        for item in value:
            try:
                share = Decimal(str(item))
            except InvalidOperation:
                break
            if not (share.is_finite() and 0 < share <= 1):
                break
            shares.append(share.normalize())
        else:
            return tuple(f"{share:f}" for share in sorted(set(shares)))
    raise ValidationFailed(
        "alert_shares is a list of at most ten shares of the limit, each above 0 and at most 1", param="alert_shares"
    )
