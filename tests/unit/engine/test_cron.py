"""Times of schedules: fields, time zones, the hours that clocks skip and repeat, and what was missed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gateway.clock import SECOND, from_rfc3339, rfc3339
from gateway.engine.cron import parse_cron
from gateway.engine.schedules import Schedule, times_between, to_begin
from gateway.errors import ValidationFailed
from gateway.security.access import caller_for


def following(cron: str, zone: str, start: str, count: int) -> list[str]:
    parsed, at, found = parse_cron(cron, zone), from_rfc3339(start), []
    for _ in range(count):
        at = parsed.after(at)
        found.append(rfc3339(at)[:16])
    return found


@pytest.mark.parametrize(
    ("cron", "zone", "start", "times"),
    [
        ("*/15 * * * *", "UTC", "2026-01-01T00:07:00Z", ["2026-01-01T00:15", "2026-01-01T00:30"]),
        ("30 6 * * MON-FRI", "Europe/Zurich", "2026-01-02T06:00:00Z", ["2026-01-05T05:30", "2026-01-06T05:30"]),
        ("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", ["2028-02-29T00:00", "2032-02-29T00:00"]),
        ("0 12 13 * FRI", "UTC", "2026-02-05T00:00:00Z", ["2026-02-06T12:00", "2026-02-13T12:00"]),
        ("0 0 * * 7", "UTC", "2026-01-01T00:00:00Z", ["2026-01-04T00:00"]),
        ("@monthly", "UTC", "2026-01-01T00:00:00Z", ["2026-02-01T00:00"]),
        # 02:30 is skipped on 29 March in Zurich: at the first moment after the gap
        ("30 2 * * *", "Europe/Zurich", "2026-03-28T12:00:00Z", ["2026-03-29T01:00", "2026-03-30T00:30"]),
        # 02:30 comes twice on 25 October: once for a time of day, each hour where every hour is meant
        ("30 2 * * *", "Europe/Zurich", "2026-10-24T12:00:00Z", ["2026-10-25T00:30", "2026-10-26T01:30"]),
        ("30 * * * *", "Europe/Zurich", "2026-10-25T00:00:00Z", ["2026-10-25T00:30", "2026-10-25T01:30"]),
    ],
)
def test_times_follow_each_other(cron: str, zone: str, start: str, times: list[str]) -> None:
    assert following(cron, zone, start, len(times)) == times


@pytest.mark.parametrize(
    ("cron", "zone", "word"),
    [
        ("* * * *", "UTC", "five fields"),
        ("60 * * * *", "UTC", "minute"),
        ("* * * * MOO", "UTC", "day of week"),
        ("5-1 * * * *", "UTC", "backwards"),
        ("*/0 * * * *", "UTC", "minute"),
        (7, "UTC", "five fields"),
        ("* * * * *", "Mars/Olympus", "time zone"),
        ("* * * * *", "../etc/passwd", "time zone"),
    ],
)
def test_what_is_no_schedule_is_refused_by_field(cron: Any, zone: str, word: str) -> None:
    with pytest.raises(ValidationFailed, match=word):
        parse_cron(cron, zone)


def test_the_ends_of_the_calendar_are_no_error_of_ours() -> None:
    last = from_rfc3339("9999-12-31T00:00:00Z")
    assert times_between("0 0 1 1 *", "UTC", last, last + 86_400 * SECOND, 9) == []
    assert times_between("0 0 * * *", "Asia/Tokyo", last, last + 86_400 * SECOND, 9) == []
    first = from_rfc3339("0001-01-01T00:00:00Z")
    assert times_between("* * * * *", "America/New_York", first, first + 60 * SECOND, 9) == []
    with pytest.raises(ValidationFailed, match="no such day"):
        parse_cron("* * * * *").after(last + 86_400 * SECOND)


def test_a_day_that_never_comes_is_refused() -> None:
    with pytest.raises(ValidationFailed, match="no such day"):
        parse_cron("0 0 31 2 *").after(0)


def test_every_minute_of_a_year_is_met_once() -> None:
    """A day's times against counting minutes, over both changes of the clock."""
    start = int(datetime(2026, 3, 28, tzinfo=UTC).timestamp()) * SECOND
    parsed, at, count = parse_cron("*/30 * * * *", "Europe/Zurich"), start, 0
    while (at := parsed.after(at)) <= start + 3 * 86_400 * SECOND:
        assert at % (1800 * SECOND) == 0
        count += 1
    assert count == 144


ZONES = ("Europe/Zurich", "America/New_York", "America/Havana", "Africa/Cairo", "Australia/Sydney", "Asia/Kathmandu")


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("minute", [0, 30])
def test_each_hour_is_each_real_hour_over_a_year_of_changes(zone: str, minute: int) -> None:
    parsed, at = parse_cron(f"{minute} * * * *", zone), from_rfc3339("2026-01-01T00:00:00Z")
    at = parsed.after(at)
    for _ in range(366 * 24):
        following_at = parsed.after(at)
        assert following_at - at == 3600 * SECOND, rfc3339(at)
        at = following_at


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("time_of_day", ["0 0", "30 0", "30 1", "0 2", "30 2", "0 3", "59 23"])
def test_a_time_of_day_comes_once_each_day_over_a_year_of_changes(zone: str, time_of_day: str) -> None:
    parsed, at, days = parse_cron(f"{time_of_day} * * *", zone), from_rfc3339("2026-01-01T12:00:00Z"), []
    for _ in range(366):
        at = parsed.after(at)
        days.append(datetime.fromtimestamp(at // SECOND, UTC).astimezone(ZoneInfo(zone)).date())
    assert days == [days[0] + timedelta(days=more) for more in range(366)]


def test_what_is_not_meant_for_every_hour_is_taken_once_where_an_hour_comes_twice() -> None:
    """Also each few hours, and each few minutes of one hour."""
    start = "2026-10-24T23:30:00Z"  # half past one in Zurich; the hour from two comes twice, at 00:00 and 01:00 UTC
    assert following("0 */2 * * *", "Europe/Zurich", start, 2) == ["2026-10-25T00:00", "2026-10-25T03:00"]
    assert following("*/30 2 * * *", "Europe/Zurich", start, 3) == [
        "2026-10-25T00:00",
        "2026-10-25T00:30",
        "2026-10-26T01:00",
    ]
    assert following("*/30 * * * *", "Europe/Zurich", start, 4)[-1] == "2026-10-25T01:30"


def test_times_in_the_hour_that_is_skipped_are_one_time_right_after_it() -> None:
    start = "2026-03-29T00:30:00Z"  # half past one in Zurich; from two it is three, at 01:00 UTC
    assert following("*/15 2 * * *", "Europe/Zurich", start, 2) == ["2026-03-29T01:00", "2026-03-30T00:00"]
    assert following("0 2,3 * * *", "Europe/Zurich", start, 2) == ["2026-03-29T01:00", "2026-03-30T00:00"]


NOON = from_rfc3339("2026-01-01T12:00:00Z")
HOUR = 3600 * SECOND


@pytest.mark.parametrize(
    ("catch_up", "late", "begun"),
    [
        ("one", 0, [NOON]),
        ("one", 3 * HOUR, [NOON + 3 * HOUR]),
        ("all", 3 * HOUR, [NOON, NOON + HOUR, NOON + 2 * HOUR, NOON + 3 * HOUR]),
        ("none", 3 * HOUR + 600 * SECOND, []),
        ("none", 10 * SECOND, [NOON]),
        ("one", 1000 * HOUR, [NOON + 1000 * HOUR]),
    ],
)
def test_missed_times_are_made_up_for_as_asked(catch_up: str, late: int, begun: list[int]) -> None:
    alice = caller_for("alice", "analyst")
    schedule = Schedule("s", "wf", "alice", alice, "0 * * * *", "UTC", catch_up, "allow", {}, True, NOON, 0)
    times, following_at = to_begin(schedule, NOON + late)
    assert times == begun
    assert following_at > NOON + late


def test_a_range_has_its_times_both_ends_included() -> None:
    assert len(times_between("0 * * * *", "UTC", NOON, NOON + 5 * HOUR, 100)) == 6
    assert len(times_between("* * * * *", "UTC", NOON, NOON + 5 * HOUR, 10)) == 11
