"""Windows of budgets: over which time spending is summed, and when it begins anew.

``day``, ``week`` (from Monday) and ``month`` begin at midnight of a time zone, ``lifetime`` never ends, ``run``
is one run of a workflow or task. ``rolling:24h``, ``rolling:7d`` is the time that leads up to now: it is summed
in slots, of which one counts until all of it is over, so no stretch of that length sums to more than the cap.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gateway.clock import SECOND

#: No window begins or ends within one: every zone of today is whole quarters of an hour from UTC.
QUARTER = 900 * SECOND
NAMED = ("run", "day", "week", "month", "lifetime")
_ROLLING = re.compile(r"rolling:([1-9]\d{0,2})([hd])")
_MOST_ROLLING = 366 * 86_400 * SECOND
_SLOTS = 24


def is_window(window: str) -> bool:
    """Whether it is a window at all."""
    return window in NAMED or 0 < rolling_length(window) <= _MOST_ROLLING


def rolling_length(window: str) -> int:
    """How long a rolling window is, in microseconds; 0 for any other."""
    found = _ROLLING.fullmatch(window)
    return 0 if found is None else int(found[1]) * (3600 if found[2] == "h" else 86_400) * SECOND


def slot_width(length: int) -> int:
    """How long a slot of a rolling window is: about a twenty-fourth, in whole quarters of an hour."""
    return max(QUARTER, -(-length // _SLOTS // QUARTER) * QUARTER)


def is_zone(name: str) -> bool:
    """Whether it names a time zone."""
    try:
        _zone(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def window_start(window: str, now: int, zone: str = "") -> int:
    """When the window that holds ``now`` began; 0 for one that never ends. A rolling one begins its length ago."""
    length = rolling_length(window)
    if length:
        return now - length
    if window in ("lifetime", "run"):
        return 0
    here = datetime.fromtimestamp(now // SECOND, _zone(zone))
    moment = datetime(here.year, here.month, here.day)  # noqa: DTZ001 - the zone is put to it below
    if window == "week":
        moment -= timedelta(days=moment.weekday())
    elif window == "month":
        moment = moment.replace(day=1)
    return _micros(moment, zone)


def window_end(window: str, start: int, zone: str = "") -> int | None:
    """When the window that began at ``start`` ends; ``None`` for one that never does, or never at once."""
    if window in ("lifetime", "run") or rolling_length(window):
        return None
    here = datetime.fromtimestamp(start // SECOND, _zone(zone))
    moment = datetime(here.year, here.month, here.day)  # noqa: DTZ001 - the zone is put to it below
    if window == "month":
        return _micros((moment.replace(day=1) + timedelta(days=32)).replace(day=1), zone)
    return _micros(moment + timedelta(days=7 if window == "week" else 1), zone)


def _micros(moment: datetime, zone: str) -> int:
    return int(moment.replace(tzinfo=_zone(zone)).timestamp()) * SECOND


def _zone(name: str) -> tzinfo:
    return ZoneInfo(name) if name and name != "UTC" else UTC
