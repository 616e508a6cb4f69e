"""Answers about usage in SQL: from the sums that are kept, and from the entries where those do not reach."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Select,
    Text,
    and_,
    case,
    func,
    literal_column,
    or_,
    select,
)

from gateway.clock import SECOND
from gateway.ledger.savings import Saving
from gateway.ledger.usage_ask import DIMENSIONS, SUMS, UNITS_OF_TIME, UsageAsk, UsageSum, unit_of
from gateway.ledger.usage_time import Reading, label, zone_of
from gateway.models.tags import tag_value
from gateway.store.engine import Database
from gateway.store.tables import entry, saving, usage_day, usage_hour, usage_saving, usage_series

_HOUR_SECONDS = 3600
_DAY_SECONDS = 86_400
_ENTRIES = SUMS.index("entries")

Sums = dict[tuple[str | int, ...], list[int]]


class SqlUsageStore:
    """See ``ledger.usage.UsageStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def first(self) -> int | None:
        with self._database.read() as connection:
            found = connection.scalar(select(func.min(entry.c.at)))
        return None if found is None else int(found)

    def sums(self, ask: UsageAsk, parts: Sequence[Reading]) -> list[UsageSum]:
        unit = unit_of(ask.by)
        columns = _columns(ask.by)
        found: Sums = {}
        with self._database.read() as connection:
            for part in parts:
                for row in connection.execute(_query(ask, part, columns, unit)):
                    key, sums = tuple(row[: len(columns)]), [int(value) for value in row[len(columns) :]]
                    if part.turn:  # the slot is the last of the columns
                        _add(found, key, [-value for value in sums])
                        key = (*key[:-1], int(key[-1]) + part.turn)
                    _add(found, key, sums)
        if not parts and not ask.by:
            found[()] = [0] * len(SUMS)
        if unit:  # what was moved whole leaves nothing behind
            found = {key: sums for key, sums in found.items() if sums[_ENTRIES]}
        zone = zone_of(ask.zone)
        told: dict[tuple[str, ...], list[int]] = {}
        for key, sums in found.items():
            for group in _groups(ask, columns, key, unit, zone):
                _add(told, group, sums)
        return [UsageSum(dict(zip(ask.by, group, strict=True)), _named(sums)) for group, sums in sorted(told.items())]

    def savings(self, ask: UsageAsk, parts: Sequence[Reading]) -> list[Saving]:
        """What was saved by each method over these parts (whole days, or parts of entries)."""
        found: dict[str, list[int]] = {}
        with self._database.read() as connection:
            for part in parts:
                for method, *sums in connection.execute(_savings(ask, part)):
                    total = found.setdefault(method, [0, 0, 0])
                    for at, value in enumerate(sums):
                        total[at] += int(value)
        return [Saving(method, amount, tokens, calls) for method, (calls, amount, tokens) in sorted(found.items())]

    def billed(self, provider: str, since: int, until: int) -> dict[tuple[str, str], tuple[int, int]]:
        day, calls = entry.c.at // _number(SECOND * _DAY_SECONDS), case((entry.c.kind == "correction", 0), else_=1)
        query = (
            select(day, entry.c.upstream_model, func.sum(entry.c.cost), func.sum(calls))
            .where(entry.c.provider == provider, entry.c.at >= since, entry.c.at < until)
            .group_by(day, entry.c.upstream_model)
        )
        with self._database.read() as connection:
            return {
                (label("day", int(row[0]), zone_of("UTC")), str(row[1])): (int(row[2]), int(row[3]))
                for row in connection.execute(query)
            }


def _columns(by: Sequence[str]) -> list[str]:
    """What is grouped by in SQL: tags are told apart afterwards, units of time by their days."""
    names = ["tags" if name.startswith("tag") else name for name in by if name not in UNITS_OF_TIME]
    slot = ["slot"] if unit_of(by) else []
    return [*dict.fromkeys(names), *slot]


def _query(ask: UsageAsk, part: Reading, columns: Sequence[str], unit: str) -> Select[Any]:
    told_by = bool(ask.where or ask.tag or set(columns) - {"slot"})
    source, dimension, times = _source(part, unit, told_by)
    groups = [
        (_slot(part, unit) if name == "slot" else func.coalesce(dimension[name], literal_column("''", Text))).label(
            f"by_{name}"
        )
        for name in columns
    ]
    sums = [func.coalesce(func.sum(_sum(part, name)), 0).label(f"sum_{name}") for name in SUMS]
    query = select(*groups, *sums).select_from(source).where(and_(*times, *conditions_of(ask, part, dimension)))
    return query.group_by(*groups) if groups else query


def _source(part: Reading, unit: str, told_by: bool) -> tuple[FromClause, Any, list[ColumnElement[bool]]]:
    """Where the rows stand, where their dimensions stand (looked up where anything is ``told_by`` them), and which
    times are meant."""
    if part.source == "entry":
        return entry, entry.c, [_within(entry.c.at, part)]
    table, column = (usage_day, usage_day.c.day) if part.source == "day" else (usage_hour, usage_hour.c.hour)
    times = [_within(column, part)]
    if part.source == "hour" and not part.whole and unit not in ("", "hour"):
        times.append((column * _HOUR_SECONDS + part.offset) % _DAY_SECONDS <= _DAY_SECONDS - _HOUR_SECONDS)
    if part.turn:  # one condition, for PostgreSQL would take two to leave next to nothing, and sort instead of hash
        first, last = part.hours
        times.append(column % 24 >= first if last == 24 else column % 24 < last)
    joined = table.join(usage_series, usage_series.c.series_id == table.c.series_id)
    return joined if told_by else table, usage_series.c, times


def _within(column: ColumnElement[int], part: Reading) -> ColumnElement[bool]:
    return or_(*(and_(column >= lo, column < hi) for lo, hi in part.spans))


def _slot(part: Reading, unit: str) -> ColumnElement[int]:
    """The hour, or the zone's day, as a number since 1970. Literals, not parameters: PostgreSQL must see the
    same expression in GROUP BY."""
    if part.source == "day":
        return usage_day.c.day
    if unit == "hour":
        return usage_hour.c.hour if part.source == "hour" else entry.c.at // _number(SECOND * _HOUR_SECONDS)
    seconds = (
        usage_hour.c.hour * _number(_HOUR_SECONDS) if part.source == "hour" else entry.c.at // _number(SECOND)
    ) + _number(part.offset)
    return seconds // _number(_DAY_SECONDS)


def _number(value: int) -> ColumnElement[int]:
    return literal_column(str(value) if value >= 0 else f"({value})", BigInteger)


def _sum(part: Reading, name: str) -> ColumnElement[int]:
    if part.source == "entry":
        if name == "calls":
            return case((entry.c.kind == "correction", 0), else_=1)
        return literal_column("1", BigInteger) if name == "entries" else entry.c[name]
    return (usage_day if part.source == "day" else usage_hour).c[name]


def conditions_of(ask: UsageAsk, part: Reading, dimension: Any) -> list[ColumnElement[bool]]:
    """What the rows must be, by the columns of their dimensions."""
    conditions = [
        func.coalesce(dimension[name], "") == value if value == "" else dimension[name] == value
        for name, value in ask.where.items()
        if name in DIMENSIONS
    ]
    if ask.tag:
        quoted = ask.tag.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        conditions.append(("," + dimension.tags + ",").like(f"%,{quoted},%", escape="\\"))
    if part.source == "entry":
        conditions += [entry.c[name] == value for name in ("run_id", "task_id") if (value := getattr(ask, name))]
    return conditions


def _savings(ask: UsageAsk, part: Reading) -> Select[Any]:
    if part.source == "entry":
        query = select(saving.c.method, func.count(), func.sum(saving.c.amount), func.sum(saving.c.tokens))
        query = query.join(entry, entry.c.entry_id == saving.c.entry_id)
        table, dimension, time = saving, entry.c, entry.c.at
    else:
        columns = (func.sum(usage_saving.c[name]) for name in ("calls", "amount", "tokens"))
        query = select(usage_saving.c.method, *columns)
        query = query.join(usage_series, usage_series.c.series_id == usage_saving.c.series_id)
        table, dimension, time = usage_saving, usage_series.c, usage_saving.c.day
    return query.where(_within(time, part), *conditions_of(ask, part, dimension)).group_by(table.c.method)


def _groups(
    ask: UsageAsk, columns: Sequence[str], key: tuple[str | int, ...], unit: str, zone: ZoneInfo
) -> Iterable[tuple[str, ...]]:
    """The groups that a row belongs to: one, or one for each of its tags where ``tag`` is asked for."""
    values = dict(zip(columns, key, strict=True))
    tags = str(values.get("tags", ""))
    for tag in tags.split(",") if "tag" in ask.by else [""]:
        group = []
        for name in ask.by:
            if name in UNITS_OF_TIME:
                group.append(label(unit, int(values["slot"]), zone))
            elif name == "tag":
                group.append(tag)
            else:
                group.append(tag_value(tags, name[4:]) if name.startswith("tag.") else str(values[name]))
        yield tuple(group)


def _add(found: dict[Any, list[int]], key: tuple[Any, ...], sums: Iterable[int]) -> None:
    before = found.get(key)
    values = [int(value) for value in sums]
    found[key] = values if before is None else [left + right for left, right in zip(before, values, strict=True)]


def _named(sums: Sequence[int]) -> dict[str, int]:
    return dict(zip(SUMS, sums, strict=True))
