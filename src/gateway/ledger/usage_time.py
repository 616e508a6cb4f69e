"""Where the sums over a time stand: whole days and hours in those that are kept, what is left in the entries.

Sums are kept by UTC hour and UTC day. A question in another time zone, or between two moments inside an
hour, is answered exactly all the same.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Literal, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Struct

from gateway.clock import SECOND
from gateway.errors import ValidationFailed
from gateway.ledger.usage_ask import UsageAsk, unit_of

HOUR = 3600 * SECOND
DAY = 24 * HOUR
_EPOCH = date(1970, 1, 1)
_UTC = ZoneInfo("UTC")
#: How far apart a zone's offset is looked at.
_STEP = DAY


class Reading(Struct, frozen=True):
    """A part of the time that is asked about, and where its sums are: ``lo`` included, ``hi`` not, in days,
    hours, or (entries) microseconds. ``offset`` is the zone's, in seconds; hours that it cuts at midnight are
    left to the entries where ``whole`` is false.

    With a ``turn``, what is read belongs to the day after (1) or before (-1) in the zone, and was counted for its
    UTC day: it is taken from there. Of each UTC day only ``hours`` are meant then."""

    source: Literal["day", "hour", "entry"]
    spans: tuple[tuple[int, int], ...]
    offset: int = 0
    whole: bool = True
    turn: Literal[-1, 0, 1] = 0
    hours: tuple[int, int] = (0, 24)


def zone_of(name: str, param: str = "time_zone") -> ZoneInfo:
    """The zone of a name such as Asia/Kolkata. ``ValidationFailed`` for none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValidationFailed(
            f"{param}: no time zone of that name is known here", mend="write one such as Asia/Kolkata", param=param
        ) from None


def midnight(day: date, zone: tzinfo) -> int:
    """The first moment of a day in a zone, in microseconds."""
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * SECOND


def midnight_of_text(text: str, zone: ZoneInfo) -> int:
    """The first moment of a day written as 2026-01-31. ``ValueError`` for what is none."""
    return midnight(date.fromisoformat(text), zone)


def day_of(moment: int, zone: ZoneInfo) -> date:
    """The day that it is in a zone."""
    return datetime.fromtimestamp(moment // SECOND, zone).date()


def label(unit: str, number: int, zone: ZoneInfo) -> str:
    """How a bucket is told: a day (by its number since 1970) as a date, a week by its Monday, an hour (since
    1970) with the zone's offset."""
    if unit == "hour":
        return datetime.fromtimestamp(number * 3600, zone).isoformat()
    day = _EPOCH + timedelta(days=number)
    if unit == "week":
        day -= timedelta(days=day.weekday())
    return day.isoformat()[:7] if unit == "month" else day.isoformat()


def readings(ask: UsageAsk, now: int, first: int = 0) -> list[Reading]:
    """Where the sums that are asked for stand; every moment once. Before ``first`` there is nothing."""
    since, until = _bounds(ask, now, first)
    if since >= until:
        return []
    unit = unit_of(ask.by)
    if ask.run_id or ask.task_id:
        return [Reading("entry", ((lo, hi),), offset) for lo, hi, offset in _constant(since, until, ask.zone, unit)]
    found: list[Reading] = []
    for lo, hi, offset in _constant(since, until, ask.zone, unit):
        found += _hours(lo, hi, 0) if unit == "hour" else _days(lo, hi, offset, unit)
    return found


def days_and_entries(ask: UsageAsk, now: int, first: int = 0) -> list[Reading]:
    """The same of sums that are kept by day alone."""
    since, until = _bounds(ask, now, first)
    whole = -(-since // DAY), until // DAY
    if since >= until:
        return []
    if ask.run_id or ask.task_id or whole[0] >= whole[1]:
        return [Reading("entry", ((since, until),))]
    edges = tuple((lo, hi) for lo, hi in ((since, whole[0] * DAY), (whole[1] * DAY, until)) if lo < hi)
    return [Reading("day", (whole,)), *([Reading("entry", edges)] if edges else [])]


def _bounds(ask: UsageAsk, now: int, first: int) -> tuple[int, int]:
    """From when to when there may be something. Beyond now there is nothing, so that the hour and the day that
    run need not be cut."""
    end = (now // DAY + 2) * DAY
    since = max(first // DAY * DAY, ask.since or 0)
    return since, end if ask.until is None else min(ask.until, end)


def _days(since: int, until: int, offset: int, unit: str) -> list[Reading]:
    """Whole UTC days from their sums, with what is of another day in the zone put there; the hours before and after
    from theirs."""
    first, last = -(-since // DAY), until // DAY
    if first >= last:
        return _hours(since, until, offset)
    edges = [*_hours(since, first * DAY, offset), *_hours(last * DAY, until, offset)]
    return [Reading("day", ((first, last),)), *(_turned(first, last, offset, unit) if offset else []), *edges]


def _turned(first: int, last: int, offset: int, unit: str) -> list[Reading]:
    """What is of the next day or the day before in a zone: the hours at the end or the start of each UTC day, and
    the entries of a part of an hour. Where that day is of the same week or month, nothing need be moved."""
    turn: Literal[-1, 1] = 1 if offset > 0 else -1
    spans = _where_another_begins(first, last, turn, unit)
    if not spans:
        return []
    midnight_at = (86_400 - offset) if turn > 0 else -offset  # of the zone, in seconds of the UTC day
    whole, rest = divmod(midnight_at, 3600)
    hours = (whole + (rest > 0), 24) if turn > 0 else (0, whole)
    found = []
    if hours[0] < hours[1]:
        found.append(Reading("hour", tuple((lo * 24, hi * 24) for lo, hi in spans), turn=turn, hours=hours))
    if rest:
        part = (rest, 3600) if turn > 0 else (0, rest)
        days = (day for lo, hi in spans for day in range(lo, hi))
        cut = tuple(tuple(day * DAY + (whole * 3600 + at) * SECOND for at in part) for day in days)
        found.append(Reading("entry", cast("tuple[tuple[int, int], ...]", cut), turn=turn))
    return found


def _where_another_begins(first: int, last: int, turn: int, unit: str) -> tuple[tuple[int, int], ...]:
    """The days (in spans) of which the one after or before is of another unit."""
    if unit == "day":
        return ((first, last),)
    days = range(first, last)
    return tuple((day, day + 1) for day in days if label(unit, day, _UTC) != label(unit, day + turn, _UTC))


def _hours(since: int, until: int, offset: int) -> list[Reading]:
    """Whole hours from their sums, what is left from the entries."""
    first, last = -(-since // HOUR), until // HOUR
    if first > last or since >= until:
        return [Reading("entry", ((since, until),), offset)] if since < until else []
    found = []
    cut = [(lo, hi) for lo, hi in ((since, first * HOUR), (last * HOUR, until)) if lo < hi]
    if first < last:
        whole = offset % 3600 == 0
        found.append(Reading("hour", ((first, last),), offset, whole))
        if not whole:
            cut += _cut_hours(first, last, offset)
    if cut:
        found.append(Reading("entry", tuple(cut), offset))
    return found


def _cut_hours(first: int, last: int, offset: int) -> list[tuple[int, int]]:
    """The hours among these in which the zone's midnight falls."""
    day = -(-(first * 3600 + offset) // 86_400)
    found = []
    while (midnight_at := day * 86_400 - offset) < last * 3600:
        hour = midnight_at // 3600
        if hour >= first:
            found.append((hour * HOUR, (hour + 1) * HOUR))
        day += 1
    return found


def _constant(since: int, until: int, zone_name: str, unit: str) -> list[tuple[int, int, int]]:
    """The time in parts during which the zone's offset (seconds) stays; one part where it does not matter."""
    if unit in ("", "hour") or zone_name == "UTC":
        return [(since, until, 0)]
    zone = zone_of(zone_name)
    parts = []
    start, offset = since, _offset(since, zone)
    at = since
    while at < until:
        following = min(at + _STEP, until)
        if _offset(following, zone) != offset:
            change = _change(at, following, offset, zone)
            parts.append((start, change, offset))
            start, offset = change, _offset(change, zone)
            following = change
        at = following
    if start < until:
        parts.append((start, until, offset))
    return parts


def _change(lo: int, hi: int, offset: int, zone: ZoneInfo) -> int:
    """The moment, to the second, at which the offset is another."""
    while hi - lo > SECOND:
        middle = (lo + hi) // 2 // SECOND * SECOND
        if middle <= lo:
            break
        if _offset(middle, zone) == offset:
            lo = middle
        else:
            hi = middle
    return hi


def _offset(moment: int, zone: ZoneInfo) -> int:
    told = datetime.fromtimestamp(moment // SECOND, UTC).astimezone(zone).utcoffset()
    return 0 if told is None else int(told.total_seconds())
