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
#: Of 80 % in the middle of a normal distribution.
_Z = 1.2816


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
    ahead: int
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
    backtest = _backtest(tries, history, ahead)
    month = today.isoformat()[:7]
    if len(history) < LEAST_DAYS:
        return Forecast(month, spent, None, None, None, "", len(history), backtest)
    method = _best(tries)
    middle = METHODS[method](history, ahead)
    interval = _interval(tries, method, history, middle)
    expected = max(before + round(middle), spent)
    if interval is None:
        return Forecast(month, spent, expected, None, None, method, len(history), backtest)
    low, high = (max(before + round(end), spent) for end in interval)
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
            ahead,
            {name: method(history[:day], ahead) for name, method in METHODS.items()},
            sum(history[day : day + ahead]),
        )
        for day in range(LEAST_DAYS, len(history) - ahead + 1)
    ]


def _best(tries: Sequence[_Try]) -> str:
    """The method whose forecasts were off least; the first where nothing was tried."""
    return min(METHODS, key=lambda name: sum(abs(item.told[name] - item.came) for item in tries))


def _interval(tries: Sequence[_Try], method: str, history: Sequence[int], middle: float) -> tuple[float, float] | None:
    """Between what the end of a forecast of ``middle`` lies: the shares of a forecast between which so many of the
    tries came as is wanted. Tries that follow each other share most of their days, and so know less than their
    number says; the interval is never narrower than days that err each for itself would make it."""
    ratios = sorted(item.came / item.told[method] for item in tries if item.told[method] > 0)
    count = len(ratios)
    if count < _LEAST_TRIES:
        return None
    tail = (1 - NOMINAL) / 2
    low = ratios[max(math.floor((count + 1) * tail + 1e-9), 1) - 1]
    high = ratios[min(math.ceil((count + 1) * (1 - tail) - 1e-9), count) - 1]
    half = _Z * _noise(history) * math.sqrt(tries[0].ahead * (1 + tries[0].ahead / (4 * _WEEK)))
    return min(middle * low, middle - half), max(middle * high, middle + half)


def _noise(history: Sequence[int]) -> float:
    """How far a day is usually off from the mean of the last four of its weekday."""
    errors = []
    for day in range(max(len(history) - 4 * _WEEK, _WEEK), len(history)):
        same = [history[at] for at in range(day % _WEEK, day, _WEEK)][-4:]
        errors.append(history[day] - sum(same) / len(same))
    return math.sqrt(sum(error * error for error in errors) / len(errors)) if errors else 0.0


def _backtest(tries: Sequence[_Try], history: Sequence[int], ahead: int) -> Backtest:
    errors, covered = [], []
    for item in tries:
        known = [other for other in tries if other.day + ahead <= item.day]
        method = _best(known)
        if item.came:
            errors.append(abs(item.told[method] - item.came) / item.came)
        interval = _interval(known, method, history[: item.day], item.told[method])
        if interval is not None:
            covered.append(interval[0] <= item.came <= interval[1])
    return Backtest(
        tries=len(tries),
        days=ahead,
        error=sum(errors) / len(errors) if errors else None,
        coverage=sum(covered) / len(covered) if covered else None,
        covered_tries=len(covered),
    )
