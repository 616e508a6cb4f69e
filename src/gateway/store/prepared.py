"""Statements of the engine's hot path: compiled once a dialect, then run by the driver itself.

To build a statement, find it in a cache and wrap its result costs several times what the database needs to do it.
These are written once, as values of a module, in SQLAlchemy's words like all others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import Boolean, Connection, Executable
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.sql.elements import CompilerElement


class _Made(NamedTuple):
    """A statement for one dialect: its text, the values it has of its own, the order of its parameters (where they
    are told by place)."""

    text: str
    own: dict[str, Any]
    places: tuple[str, ...] | None


class Prepared:
    """One statement. What it is given comes by ``bindparam`` names; rows come as dictionaries by column.

    An error of the driver comes as SQLAlchemy's own, so that ``Database`` does with it what it does with any other.
    """

    def __init__(self, statement: Executable, *, postgresql: Executable | None = None) -> None:
        """``postgresql``: the same in other words, where that database has better ones."""
        assert isinstance(statement, CompilerElement)  # noqa: S101 - of the kinds that can be compiled
        self._statement = statement
        self._others = {} if postgresql is None else {"postgresql": postgresql}
        columns = tuple(getattr(statement, "exported_columns", ()))
        self._names = tuple(str(column.key) for column in columns)
        self._flags = tuple(str(column.key) for column in columns if isinstance(column.type, Boolean))
        self._made: dict[str, _Made] = {}

    def all(self, connection: Connection, **values: Any) -> list[dict[str, Any]]:
        """Every row."""
        return self.ask(connection, **values)()

    def ask(self, connection: Connection, **values: Any) -> Callable[[], list[dict[str, Any]]]:
        """What gives every row, once ``sent_together`` is over."""
        cursor = self._run(connection, values)

        def rows() -> list[dict[str, Any]]:
            names = self._names
            found = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
            for name in self._flags:
                for row in found:
                    row[name] = bool(row[name])
            return found

        return rows

    def one(self, connection: Connection, **values: Any) -> dict[str, Any] | None:
        """The only row, where there is one."""
        rows = self.all(connection, **values)
        return rows[0] if rows else None

    def run(self, connection: Connection, **values: Any) -> int:
        """For what it changes: so many rows."""
        return self.change(connection, **values)()

    def change(self, connection: Connection, **values: Any) -> Callable[[], int]:
        """What says how many rows it changed, once ``sent_together`` is over."""
        cursor = self._run(connection, values)
        return lambda: int(cursor.rowcount)

    def send(self, connection: Connection, **values: Any) -> None:
        """For what it does."""
        self._run(connection, values)

    def many(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> int:
        """As ``run``, once for each of these."""
        if not rows:
            return 0
        made = self._for(connection)
        cursor = self.do(connection, "executemany", made.text, [self._given(made, row) for row in rows])
        changed: int = cursor.rowcount
        return changed

    def _run(self, connection: Connection, values: Mapping[str, Any]) -> Any:
        made = self._for(connection)
        return self.execute(connection, made.text, self._given(made, values))

    @classmethod
    def execute(cls, connection: Connection, text: str, given: Any) -> Any:
        """The driver's cursor, after it did the statement."""
        return cls.do(connection, "execute", text, given)

    @staticmethod
    def do(connection: Connection, how: str, text: str, given: Any) -> Any:
        """The driver's cursor, after its ``execute`` or ``executemany``. Every statement of here comes through it."""
        cursor = connection.connection.cursor()
        try:
            getattr(cursor, how)(text, given)
        except connection.dialect.loaded_dbapi.Error as error:
            raise _told(connection, text, error) from error
        return cursor

    @staticmethod
    def _given(made: _Made, values: Mapping[str, Any]) -> Any:
        whole = {**made.own, **values}
        return whole if made.places is None else [whole[name] for name in made.places]

    def _for(self, connection: Connection) -> _Made:
        dialect = connection.dialect
        made = self._made.get(dialect.name)
        if made is None:
            statement = self._others.get(dialect.name, self._statement)
            assert isinstance(statement, CompilerElement)  # noqa: S101 - as above
            compiled = statement.compile(dialect=dialect)
            places = getattr(compiled, "positiontup", None)
            own = dict(compiled.params)
            made = _Made(str(compiled), own, None if places is None else tuple(places))
            self._made[dialect.name] = made
        return made


@contextmanager
def sent_together(connection: Connection) -> Iterator[None]:
    """Statements that do not need each other's results go out at once, and are waited for at the end; where the driver
    can do that. Nothing else may be asked of the connection meanwhile."""
    if connection.dialect.name != "postgresql":
        yield
        return
    driver: Any = connection.connection.driver_connection
    try:
        with driver.pipeline():
            yield
    except connection.dialect.loaded_dbapi.Error as error:
        raise _told(connection, "statements sent together", error) from error


def _told(connection: Connection, text: str, error: Exception) -> StatementError:
    """An error of the driver as SQLAlchemy's own."""
    base = connection.dialect.loaded_dbapi.Error
    return DBAPIError.instance(text, None, error, base, hide_parameters=True, dialect=connection.dialect)
