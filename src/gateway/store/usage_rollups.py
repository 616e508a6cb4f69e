"""Adds entries to the sums of usage, in the transaction that enters them.

A batch of entries is summed here first, so that what is written is a row for each series and hour, not
for each entry. Rows are written in order of their keys: two writers wait for each other, and never in a ring.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import msgspec
from sqlalchemy import Connection, Table, func, select

from gateway.ledger.entry import Entry
from gateway.ledger.savings import Saving
from gateway.ledger.usage_ask import FOLDED, SUMS
from gateway.ledger.usage_time import DAY, HOUR
from gateway.store.many_rows import insert_rows
from gateway.store.usage_tables import saving, usage_day, usage_hour, usage_saving, usage_series

#: So many series may have tags; calls with other tags are summed as one. (Their entries keep the tags.)
MOST_TAGGED = 20_000
_SAVED = ("calls", "amount", "tokens")

Series = tuple[str, ...]


def add_usage(connection: Connection, made: Sequence[Entry], saved: Sequence[tuple[Entry, Saving]] = ()) -> None:
    """Adds these new entries, and what was saved with them, to every sum."""
    hours: dict[tuple[int, Series], list[int]] = {}
    for item in made:
        key = item.at // HOUR, _series(item)
        sums = hours.get(key)
        if sums is None:
            sums = hours[key] = [0] * len(SUMS)
        sums[0] += item.kind != "correction"
        sums[1] += 1
        sums[2] += item.input_tokens
        sums[3] += item.output_tokens
        sums[4] += item.cached_tokens
        sums[5] += item.cache_write_tokens
        sums[6] += item.reasoning_tokens
        sums[7] += item.inference_micros
        sums[8] += item.rows
        sums[9] += item.cost
    ids = _known(connection, {series for _, series in hours})
    _add(connection, usage_hour, SUMS, _keyed(hours, ids, 1))
    _add(connection, usage_day, SUMS, _keyed(hours, ids, DAY // HOUR))
    if saved:
        _add_savings(connection, saved, ids)


def series_id(series: Series) -> int:
    """The number of a series: 63 bits of the hash of what it is."""
    digest = hashlib.blake2b(msgspec.json.encode(series), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _series(item: Entry) -> Series:
    return (
        item.principal, item.key_id or "", item.team or "", item.model, item.provider, item.workflow_id or "",
        item.kind, item.outcome, item.basis, item.tags,
    )  # fmt: skip


def _known(connection: Connection, found: Iterable[Series]) -> dict[Series, int]:
    """The numbers of these series, each of which is in the database then."""
    ids = {series: series_id(series) for series in found}
    there = set(_there(connection, list(ids.values())))
    new = {number: series for series, number in ids.items() if number not in there}
    tagged = [number for number, series in new.items() if series[-1]]
    if tagged and _tagged(connection) + len(tagged) > MOST_TAGGED:
        for number in tagged:
            series = new.pop(number)
            folded = (*series[:-1], FOLDED)
            ids[series] = series_id(folded)
            new[ids[series]] = folded
    _insert_series(connection, new)
    return ids


def _there(connection: Connection, numbers: list[int]) -> Iterable[int]:
    if connection.dialect.name == "postgresql":
        query = "SELECT series_id FROM usage_series WHERE series_id = ANY(%s::bigint[])"
        return connection.exec_driver_sql(query, ("{" + ",".join(map(str, numbers)) + "}",)).scalars()
    return connection.scalars(select(usage_series.c.series_id).where(usage_series.c.series_id.in_(numbers)))


def _tagged(connection: Connection) -> int:
    query = select(func.count()).select_from(
        select(usage_series.c.series_id).where(usage_series.c.tags != "").limit(MOST_TAGGED + 1).subquery()
    )
    return int(connection.scalar(query) or 0)


def _insert_series(connection: Connection, series: dict[int, Series]) -> None:
    columns = [column.name for column in usage_series.columns]
    rows = [(number, *dimensions) for number, dimensions in sorted(series.items())]
    insert_rows(connection, usage_series, columns, rows, conflict="DO NOTHING")


def _keyed(
    hours: dict[tuple[int, Series], list[int]], ids: dict[Series, int], width: int
) -> list[tuple[tuple[int, ...], list[int]]]:
    """The sums by series and (``width`` hours each) slot of time."""
    slots: dict[tuple[int, ...], list[int]] = {}
    for (hour, series), sums in hours.items():
        key = ids[series], hour // width
        before = slots.get(key)
        slots[key] = sums if before is None else [left + right for left, right in zip(before, sums, strict=True)]
    return sorted(slots.items())


def _add_savings(connection: Connection, saved: Sequence[tuple[Entry, Saving]], ids: dict[Series, int]) -> None:
    rows = [(item.entry_id, told.method, told.amount, told.tokens) for item, told in saved]
    insert_rows(connection, saving, ("entry_id", "method", "amount", "tokens"), rows)
    sums: dict[tuple[int | str, ...], list[int]] = {}
    for item, told in saved:
        total = sums.setdefault((ids[_series(item)], item.at // DAY, told.method), [0, 0, 0])
        total[0] += 1
        total[1] += told.amount
        total[2] += told.tokens
    _add(connection, usage_saving, _SAVED, sorted(sums.items(), key=lambda pair: tuple(map(str, pair[0]))))


def _add(
    connection: Connection,
    table: Table,
    names: Sequence[str],
    rows: Sequence[tuple[tuple[int | str, ...], list[int]]],
) -> None:
    """Rows whose sums are added to those that are there."""
    keys = [column.name for column in table.primary_key.columns]
    sums = ", ".join(f'"{name}" = {table.name}."{name}" + excluded."{name}"' for name in names)
    conflict = f"({', '.join(keys)}) DO UPDATE SET {sums}"
    insert_rows(connection, table, [*keys, *names], [(*key, *values) for key, values in rows], conflict=conflict)
