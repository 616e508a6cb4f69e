"""Setting, showing and ending budgets, and deciding on what was asked for beyond them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol, cast

from msgspec.structs import replace

from gateway.clock import Clock
from gateway.errors import Conflict, NotFound, ValidationFailed
from gateway.ids import new_id
from gateway.ledger.budget import (
    AT_CAP,
    DEFAULT_SHARES,
    SCOPES,
    THRESHOLD_ID,
    THRESHOLD_SCOPE,
    Budget,
    Scope,
    Spending,
    crossed,
    named_id,
    refusal,
    subjects_of,
)
from gateway.ledger.windows import NAMED, is_window, is_zone, rolling_length, window_end, window_start
from gateway.money import exact_units

__all__ = [
    "SCOPES", "THRESHOLD_ID", "THRESHOLD_SCOPE", "Budget", "BudgetService", "BudgetStore", "Scope", "Spending",
    "crossed", "refusal", "subjects_of", "window_end", "window_start",
]  # fmt: skip

_FIELDS = frozenset({"scope", "subject", "limit_usd", "window", "time_zone", "alert_shares", "at_cap", "degrade_to"})
_MOST_DEGRADES = 5


class BudgetStore(Protocol):
    """Where budgets are kept."""

    def insert(self, budget: Budget) -> None:
        """One of that id that is there is in force again, with this limit."""
        ...

    def get(self, budget_id: str) -> Budget | None: ...

    def list(
        self, *, scope: str | None, subject: str | None, active: bool | None, parent: str | None = None,
        limit: int | None = None,
    ) -> list[Budget]:  # fmt: skip
        """By their ids; those that are not ``active``, the newest first. Budgets of single runs that come of one for
        each run, and of steps, are listed only where their ``parent`` is asked for."""
        ...

    def deactivate(self, budget_id: str) -> bool:
        """True if it was active."""
        ...

    def decide(self, budget_id: str, extra: int, now: int) -> Budget | None:
        """Adds ``extra`` to this window's cap, or (0) denies what was asked for. ``None``: no such budget in force."""
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

    def create_for_run(self, caller: Requester, run_id: str, limit_usd: str) -> Budget:
        """What a run that is about to begin may cost: a bound that whoever begins it sets themselves."""
        raw = {"scope": "run", "subject": run_id, "window": "lifetime", "limit_usd": limit_usd}
        budget = replace(self._parse(raw, caller.principal), budget_id=named_id(run_id))
        self._store.insert(budget)
        self._changed()
        return budget

    def end_for_run(self, budget: Budget) -> None:
        """Takes that back where the run could not begin."""
        self._store.deactivate(budget.budget_id)
        self._changed()

    def list(
        self,
        caller: Requester,
        *,
        scope: str | None = None,
        subject: str | None = None,
        active: bool | None = True,
        parent: str | None = None,
        limit: int | None = None,
    ) -> list[Budget]:
        """Budgets as they stand now: those in force, those that have ended (``active=False``), or both (``None``)."""
        caller.require("budgets:read")
        self._catch_up()
        now = self._clock.now()
        found = self._store.list(scope=scope, subject=subject, active=active, parent=parent, limit=limit)
        return [budget.as_of(now) for budget in found if budget.scope != THRESHOLD_SCOPE]

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

    def approve(self, caller: Requester, budget_id: str, amount: Any) -> Budget:
        """Lets this window spend ``amount`` USD beyond the limit. ``ValidationFailed`` for none."""
        caller.require("budgets:write")
        extra = _limit(amount, "amount_usd")
        if extra == 0:
            raise ValidationFailed("amount_usd is an amount in USD above 0", param="amount_usd")
        return self._decide(budget_id, extra)

    def deny(self, caller: Requester, budget_id: str) -> Budget:
        """Says no to what was asked for; ``Conflict`` where nothing was."""
        caller.require("budgets:write")
        if self.get(caller, budget_id).asked <= 0:
            raise Conflict("nothing is asked for beyond this budget", budget_id=budget_id)
        return self._decide(budget_id, 0)

    def _decide(self, budget_id: str, extra: int) -> Budget:
        decided = self._store.decide(budget_id, extra, self._clock.now())
        if decided is None or decided.scope == THRESHOLD_SCOPE:
            raise NotFound("no budget in force has that id", param="budget_id")
        self._changed()
        return decided

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
            raise ValidationFailed(
                f"a budget has no field {unknown[0]!r}"[:120],
                mend=f"its fields are: {', '.join(sorted(_FIELDS))}",
                param=unknown[0][:60],
            )
        scope = raw.get("scope")
        window = raw.get("window", "lifetime" if scope == "run" else "day")
        if scope not in SCOPES:
            raise ValidationFailed(f"scope is one of: {', '.join(SCOPES)}", param="scope")
        if not isinstance(window, str) or not is_window(window):
            raise ValidationFailed(
                f"window is one of: {', '.join(NAMED)}, or a rolling one such as rolling:24h or rolling:7d",
                param="window",
            )
        if window == "run" and scope == "run":
            raise ValidationFailed(
                "a budget of one run has the window lifetime", mend="leave window out or say lifetime", param="window"
            )
        zone = _zone(raw.get("time_zone"), window)
        subject = raw.get("subject", "*" if scope == "gateway" else None)
        if not isinstance(subject, str) or not 0 < len(subject) <= 200 or (scope == "gateway") != (subject == "*"):
            raise ValidationFailed(
                "subject is the key id, principal, team, project, model, provider, workflow or run that is bound",
                mend="the gateway-wide budget has the subject '*'",
                param="subject",
            )
        now = self._clock.now()
        return Budget(
            budget_id=new_id("budget"),
            scope=cast(str, scope),
            subject=subject,
            window=window,
            limit=_limit(raw.get("limit_usd")),
            window_start=0 if rolling_length(window) else window_start(window, now, zone),
            created_by=created_by,
            created_at=now,
            alert_shares=_shares(raw.get("alert_shares")),
            time_zone=zone,
            **_at_cap(raw, window),
        )


def _zone(value: Any, window: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > 60 or not is_zone(value):
        raise ValidationFailed("time_zone is a name such as Europe/Berlin or UTC", param="time_zone")
    if window not in ("day", "week", "month"):
        raise ValidationFailed("only days, weeks and months have a time_zone", param="time_zone")
    return "" if value == "UTC" else value


def _at_cap(raw: Mapping[str, Any], window: str) -> dict[str, Any]:
    """What happens at the cap, as fields of a budget."""
    said, models = raw.get("at_cap", "refuse"), raw.get("degrade_to")
    if said not in AT_CAP:
        raise ValidationFailed(f"at_cap is one of: {', '.join(AT_CAP)}", param="at_cap")
    if said == "queue" and window in ("lifetime", "run"):
        raise ValidationFailed(
            f"a window of {window} has no end to wait for", mend="choose another window, or approve", param="at_cap"
        )
    good = isinstance(models, list) and all(isinstance(name, str) and 0 < len(name) <= 200 for name in models)
    listed = models is None or isinstance(models, list)
    if not listed or (said == "degrade") != bool(models) or (models and not (good and len(models) <= _MOST_DEGRADES)):
        raise ValidationFailed(
            "degrade_to is a list of up to five models, and goes with at_cap: degrade", param="degrade_to"
        )
    return {"at_cap": said, "degrade_to": tuple(models or ())}


def _limit(value: Any, name: str = "limit_usd") -> int:
    if isinstance(value, (str, int, float, Decimal)) and not isinstance(value, bool):
        with contextlib.suppress(ValueError):  # it is told what an amount is
            return exact_units(value)
    raise ValidationFailed(
        f"{name} is an amount in USD from 0 up, with at most ten decimals",
        mend='write it as text, such as "0.05"',
        param=name,
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
