"""The audit of the sums of usage: each day's sums done again from the entries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import BigInteger, Connection, case, func, literal_column, select

from gateway.clock import rfc3339
from gateway.ledger.usage_ask import SUMS
from gateway.ledger.usage_time import DAY
from gateway.store.tables import entry, saving, usage_day, usage_hour, usage_saving

_MOST = 100


def usage_problems(connection: Connection) -> Iterator[str]:
    """What the sums of usage say otherwise than the entries, one line for each day."""
    day = (entry.c.at // literal_column(str(DAY), BigInteger)).label("day")
    entered = _read(
        connection,
        day,
        [
            func.sum(case((entry.c.kind == "correction", 0), else_=1))
            if name == "calls"
            else func.count()
            if name == "entries"
            else func.sum(entry.c[name])
            for name in SUMS
        ],
    )
    hour = (usage_hour.c.hour // literal_column("24", BigInteger)).label("day")
    yield from _compared("hours", entered, _read(connection, hour, [func.sum(usage_hour.c[name]) for name in SUMS]))
    kept = _read(connection, usage_day.c.day.label("day"), [func.sum(usage_day.c[name]) for name in SUMS])
    yield from _compared("days", entered, kept)
    told = select(func.count(), func.coalesce(func.sum(saving.c.amount), 0))
    summed = select(*(func.coalesce(func.sum(usage_saving.c[name]), 0) for name in ("calls", "amount")))
    if tuple(map(int, connection.execute(told).one())) != tuple(map(int, connection.execute(summed).one())):
        yield "savings: their sums are not those of what is kept with the entries"


def _read(connection: Connection, day: Any, sums: Sequence[Any]) -> dict[int, tuple[int, ...]]:
    query = select(day, *sums).group_by(day)
    return {int(row[0]): tuple(map(int, row[1:])) for row in connection.execute(query)}


def _compared(what: str, entered: dict[int, tuple[int, ...]], kept: dict[int, tuple[int, ...]]) -> Iterator[str]:
    wrong = [day for day in sorted(entered.keys() | kept.keys()) if entered.get(day) != kept.get(day)]
    for day in wrong[:_MOST]:
        yield f"usage of {rfc3339(day * DAY)[:10]}: the sums by {what} are not those of its entries"
