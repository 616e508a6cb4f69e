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
        # One statement for all of them, with an array for each column.
        kinds = [table.c[name].type for name in columns]
        arrays = ", ".join(f"%s::{kind.compile(dialect=connection.dialect)}[]" for kind in kinds)
        texts = [isinstance(kind, Text) for kind in kinds]
        values = tuple(map(_array, zip(*rows, strict=True), texts))
        connection.exec_driver_sql(f"{into} SELECT * FROM unnest({arrays}){after}", values)  # noqa: S608 - names of ours
        return
    marks = ", ".join("?" for _ in columns)
    connection.exec_driver_sql(f"{into} VALUES ({marks}){after}", list(rows))


def _array(values: Sequence[Any], text: bool) -> str:
    """A column as PostgreSQL writes arrays; many times faster than the driver's own way."""
    if text:
        return "{" + ",".join(["NULL" if value is None else _quoted(value) for value in values]) + "}"
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"


def _quoted(value: str) -> str:
    if "\\" in value or '"' in value:
        value = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{value}"'


def one_snapshot(connection: Connection) -> None:
    """Makes all reads of a transaction see one moment; to be said before its first query. (SQLite's
    read transactions are so anyway.)"""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
