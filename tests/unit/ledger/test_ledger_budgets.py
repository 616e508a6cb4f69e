"""Windows, who is bound, and what a budget may look like."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from fixtures.money_kit import DAY, NOON, ManualClock, charge
from gateway.clock import rfc3339
from gateway.errors import NotFound, PermissionDenied, ValidationFailed
from gateway.ledger.budgets import (
    Budget,
    BudgetService,
    crossed,
    refusal,
    subjects_of,
    window_end,
    window_start,
)
from gateway.money import units
from gateway.security.access import caller_for

ADMIN = caller_for("root", "admin")


class MemoryBudgets:
    def __init__(self) -> None:
        self.kept: dict[str, Budget] = {}

    def insert(self, budget: Budget) -> None:
        self.kept[budget.budget_id] = budget

    def get(self, budget_id: str) -> Budget | None:
        return self.kept.get(budget_id)

    def decide(self, budget_id: str, extra: int, now: int) -> Budget | None:
        found = self.kept.get(budget_id)
        return None if found is None else replace(found, extra=extra)

    def list(
        self, *, scope: str | None, subject: str | None, active: bool | None, parent: str | None = None,
        limit: int | None = None,
    ) -> list[Budget]:  # fmt: skip
        return [
            budget
            for budget in self.kept.values()
            if scope in (None, budget.scope) and subject in (None, budget.subject) and active in (None, budget.active)
        ][:limit]

    def deactivate(self, budget_id: str) -> bool:
        was = self.kept[budget_id].active
        self.kept[budget_id] = replace(self.kept[budget_id], active=False)
        return was


@pytest.fixture
def service() -> BudgetService:
    return BudgetService(MemoryBudgets(), ManualClock())


@pytest.mark.parametrize(
    ("window", "start", "end"),
    [
        ("day", "2026-03-04", "2026-03-05"),
        ("week", "2026-03-02", "2026-03-09"),
        ("month", "2026-03-01", "2026-04-01"),
    ],
)
def test_windows_are_utc(window: str, start: str, end: str) -> None:
    began = window_start(window, NOON)
    assert rfc3339(began) == f"{start}T00:00:00.000000Z"
    ended = window_end(window, began)
    assert ended is not None
    assert rfc3339(ended) == f"{end}T00:00:00.000000Z"
    assert window_start(window, ended - 1) == began
    assert window_start(window, ended) == ended


@pytest.mark.parametrize(
    ("zone", "window", "start", "end"),
    [
        ("Europe/Berlin", "day", "2026-03-03T23:00", "2026-03-04T23:00"),
        ("America/New_York", "week", "2026-03-02T05:00", "2026-03-09T04:00"),  # summer time begins on the 8th
        ("Europe/Berlin", "month", "2026-02-28T23:00", "2026-03-31T22:00"),
        ("Asia/Kathmandu", "day", "2026-03-03T18:15", "2026-03-04T18:15"),
    ],
)
def test_windows_begin_at_midnight_of_their_zone(zone: str, window: str, start: str, end: str) -> None:
    began = window_start(window, NOON, zone)
    ended = window_end(window, began, zone)
    assert ended is not None
    assert (rfc3339(began)[:16], rfc3339(ended)[:16]) == (start, end)
    assert window_start(window, ended - 1, zone) == began
    assert window_start(window, ended, zone) == ended


def test_a_lifetime_never_ends() -> None:
    assert window_start("lifetime", NOON) == 0
    assert window_end("lifetime", 0) is None


def test_everything_a_charge_belongs_to_binds_it() -> None:
    bound = subjects_of(charge(workflow_id="risk_analysis", run_id="run-1", project="apollo"))
    assert bound == (
        ("key", "key-a"),
        ("user", "alice"),
        ("team", "risk"),
        ("project", "apollo"),
        ("model", "gpt-4"),
        ("provider", "openai"),
        ("workflow", "risk_analysis"),
        ("run", "run-1"),
        ("gateway", "*"),
    )
    alone = (("user", "alice"), ("model", "gpt-4"), ("provider", "openai"), ("gateway", "*"))
    assert subjects_of(charge(key_id=None, team=None)) == alone


def test_a_new_window_starts_with_nothing_spent_but_keeps_what_is_reserved() -> None:
    budget = Budget("b", "user", "alice", "day", 100, window_start("day", NOON), "root", NOON, spent=70, reserved=20)
    assert budget.as_of(NOON) is budget
    later = budget.as_of(NOON + DAY)
    assert (later.spent, later.reserved, later.window_start) == (0, 20, budget.window_start + DAY)


def test_alerts_are_told_once() -> None:
    budget = Budget("b", "user", "alice", "day", 100, 0, "root", 0, spent=80, alert_shares=("0.5", "0.8", "1"))
    assert [alert.share for alert in crossed(budget, ())] == ["0.5", "0.8"]
    assert [alert.share for alert in crossed(budget, ("0.5",))] == ["0.8"]
    assert crossed(replace(budget, spent=49), ()) == ()


def test_refusal_says_what_is_left_and_until_when() -> None:
    error = refusal(
        Budget("b", "key", "k", "day", units("1"), window_start("day", NOON), "r", 0, units("0.9")), units("0.2")
    )
    assert error.details == {
        "budget_id": "b",
        "scope": "key",
        "subject": "k",
        "window": "day",
        "limit": Decimal(1),
        "spent": Decimal("0.9"),
        "left": Decimal("0.1"),
        "reserved": Decimal(0),
        "requested": Decimal("0.2"),
        "resets_at": "2026-03-05T00:00:00.000000Z",
        "at_cap": "refuse",
    }
    assert error.status == 402


def test_create_list_end(service: BudgetService) -> None:
    budget = service.create(
        ADMIN, {"scope": "team", "subject": "risk", "limit_usd": "0.05", "alert_shares": [1, "0.50"]}
    )
    assert (budget.limit, budget.window, budget.alert_shares) == (units("0.05"), "day", ("0.5", "1"))
    assert service.list(ADMIN) == [budget]
    assert service.get(ADMIN, budget.budget_id) == budget
    assert not service.deactivate(ADMIN, budget.budget_id).active
    assert not service.deactivate(ADMIN, budget.budget_id).active
    assert service.list(ADMIN) == []
    for call in (service.get, service.deactivate):
        with pytest.raises(NotFound):
            call(ADMIN, "budget_none")


def test_the_budget_of_a_new_key_binds_that_key(service: BudgetService) -> None:
    budget = service.create_for_key(ADMIN, "key-9", {"limit_usd": "0.05", "window": "day"})
    assert (budget.scope, budget.subject, budget.window) == ("key", "key-9", "day")
    with pytest.raises(ValidationFailed) as caught:
        service.create_for_key(ADMIN, "key-9", {"limit_usd": "1", "subject": "key-8"})
    assert caught.value.param == "budget.subject"


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        ({"scope": "planet"}, "scope"),
        ({"scope": ["user"]}, "scope"),
        ({"window": "year"}, "window"),
        ({"window": ["day"]}, "window"),
        ({"window": "rolling:0h"}, "window"),
        ({"window": "rolling:999d"}, "window"),
        ({"scope": "run", "window": "run"}, "window"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"time_zone": "../../etc/passwd"}, "time_zone"),
        ({"time_zone": 3}, "time_zone"),
        ({"time_zone": "Europe/Berlin", "window": "lifetime"}, "time_zone"),
        ({"at_cap": "explode"}, "at_cap"),
        ({"at_cap": ["queue"]}, "at_cap"),
        ({"at_cap": "queue", "window": "lifetime"}, "at_cap"),
        ({"at_cap": "degrade"}, "degrade_to"),
        ({"at_cap": "degrade", "degrade_to": "gpt-4"}, "degrade_to"),
        ({"at_cap": "degrade", "degrade_to": [3]}, "degrade_to"),
        ({"degrade_to": ["gpt-4"]}, "degrade_to"),
        ({"subject": ""}, "subject"),
        ({"subject": "*"}, "subject"),
        ({"scope": "gateway", "subject": "alice"}, "subject"),
        ({"limit_usd": None}, "limit_usd"),
        ({"limit_usd": True}, "limit_usd"),
        ({"limit_usd": "-1"}, "limit_usd"),
        ({"limit_usd": "lots"}, "limit_usd"),
        ({"limit_usd": float("nan")}, "limit_usd"),
        ({"limit_usd": "1e30"}, "limit_usd"),
        ({"limit_usd": "0.00000000001"}, "limit_usd"),
        ({"alert_shares": [2]}, "alert_shares"),
        ({"alert_shares": "0.5"}, "alert_shares"),
        ({"alert_shares": ["x"]}, "alert_shares"),
        ({"limit": 5}, "limit"),
    ],
)
def test_bad_budgets_are_refused(service: BudgetService, raw: dict[str, Any], param: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        service.create(ADMIN, {"scope": "user", "subject": "alice", "limit_usd": "1"} | raw)
    assert caught.value.param == param


def test_permissions(service: BudgetService) -> None:
    developer = caller_for("dev", "developer")
    budget = service.create(ADMIN, {"scope": "gateway", "limit_usd": 1})
    with pytest.raises(PermissionDenied):
        service.create(developer, {"scope": "gateway", "limit_usd": 1})
    with pytest.raises(PermissionDenied):
        service.create_for_key(developer, "k", {"limit_usd": 1})
    with pytest.raises(PermissionDenied):
        service.list(developer)
    with pytest.raises(PermissionDenied):
        service.deactivate(developer, budget.budget_id)
