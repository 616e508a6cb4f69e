"""What the month will have cost at its end: a forecast with an interval, and how such forecasts did before. Pure.

Several simple methods are tried. Which one is used, and how wide the interval is, follows from how they would
have done on earlier days of the same history: at each of those days only what was known on it counts. The
backtest chooses and measures in the same way, day by day, so that its coverage and error are of forecasts that
could have been made, not of a fit.
"""

from __future__ import annotations

import math
from calendar import monthrange
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from types import MappingProxyType

from msgspec import Struct

#: The share of ends that the interval is to hold.
NOMINAL = 0.8
#: A history of fewer days is told as it is: too short.
LEAST_DAYS = 14
#: So far back is looked.
MOST_DAYS = 180
#: Fewer tries than these give no interval: with nine, 80 % is the whole of what was seen.
_LEAST_TRIES = 9
_WEEK = 7


class Backtest(Struct, frozen=True):
    """How forecasts of ``days`` days did on the history: the mean of their errors as a share of what was spent,
    and the share of ends inside their intervals (``None`` where there were too few)."""

    tries: int
    days: int
    error: float | None
    coverage: float | None
    covered_tries: int


class Forecast(Struct, frozen=True):
    """The month's cost in units: what is spent, what is expected at its end, and between what (``None`` where the
    history is too short for an interval). ``method`` is empty where there is no history to forecast from."""

    month: str
    spent: int
    expected: int | None
    low: int | None
    high: int | None
    method: str
    history_days: int
    backtest: Backtest


def _recent(history: Sequence[int], ahead: int) -> float:
    return ahead * sum(history[-_WEEK:]) / len(history[-_WEEK:])


def _four_weeks(history: Sequence[int], ahead: int) -> float:
    return ahead * sum(history[-4 * _WEEK :]) / len(history[-4 * _WEEK :])


def _weekdays(history: Sequence[int], ahead: int) -> float:
    """Each weekday as the mean of its last four."""
    total = 0.0
    for day in range(len(history), len(history) + ahead):
        same = [history[at] for at in range(day % _WEEK, len(history), _WEEK)][-4:]
        total += sum(same) / len(same)
    return total


def _growing(history: Sequence[int], ahead: int) -> float:
    """The weekdays, growing (or falling) as the last two weeks did against the two before, half of it each time."""
    late, early = sum(history[-2 * _WEEK :]), sum(history[-4 * _WEEK : -2 * _WEEK])
    if len(history) < 4 * _WEEK or not early or not late:
        return _weekdays(history, ahead)
    fortnights = 0.5 + ahead / (4 * _WEEK)
    ratio = min(max(late / early, 0.5), 2.0) ** (0.5 * fortnights)
    return float(ahead * late / (2 * _WEEK) * ratio)


METHODS: Mapping[str, Callable[[Sequence[int], int], float]] = MappingProxyType(
    {"four_weeks": _four_weeks, "last_week": _recent, "weekdays": _weekdays, "trend": _growing}
)


class _Try(Struct, frozen=True):
    """One forecast that could have been made: on which day of the history, by each method, and what came."""

    day: int
    told: dict[str, float]
    came: int


def month_forecast(daily: Mapping[date, int], today: date) -> Forecast:
    """The forecast of ``today``'s month, from the cost of each day; today's is what is spent so far."""
    last = date(today.year, today.month, monthrange(today.year, today.month)[1])
    ahead = (last - today).days + 1
    before = sum(
        cost for day, cost in daily.items() if (day.year, day.month) == (today.year, today.month) and day < today
    )
    spent = before + daily.get(today, 0)
    history = _history(daily, today)
    tries = _tries(history, ahead)
    backtest = _backtest(tries, ahead)
    month = today.isoformat()[:7]
    if len(history) < LEAST_DAYS:
        return Forecast(month, spent, None, None, None, "", len(history), backtest)
    method = _best(tries)
    middle = METHODS[method](history, ahead)
    interval = _interval(tries, method)
    expected = max(before + round(middle), spent)
    if interval is None:
        return Forecast(month, spent, expected, None, None, method, len(history), backtest)
    low, high = (max(before + round(middle * ratio), spent) for ratio in interval)
    return Forecast(month, spent, expected, low, high, method, len(history), backtest)


def _history(daily: Mapping[date, int], today: date) -> list[int]:
    """The cost of each whole day, from the first that cost anything, but not further back than is looked."""
    used = [day for day, cost in daily.items() if cost and day < today]
    if not used:
        return []
    count = min((today - min(used)).days, MOST_DAYS)
    return [daily.get(today - timedelta(days=back), 0) for back in range(count, 0, -1)]


def _tries(history: Sequence[int], ahead: int) -> list[_Try]:
    return [
        _Try(
            day,
            {name: method(history[:day], ahead) for name, method in METHODS.items()},
            sum(history[day : day + ahead]),
        )
        for day in range(LEAST_DAYS, len(history) - ahead + 1)
    ]


def _best(tries: Sequence[_Try]) -> str:
    """The method whose forecasts were off least; the first where nothing was tried."""
    return min(METHODS, key=lambda name: sum(abs(item.told[name] - item.came) for item in tries))


def _interval(tries: Sequence[_Try], method: str) -> tuple[float, float] | None:
    """Between which shares of a forecast the end came, in so many of the tries as is wanted."""
    ratios = sorted(item.came / item.told[method] for item in tries if item.told[method] > 0)
    count = len(ratios)
    if count < _LEAST_TRIES:
        return None
    tail = (1 - NOMINAL) / 2
    low = math.floor((count + 1) * tail + 1e-9)
    high = math.ceil((count + 1) * (1 - tail) - 1e-9)
    return ratios[max(low, 1) - 1], ratios[min(high, count) - 1]


def _backtest(tries: Sequence[_Try], ahead: int) -> Backtest:
    errors, covered = [], []
    for item in tries:
        known = [other for other in tries if other.day + ahead <= item.day]
        method = _best(known)
        if item.came:
            errors.append(abs(item.told[method] - item.came) / item.came)
        interval = _interval(known, method)
        if interval is not None:
            low, high = (item.told[method] * ratio for ratio in interval)
            covered.append(low <= item.came <= high)
    return Backtest(
        tries=len(tries),
        days=ahead,
        error=sum(errors) / len(errors) if errors else None,
        coverage=sum(covered) / len(covered) if covered else None,
        covered_tries=len(covered),
    )
