"""Times of a schedule: five cron fields, read in a time zone.

``minute hour day-of-month month day-of-week``, each ``*``, a number, a range ``1-5``, a step ``*/15``, or a list
of these; months and weekdays also by name (``JAN``, ``MON``; Sunday is 0 or 7). Where both days are given, either
will do, as cron has it. A time that the clock skips in spring is taken at the first moment after the gap; one that
comes twice in autumn is taken once, the first time; where every hour is meant, each real hour is taken.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Struct

from gateway.clock import SECOND
from gateway.errors import ValidationFailed

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_SHORT = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}
_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 7))
#: A schedule that has no time in so many days has none at all (29 February comes within eight years).
_DAYS_AHEAD = 8 * 366 + 1


class Cron(Struct, frozen=True):
    """A schedule's times; see the module."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    any_weekday: bool
    zone: str

    def after(self, moment: int) -> int:
        """The first time after ``moment``, both in microseconds since 1970. ``ValidationFailed``: there is none."""
        try:
            found = self._after(moment // SECOND)
        except (OverflowError, ValueError):  # before the year 1, or after the year 9999
            found = None
        if found is None:
            raise ValidationFailed("cron: there is no such day", mend="check day of month and month", param="cron")
        return found * SECOND

    def _after(self, moment: int) -> int | None:
        day = datetime.fromtimestamp(moment, UTC).astimezone(ZoneInfo(self.zone)).date() - timedelta(days=1)
        for _ in range(_DAYS_AHEAD):
            if self._falls_on(day):
                times = _times_of(self, day)
                at = bisect_right(times, moment)
                if at < len(times):
                    return times[at]
            day += timedelta(days=1)
        return None

    def _falls_on(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        of_month, of_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        if self.any_day or self.any_weekday:
            return of_month and of_week
        return of_month or of_week

    def times_on(self, day: date) -> Iterator[int]:
        """The times of a day that it falls on, in seconds since 1970, not in order, some maybe twice."""
        zone, every_hour = ZoneInfo(self.zone), len(self.hours) == 24
        for hour in self.hours:
            for minute in self.minutes:
                wall = datetime.combine(day, time(hour, minute))
                seen = {at for fold in (0, 1) if (at := _if_real(wall, zone, fold)) is not None}
                if seen:
                    yield from sorted(seen) if every_hour else sorted(seen)[:1]
                elif not every_hour:
                    yield _after_gap(wall, zone)


@lru_cache(maxsize=256)
def _times_of(cron: Cron, day: date) -> tuple[int, ...]:
    """In order. A schedule is asked for one time after the other, so that a day's are worked out once."""
    return tuple(sorted(set(cron.times_on(day))))


def parse_cron(text: object, zone: object = "UTC") -> Cron:
    """The schedule that is written. ``ValidationFailed`` names the field."""
    if not isinstance(text, str) or len(text) > 200:
        raise ValidationFailed("cron: a text of five fields", mend="such as 30 6 * * MON-FRI", param="cron")
    fields = _SHORT.get(text.strip().lower(), text).upper().split()
    if len(fields) != 5:
        raise ValidationFailed(
            f"cron: five fields are needed, these are {len(fields)}",
            mend="minute hour day-of-month month day-of-week, such as 30 6 * * MON-FRI",
            param="cron",
        )
    sets = [_read(field, *about) for field, about in zip(fields, _FIELDS, strict=True)]
    if not isinstance(zone, str):
        raise ValidationFailed("timezone: the name of a time zone", mend="such as Europe/Zurich", param="timezone")
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValidationFailed(
            "timezone: there is no time zone of that name", mend="such as Europe/Zurich or UTC", param="timezone"
        ) from None
    return Cron(
        minutes=tuple(sorted(sets[0])),
        hours=tuple(sorted(sets[1])),
        days=frozenset(sets[2]),
        months=frozenset(sets[3]),
        weekdays=frozenset(day % 7 for day in sets[4]),
        any_day=fields[2].startswith("*"),
        any_weekday=fields[4].startswith("*"),
        zone=zone,
    )


def _read(field: str, name: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, slash, step_text = part.partition("/")
        step = _number(step_text, name, 1, high) if slash else 1
        if span == "*":
            first, last = low, high
        else:
            head, dash, tail = span.partition("-")
            first = _number(head, name, low, high)
            last = _number(tail, name, low, high) if dash else high if slash else first
        if last < first:
            raise ValidationFailed(f"cron: {name}: {span!r} goes backwards", mend=f"{last}-{first}", param="cron")
        found |= set(range(first, last + 1, step))
    return found


def _number(text: str, name: str, low: int, high: int) -> int:
    names = {
        "month": {word: at + 1 for at, word in enumerate(_MONTHS)},
        "day of week": dict(zip(_DAYS, range(7), strict=True)),
    }
    value = names.get(name, {}).get(text, -1)
    if text.isascii() and text.isdigit():
        value = int(text[:6])
    if not low <= value <= high:
        raise ValidationFailed(f"cron: {name}: {text[:20]!r} is not from {low} to {high}", param="cron")
    return value


def _if_real(wall: datetime, zone: ZoneInfo, fold: int) -> int | None:
    """The moment at which a clock on the wall shows this; ``None`` where it never does."""
    moment = wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)
    return int(moment.timestamp()) if moment.astimezone(zone).replace(tzinfo=None) == wall else None


def _after_gap(wall: datetime, zone: ZoneInfo) -> int:
    """The first moment after the gap that this time falls into."""
    before = wall.replace(tzinfo=zone, fold=1).utcoffset() or timedelta()
    after = wall.replace(tzinfo=zone, fold=0).utcoffset() or timedelta()
    # In a gap, fold=0 gives the offset from before it and fold=1 the one from after it.
    low, high = sorted(
        (int((wall - before).replace(tzinfo=UTC).timestamp()), int((wall - after).replace(tzinfo=UTC).timestamp()))
    )
    while high - low > 1:
        middle = (low + high) // 2
        shown = datetime.fromtimestamp(middle, UTC).astimezone(zone).replace(tzinfo=None)
        low, high = (middle, high) if shown < wall else (low, middle)
    return high
