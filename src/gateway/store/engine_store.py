"""Opens transactions of the engine: one at a time for whoever asks, or again and again for a thread that writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gateway.store.engine import Database
from gateway.store.run_memory import RunMemory
from gateway.store.run_store import SqlEngineTx


class SqlEngineStore:
    """Opens transactions of the engine; see ``engine.ports.EngineStore``."""

    def __init__(self, database: Database, *, default_webhook_url: str = "") -> None:
        self._database = database
        self._webhook_url = default_webhook_url
        #: SQLite has one writer; PostgreSQL is at work while Python waits for it, as far as runs do not wait for
        #: each other.
        self.writers = 1 if database.is_sqlite else 2
        #: Of those who write to PostgreSQL.
        self._memory = RunMemory()

    @contextmanager
    def begin(self) -> Iterator[SqlEngineTx]:
        with self._database.begin() as connection:
            tx = SqlEngineTx(connection, self._webhook_url)
            yield tx
            tx.close()

    def writer(self) -> SqlEngineWriter:
        return SqlEngineWriter(
            self._database, self._webhook_url, RunMemory() if self._database.is_sqlite else self._memory
        )

    @contextmanager
    def read(self) -> Iterator[SqlEngineTx]:
        with self._database.read() as connection:
            yield SqlEngineTx(connection, self._webhook_url)


class SqlEngineWriter:
    """Writes for one thread, again and again; see ``engine.ports.EngineWriter``."""

    #: What it opens.
    opens = SqlEngineTx

    def __init__(self, database: Database, default_webhook_url: str, memory: RunMemory) -> None:
        self._connection = database.writer()
        self._webhook_url = default_webhook_url
        self._memory = memory

    @contextmanager
    def begin(self) -> Iterator[SqlEngineTx]:
        with self._connection.begin() as connection:
            if self._connection.changed:
                self._memory.reconnected()
            tx = self.opens(connection, self._webhook_url, self._memory if self._connection.kept else None)
            yield tx
            tx.close()
        tx.image.rest()

    def close(self) -> None:
        self._connection.close()
