"""The few things that SQLite and PostgreSQL say differently."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table, Text, text
from sqlalchemy.dialects import postgresql, sqlite


def insert_into(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """An insert that has ``on_conflict_do_nothing`` and ``on_conflict_do_update``."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def insert_rows(
    connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]], conflict: str = ""
) -> None:
    """Many rows as the driver takes them, for tables whose columns need no conversion. ``conflict``: what
    follows ON CONFLICT."""
    if not rows:
        return
    names = ", ".join(f'"{name}"' for name in columns)
    into = f'INSERT INTO "{table.name}" ({names})'
    after = f" ON CONFLICT {conflict}" if conflict else ""
    if connection.dialect.name == "postgresql":
        sources, values = _sources(connection, table, columns, rows)
        connection.exec_driver_sql(f"{into} {sources}{after}", values)
        return
    marks = ", ".join("?" for _ in columns)
    connection.exec_driver_sql(f"{into} VALUES ({marks}){after}", list(rows))


def _sources(
    connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> tuple[str, tuple[Any, ...]]:
    """The rows as one query, and its parameters: an array for each column, and once what all rows share."""
    arrays: list[str] = []
    picked: list[str] = []
    alike: list[Any] = []
    values: list[str] = []
    for number, (name, column) in enumerate(zip(columns, zip(*rows, strict=True), strict=True)):
        kind = table.c[name].type
        cast = kind.compile(dialect=connection.dialect)
        first = column[0]
        if number and first == column[-1] and column.count(first) == len(column):
            picked.append(f"%s::{cast}")
            alike.append(first)
        else:
            picked.append(f"c{len(arrays)}")
            arrays.append(f"%s::{cast}[]")
            values.append(_array(column, isinstance(kind, Text)))
    names = ", ".join(f"c{number}" for number in range(len(arrays)))
    query = f"SELECT {', '.join(picked)} FROM unnest({', '.join(arrays)}) AS rows({names})"  # noqa: S608 - names of ours
    return query, (*alike, *values)


def _array(values: Sequence[Any], text: bool) -> str:
    """A column as PostgreSQL writes arrays; many times faster than the driver's own way."""
    if not text:
        return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"
    if None in values:
        return "{" + ",".join(["NULL" if value is None else f'"{_escaped(value)}"' for value in values]) + "}"
    joined = "".join(values)
    if "\\" in joined or '"' in joined:
        values = [_escaped(value) for value in values]
    return '{"' + '","'.join(values) + '"}'


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


def one_snapshot(connection: Connection) -> None:
    """Makes all reads of a transaction see one moment; to be said before its first query. (SQLite's
    read transactions are so anyway.)"""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
