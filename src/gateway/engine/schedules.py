"""When a schedule's runs begin, and what becomes of times that passed while nobody was there to begin them."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from gateway.clock import SECOND
from gateway.engine.cron import Cron, parse_cron
from gateway.errors import ValidationFailed
from gateway.security.access import Caller

#: ``none``: a time that passed unseen is let be; ``one``: the last of them is made up for; ``all``: each is.
CATCH_UP = ("none", "one", "all")
#: ``allow``: a run begins although the one before goes on; ``skip``: it does not.
OVERLAP = ("allow", "skip")
#: A time that passed less long ago than this was not missed.
_GRACE = 60 * SECOND
#: Times of one schedule that are looked at in one sweep.
MOST_AT_ONCE = 100


class Schedule(Struct, frozen=True):
    """A workflow that is run again and again. Times in microseconds; ``run`` is what a run is begun with."""

    schedule_id: str
    workflow_id: str
    owner: str
    caller: Caller
    cron: str
    timezone: str
    catch_up: str
    overlap: str
    run: dict[str, Any]
    active: bool
    next_at: int
    created_at: int
    last_at: int | None = None
    last_run_id: str | None = None
    note: str = ""


def to_begin(schedule: Schedule, now: int) -> tuple[list[int], int]:
    """(the times for which a run is to begin now, the next time)."""
    cron, at = parse_cron(schedule.cron, schedule.timezone), schedule.next_at
    if schedule.catch_up == "all":
        due: list[int] = []
        while at <= now and len(due) < MOST_AT_ONCE:
            due.append(at)
            at = cron.after(at)
        return due, at
    if at > now:
        return [], at
    last = _latest(cron, at, now)
    missed = schedule.catch_up == "none" and now - last >= _GRACE
    return [] if missed else [last], cron.after(now)


def _latest(cron: Cron, first: int, now: int) -> int:
    """The last time from ``first`` to ``now``; ``first`` is one."""
    window = _GRACE
    while now - window > first:
        at = cron.after(now - window)
        if at <= now:
            break
        window *= 2
    else:
        at = first
    while (following := cron.after(at)) <= now:
        at = following
    return at


def times_between(cron: str, timezone: str, start: int, end: int, most: int) -> list[int]:
    """The times from ``start`` to ``end``, both included; ``most`` + 1 at most."""
    parsed, at = parse_cron(cron, timezone), start - 1
    found: list[int] = []
    while len(found) <= most:
        try:
            at = parsed.after(at)
        except ValidationFailed:  # there is none any more
            break
        if at > end:
            break
        found.append(at)
    return found
