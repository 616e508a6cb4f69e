"""What was used, asked by who, what and when. Shapes and arithmetic of time; the sums are the store's.

Sums are kept by UTC hour and UTC day. A question in another time zone, or between two moments inside an
hour, is answered exactly all the same: whole days and hours come from those sums, what is left from the
entries themselves (``readings``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Literal, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Struct

from gateway.clock import SECOND, Clock
from gateway.errors import ValidationFailed
from gateway.ledger.forecast import MOST_DAYS, Forecast, month_forecast
from gateway.ledger.tally import TallyRow
from gateway.money import usd

#: Everything that usage may be asked by, as an entry has it; what an entry has not is an empty text.
DIMENSIONS = (
    "principal", "key_id", "team", "model", "provider", "workflow_id", "kind", "outcome", "basis", "tags",
)  # fmt: skip
#: What is summed. A correction is an entry and no call.
SUMS = (
    "calls", "entries", "input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens",
    "inference_micros", "rows", "cost",
)  # fmt: skip
UNITS_OF_TIME = ("hour", "day", "week", "month")
#: What may be asked for in ``by``; beside these ``tag``, and ``tag.NAME`` for the values of one tag.
GROUPS = (*(name for name in DIMENSIONS if name != "tags"), *UNITS_OF_TIME)
#: Tags of calls that came when there were too many kinds of them.
FOLDED = "(others)"
HOUR = 3600 * SECOND
DAY = 24 * HOUR
_EPOCH = date(1970, 1, 1)
#: How far apart a zone's offset is looked at.
_STEP = DAY


class UsageAsk(Struct, frozen=True):
    """Which usage, and by what: ``since`` included, ``until`` not (microseconds). ``where`` holds values of
    ``DIMENSIONS`` (but for tags), ``tag`` one tag; ``run_id`` and ``task_id`` are asked of the entries."""

    by: tuple[str, ...] = ()
    where: dict[str, str] = {}
    tag: str = ""
    since: int | None = None
    until: int | None = None
    zone: str = "UTC"
    run_id: str = ""
    task_id: str = ""


class UsageSum(Struct, frozen=True):
    """One row of an answer: its group by the names asked for, and the sums by the names of ``SUMS``."""

    group: dict[str, str]
    sums: dict[str, int]


class Reading(Struct, frozen=True):
    """A part of the time that is asked about, and where its sums are: ``lo`` included, ``hi`` not, in days,
    hours, or (entries) microseconds. ``offset`` is the zone's, in seconds; hours that it cuts at midnight are
    left to the entries where ``whole`` is false."""

    source: Literal["day", "hour", "entry"]
    spans: tuple[tuple[int, int], ...]
    offset: int = 0
    whole: bool = True


class UsageStore(Protocol):
    """Sums of the ledger; see ``store.usage_store``."""

    def first(self) -> int | None:
        """When the first entry was made; ``None`` where there is none."""
        ...

    def sums(self, ask: UsageAsk, parts: Sequence[Reading]) -> list[UsageSum]:
        """The sums over these parts, grouped by ``ask.by``, in the order of the groups."""
        ...


def zone_of(name: str, param: str = "time_zone") -> ZoneInfo:
    """The zone of a name such as Asia/Kolkata. ``ValidationFailed`` for none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValidationFailed(
            f"{param}: no time zone of that name is known here", mend="write one such as Asia/Kolkata", param=param
        ) from None


def midnight(day: date, zone: ZoneInfo) -> int:
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


def unit_of(by: Sequence[str]) -> str:
    """The unit of time that is asked for; empty where none is."""
    return next((name for name in by if name in UNITS_OF_TIME), "")


class UsageService:
    """Answers questions about usage. Every method blocks on the database. ``catch_up`` brings the calls of
    this process into the ledger first."""

    def __init__(
        self,
        store: UsageStore,
        clock: Clock,
        catch_up: Callable[[], object] = lambda: None,
        record: Callable[[TallyRow], None] | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._catch_up = catch_up
        self._record = record

    def summary(self, ask: UsageAsk) -> list[UsageSum]:
        """The sums by ``ask.by``; with none, one row for all. ``ValidationFailed`` for what nothing is kept by."""
        check_groups(ask.by)
        self._catch_up()
        now, first = self._clock.now(), self._store.first()
        parts = [] if first is None else readings(ask, now, first)
        return self._store.sums(ask, parts)

    def forecast(self, ask: UsageAsk) -> Forecast:
        """What the month that runs in ``ask.zone`` will have cost at its end; ``ask.where`` says of whom."""
        zone = zone_of(ask.zone)
        today = day_of(self._clock.now(), zone)
        since = midnight(today - timedelta(days=MOST_DAYS + 1), zone)
        rows = self.summary(msgspec.structs.replace(ask, by=("day",), since=since, until=None))
        daily = {date.fromisoformat(row.group["day"]): row.sums["cost"] for row in rows}
        return month_forecast(daily, today)

    # -- what a CostTracker writes through to; see ``cost_tracker.UsageRecorder`` ------------------

    def record_usage(self, usage: TallyRow) -> None:
        """Enters what a ``CostTracker`` was told in the ledger."""
        if self._record is None:
            raise ValueError("nothing can be recorded here")
        self._record(usage)

    def usage_totals(self) -> list[TallyRow]:
        """Every charge of the ledger, summed by kind, model, provider and day."""
        return [
            TallyRow(
                kind="ml" if row.group["kind"] == "ml" else "llm",
                model=row.group["model"],
                provider=row.group["provider"],
                day=row.group["day"],
                calls=row.sums["calls"],
                tokens=row.sums["input_tokens"] + row.sums["output_tokens"],
                inference_micros=row.sums["inference_micros"],
                cost=usd(row.sums["cost"]),
            )
            for row in self.summary(UsageAsk(by=("kind", "model", "provider", "day")))
        ]


def check_groups(by: Sequence[str]) -> None:
    """``ValidationFailed`` where usage cannot be grouped so."""
    for name in by:
        if name not in GROUPS and name != "tag" and not (name.startswith("tag.") and len(name) > 4):
            raise ValidationFailed(f"by: one or more of {', '.join(GROUPS)}, tag, tag.NAME", param="by")
    if sum(name in UNITS_OF_TIME for name in by) > 1:
        raise ValidationFailed(f"by: one of {', '.join(UNITS_OF_TIME)}, not several", param="by")
    if len(set(by)) < len(by):
        raise ValidationFailed("by: each name once", param="by")


def readings(ask: UsageAsk, now: int, first: int = 0) -> list[Reading]:
    """Where the sums that are asked for stand; every moment once. Before ``first`` there is nothing."""
    since = max(first // HOUR * HOUR, ask.since or 0)
    # Beyond now there is nothing, so that the hour and the day that run need not be cut.
    until = (now // DAY + 2) * DAY if ask.until is None else min(ask.until, (now // DAY + 2) * DAY)
    if since >= until:
        return []
    unit = unit_of(ask.by)
    if ask.run_id or ask.task_id:
        return [Reading("entry", ((lo, hi),), offset) for lo, hi, offset in _constant(since, until, ask.zone, unit)]
    found: list[Reading] = []
    for lo, hi, offset in _constant(since, until, ask.zone, unit):
        found += _hours(lo, hi, offset) if unit == "hour" or offset else _days(lo, hi)
    return found


def _days(since: int, until: int) -> list[Reading]:
    """Whole UTC days from their sums; the hours before and after from theirs."""
    first, last = -(-since // DAY), until // DAY
    if first >= last:
        return _hours(since, until, 0)
    edges = [*_hours(since, first * DAY, 0), *_hours(last * DAY, until, 0)]
    return [Reading("day", ((first, last),)), *edges]


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
