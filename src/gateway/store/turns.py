"""Whose turn it is to write to an SQLite file: threads queue in the process, processes in the kernel.

SQLite lets one writer in at a time and makes the others sleep and ask again, each time longer: who
asks seldom is passed over again and again. A lock that is waited for in a queue costs less and
passes nobody over. It orders writers, nothing more: what keeps them apart is SQLite's own lock.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.errors import Unavailable

#: How long a thread waits for the other threads of its process, in seconds.
LONGEST_WAIT = 30.0


class WriterTurns:
    """The queue of one database file; ``None`` for one in memory, which is of this process alone."""

    def __init__(self, database: Path | None) -> None:
        self._threads = threading.Lock()
        self._file = None if database is None else database.with_name(database.name + "-turn")
        self._descriptor: int | None = None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """This thread's turn. ``Unavailable`` where the writers before it take too long."""
        if not self._threads.acquire(timeout=LONGEST_WAIT):
            raise Unavailable("the database is busy", mend="try again shortly", retry_after=1.0)
        try:
            descriptor = self._open()
            if descriptor is None:
                yield
                return
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        finally:
            self._threads.release()

    def close(self) -> None:
        """Lets go of the file."""
        with self._threads:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def _open(self) -> int | None:
        if self._file is not None and self._descriptor is None:
            self._descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return self._descriptor
