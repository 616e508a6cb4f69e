"""Forecasts of the month: what they say of histories whose end is known, and what they admit."""

from __future__ import annotations

import random
from datetime import date, timedelta

import pytest

from gateway.ledger.forecast import LEAST_DAYS, month_forecast

TODAY = date(2026, 5, 11)


def history(costs: list[int], today: date = TODAY) -> dict[date, int]:
    """These costs on the days before ``today``."""
    return {today - timedelta(days=len(costs) - at): cost for at, cost in enumerate(costs)}


def test_the_same_every_day_is_foreseen_to_the_unit() -> None:
    found = month_forecast(history([1000] * 100), TODAY)
    assert (found.spent, found.expected, found.low, found.high) == (10_000, 31_000, 31_000, 31_000)
    assert found.backtest.error == 0
    assert found.backtest.coverage == 1
    assert found.month == "2026-05"


def test_weekends_are_seen() -> None:
    costs = [0 if (TODAY - timedelta(days=120 - at)).weekday() > 4 else 700 for at in range(120)]
    for day in range(1, 31):
        today = date(2026, 5, 11) + timedelta(days=day)
        later = [*costs, *(0 if (TODAY + timedelta(days=at)).weekday() > 4 else 700 for at in range(day))]
        found = month_forecast(history(later, today), today)
        first = today.replace(day=1)
        days = [first + timedelta(days=at) for at in range(31)]
        truth = sum(700 for there in days if there.month == today.month and there.weekday() < 5)
        assert found.expected == truth, (today, found)


def test_the_interval_holds_what_it_says() -> None:
    """Over many months of a noisy, growing history the ends are inside about as often as is said, and the
    backtest says about how often that was."""
    chance = random.Random(5)
    inside, said = [], []
    for _ in range(60):
        level, costs = 1000.0, []
        for _ in range(170):
            level *= 1 + chance.gauss(0.002, 0.02)
            costs.append(int(level * chance.lognormvariate(0, 0.4)))
        known, came = costs[:150], costs[150:]
        today = date(2026, 5, 12)
        found = month_forecast(history(known, today), today)
        assert found.low is not None
        assert found.high is not None
        end = found.spent + sum(came)
        inside.append(found.low <= end <= found.high)
        said.append(found.backtest.coverage or 0)
    assert 0.6 <= sum(inside) / len(inside) <= 1
    assert abs(sum(said) / len(said) - sum(inside) / len(inside)) < 0.2


def test_the_backtest_knows_nothing_of_later_days() -> None:
    """What came after a day changes no forecast of that day: a history with a break is off by the break."""
    calm, broken = [100] * 60, [100] * 60 + [10_000] * 40
    assert month_forecast(history(calm), TODAY).backtest.error == 0
    error = month_forecast(history(broken), TODAY).backtest.error
    assert error is not None
    assert error > 0.3


def test_a_short_history_is_told_as_one() -> None:
    found = month_forecast(history([5] * (LEAST_DAYS - 1)), TODAY)
    assert (found.expected, found.low, found.method) == (None, None, "")
    assert found.history_days == LEAST_DAYS - 1
    longer = month_forecast(history([5] * (LEAST_DAYS + 1)), TODAY)
    assert longer.expected == 31 * 5
    assert (longer.low, longer.high, longer.backtest.coverage) == (None, None, None)


def test_what_is_spent_already_is_the_least() -> None:
    found = month_forecast({**history([1] * 60), TODAY: 10**9}, TODAY)
    assert found.spent == 10**9 + 10
    assert found.expected == found.spent
    assert found.low is not None
    assert found.low >= found.spent


@pytest.mark.parametrize("daily", [{}, {TODAY: 7}, dict.fromkeys([TODAY - timedelta(days=3)], 0)])
def test_nothing_is_no_ground_for_a_forecast(daily: dict[date, int]) -> None:
    found = month_forecast(daily, TODAY)
    assert found.expected is None
    assert found.backtest.tries == 0
