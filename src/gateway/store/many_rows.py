"""Many rows in one statement, as each database's driver is quickest with them.

For tables whose columns are texts and integers, which need no conversion. PostgreSQL copies rows in where nothing
may be in their way, and takes an array for each column where something may.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, Connection, Table, Text

Rows = Sequence[tuple[Any, ...]]

#: What COPY's text writes otherwise.
_WRITTEN = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def insert_rows(connection: Connection, table: Table, columns: Sequence[str], rows: Rows, conflict: str = "") -> None:
    """Adds the rows. ``conflict``: what follows ON CONFLICT; without it, ``IntegrityError`` where one is there."""
    if not rows:
        return
    names = ", ".join(f'"{name}"' for name in columns)
    into = f'INSERT INTO "{table.name}" ({names})'
    after = f" ON CONFLICT {conflict}" if conflict else ""
    if connection.dialect.name != "postgresql":
        marks = ", ".join("?" for _ in columns)
        connection.exec_driver_sql(f"{into} VALUES ({marks}){after}", list(rows))
    elif conflict:
        arrays, values = _arrays(connection, table, columns, rows)
        connection.exec_driver_sql(f"{into} SELECT * FROM unnest({arrays}){after}", values)  # noqa: S608 - names of ours
    else:
        _copy(connection, f'COPY "{table.name}" ({names}) FROM STDIN', [table.c[name] for name in columns], rows)


def update_rows(connection: Connection, table: Table, columns: Sequence[str], rows: Rows, keys: int = 1) -> None:
    """Sets the columns of rows that are there; the first ``keys`` of them say which row is meant."""
    if not rows:
        return
    found, changed = columns[:keys], columns[keys:]
    if connection.dialect.name == "postgresql":
        arrays, values = _arrays(connection, table, columns, rows)
        names = ", ".join(f'"{name}"' for name in columns)
        sets = ", ".join(f'"{name}" = given."{name}"' for name in changed)
        where = " AND ".join(f'"{table.name}"."{name}" = given."{name}"' for name in found)
        query = f'UPDATE "{table.name}" SET {sets} FROM unnest({arrays}) AS given({names}) WHERE {where}'  # noqa: S608
        connection.exec_driver_sql(query, values)
        return
    sets = ", ".join(f'"{name}" = ?' for name in changed)
    where = " AND ".join(f'"{name}" = ?' for name in found)
    query = f'UPDATE "{table.name}" SET {sets} WHERE {where}'  # noqa: S608 - names of ours
    connection.exec_driver_sql(query, [(*row[keys:], *row[:keys]) for row in rows])


def _copy(connection: Connection, command: str, columns: Sequence[Column[Any]], rows: Rows) -> None:
    fields = [_written(column, values) for column, values in zip(columns, zip(*rows, strict=True), strict=True)]
    lines = "\n".join(map("\t".join, zip(*fields, strict=True)))
    connection.exec_driver_sql(command, (lines, "\n"))


def copy_in(cursor: Any, statement: str, parameters: Any, _context: Any) -> bool:
    """Executes a COPY, whose parameters are the lines, for an engine of PostgreSQL (its event ``do_execute``): it is
    a statement like every other then, for whoever listens and in its errors. False for other statements."""
    if not statement.startswith("COPY "):
        return False
    with cursor.copy(statement) as copying:
        for part in parameters:
            copying.write(part)
    return True


def _written(column: Column[Any], values: Sequence[Any]) -> Sequence[str]:
    """The values of one column as COPY's text has them."""
    first = values[0]
    if first == values[-1] and values.count(first) == len(values):  # nearly always so for many a column
        return [_field(first)] * len(values)
    if column.nullable and None in values:
        return [_field(value) for value in values]
    if not isinstance(column.type, Text):
        return list(map(str, values))
    whole = "".join(values)
    if "\\" in whole or "\n" in whole or "\t" in whole or "\r" in whole:
        return [value.translate(_WRITTEN) for value in values]
    return values


def _field(value: Any) -> str:
    if value is None:
        return "\\N"
    return value.translate(_WRITTEN) if isinstance(value, str) else str(value)


def _arrays(connection: Connection, table: Table, columns: Sequence[str], rows: Rows) -> tuple[str, tuple[str, ...]]:
    """An array for each column: as parameters of ``unnest``, and their values."""
    kinds = [table.c[name].type for name in columns]
    casts = ", ".join(f"%s::{kind.compile(dialect=connection.dialect)}[]" for kind in kinds)
    texts = [isinstance(kind, Text) for kind in kinds]
    return casts, tuple(map(array, zip(*rows, strict=True), texts))


def array(values: Sequence[Any], text: bool) -> str:
    """A column as PostgreSQL writes arrays, of ``text`` or of what needs no quotes; many times faster than the
    driver's own way."""
    if text:
        return "{" + ",".join(["NULL" if value is None else _quoted(value) for value in values]) + "}"
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"


def _quoted(value: str) -> str:
    if "\\" in value or '"' in value:
        value = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{value}"'
