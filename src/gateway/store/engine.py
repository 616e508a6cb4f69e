"""Which database, opened how: the one place that knows SQLite from PostgreSQL.

SQLite runs in WAL mode with ``synchronous=FULL`` (an acknowledged commit survives power loss) and
takes its write lock when a transaction begins, so that two writers wait for (``turns.py``), and
never deadlock, each other. On PostgreSQL any database error drops the connection instead of returning it to the
pool: a connection whose state is unknown is worth less than a new one.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError

from gateway.errors import ConfigurationInvalid, Unavailable
from gateway.store.artifact_bytes import PLACE
from gateway.store.artifact_place import ArtifactPlace
from gateway.store.many_rows import copy_in
from gateway.store.prepared import Prepared
from gateway.store.turns import LONGEST_WAIT, WriterTurns

#: A writer's connection that was not used for so many seconds goes back to the pool.
_REST = 1.0


class Database:
    """A pool of connections and the two ways to use one: ``begin`` to write, ``read`` to read."""

    def __init__(self, url: str, *, pool_size: int = 10, artifacts: ArtifactPlace | None = None) -> None:
        """``artifacts``: where large values lie; in the database itself where it is ``None``."""
        options = {PLACE: artifacts}
        self._sqlite = url.startswith("sqlite")
        self._journal: Path | None = None
        if url.startswith("postgres"):
            url = "postgresql+psycopg://" + url.split("://", 1)[1]
        elif not self._sqlite:
            raise ConfigurationInvalid(
                "DATABASE_URL names neither SQLite nor PostgreSQL",
                mend="use sqlite:///path/to/file.db or postgresql://user@host/name",
            )
        if self._sqlite:
            file = make_url(url).database
            memory = not file or file == ":memory:" or file.startswith("file:")
            kept = None if memory else Path(str(file))
            if kept is not None:
                try:
                    kept.parent.mkdir(parents=True, exist_ok=True)
                except OSError as error:
                    raise ConfigurationInvalid(
                        f"the folder of DATABASE_URL cannot be made ({error.strerror})",
                        mend="name a file in a folder that this process may write to",
                    ) from error
            self._turns: WriterTurns | None = WriterTurns(kept)
            self._journal = None if kept is None else kept.with_name(kept.name + "-wal")
            self.engine = create_engine(
                url,
                pool_size=pool_size,
                pool_use_lifo=True,  # what wrote last has in its cache what is read next
                execution_options=options,
                connect_args={"timeout": LONGEST_WAIT, "check_same_thread": False},
            )
            event.listen(self.engine, "connect", _sqlite_connect)
            event.listen(self.engine, "begin", _sqlite_begin)
        else:
            self._turns = None
            self.engine = create_engine(
                url,
                pool_size=pool_size,
                max_overflow=pool_size,
                pool_timeout=10,
                execution_options=options,
                connect_args={"connect_timeout": 5},
            )
            event.listen(self.engine, "do_execute", copy_in)

    def stamp(self) -> tuple[int, int] | None:
        """Another value after each commit, by whichever process, at the price of a look at a file's size and time:
        SQLite's journal. (Two commits within one tick of the file system's clock may share one.) ``None`` where
        there is no such file."""
        if self._journal is None:
            return None
        try:
            found = self._journal.stat()
        except OSError:
            return 0, 0
        return found.st_mtime_ns, found.st_size

    @property
    def is_sqlite(self) -> bool:
        return self._sqlite

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A read-write transaction: commits at the end, rolls back on any error. A database that
        cannot be reached raises ``Unavailable``."""
        with self.turn(), self.engine.connect() as connection:
            try:
                with connection.begin():
                    yield connection
            except DBAPIError:
                connection.invalidate()
                raise

    def writer(self) -> Writer:
        """For a thread that writes again and again."""
        return Writer(self)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """To write, where that must be waited for; with the errors of a database that is away."""
        with _translated(), nullcontext() if self._turns is None else self._turns.turn():
            yield

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A read-only snapshot (never takes SQLite's write lock)."""
        with _translated(), self.engine.connect().execution_options(read_only=True) as connection:
            try:
                with connection.begin():
                    yield connection
            except DBAPIError:
                connection.invalidate()
                raise

    def ping(self) -> None:
        """Raises ``Unavailable`` where the database does not answer."""
        with self.read() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        self.engine.dispose()
        if self._turns is not None:
            self._turns.close()


class Writer:
    """A connection that one thread keeps between its transactions: to take one from the pool and to give it back costs
    as much as the statements of a small one. What rests goes back to the pool, which knows whether it is broken."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Connection | None = None
        self._used = 0.0
        #: Whether there is one to keep: what is in memory alone has one for all.
        self.kept = not database.is_sqlite or database.stamp() is not None
        #: Whether the transaction under way has another connection than the last.
        self.changed = True

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """As ``Database.begin``."""
        with self._database.turn():
            connection = self._at_hand()
            try:
                with connection.begin():
                    yield connection
            except DBAPIError:
                connection.invalidate()
                self.close()
                raise
            self._used = time.monotonic()
            if not self.kept:
                self.close()

    def close(self) -> None:
        """Gives the connection back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _at_hand(self) -> Connection:
        if self._connection is not None and time.monotonic() - self._used > _REST:
            self.close()
        self.changed = self._connection is None
        if self._connection is None:
            self._connection = self._database.engine.connect()
        return self._connection


def next_value(connection: Connection, counter: str, count: int = 1) -> int:
    """Takes ``count`` numbers from a named counter and returns the last. The row stays locked until
    commit, so numbers appear to readers in order and without gaps: take them as late as you can."""
    row = connection.execute(
        text(
            "INSERT INTO counter (name, value) VALUES (:name, :count) "
            "ON CONFLICT (name) DO UPDATE SET value = counter.value + :count RETURNING value"
        ),
        {"name": counter, "count": count},
    ).one()
    return int(row[0])


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        raise Unavailable("the database does not answer", mend="try again shortly", retry_after=1.0) from error


def _sqlite_connect(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun by us, in _sqlite_begin
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "busy_timeout=30000",
        "cache_size=-16000",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _sqlite_begin(connection: Connection) -> None:
    read_only = connection.get_execution_options().get("read_only", False)
    Prepared.execute(connection, "BEGIN" if read_only else "BEGIN IMMEDIATE", ())
