"""A journal of one process: lines copied into a mapped file, before anybody goes on.

A line that is copied is the kernel's: it survives the death of the process by any signal, and costs no
system call (which would hand the interpreter to another thread). That it survives the machine's death as
well is the work of one thread, which syncs what was written at most ``sync_seconds`` ago; with ``strict``
whoever asks waits for it (``synced``). The journal is a row of segments, each with its space set aside when
it is begun; where the disk has none, no call is opened, and those that are open still find room for their
end. How the files are found again is the subject of ``journal_folder``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import mmap
import os
import threading
import time
from pathlib import Path

from gateway.errors import Unavailable
from gateway.ids import new_id
from gateway.store.journal_folder import Position, lock_file, remove_journal, segment_file

_log = logging.getLogger(__name__)
SEGMENT_BYTES = 8 * 1024 * 1024
SYNC_SECONDS = 0.02
#: The part of a segment that only ends of calls may use.
_KEPT_FOR_ENDS = 16

_NEWLINE = ord("\n")


class JournalFile:
    """The journal of this process; safe from any thread."""

    def __init__(
        self,
        folder: Path,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        sync_seconds: float = SYNC_SECONDS,
        strict: bool = False,
    ) -> None:
        """``Unavailable`` where the disk has no room for it."""
        self.name = new_id("journal")
        #: Whether those who wrote wait for the disk.
        self.strict = strict
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._kept_for_ends = segment_bytes // _KEPT_FOR_ENDS
        self._sync_seconds = sync_seconds
        self._lock = threading.Lock()
        self._file = -1
        self._map: mmap.mmap
        self._segment = -1
        self._size = 0
        self._room = 0
        self._oldest = 0
        self._standing: dict[int, int] = {}
        self._failed: OSError | None = None
        self._dirty = threading.Event()
        #: Whether the thread was told of what is written; it says no before it looks.
        self._told = False
        self._sealed = False
        self._closed = False
        self._rolled: list[int] = []
        self._waiters: list[asyncio.Future[None]] = []
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock_file = lock_file(folder, self.name)
        except OSError as error:
            raise _unwritable(error) from error
        try:
            self._open_segment(0)
        except OSError as error:
            remove_journal(folder, self.name)
            os.close(self._lock_file)
            raise _unwritable(error) from error
        self._syncer = threading.Thread(target=self._sync, name="journal", daemon=True)
        self._syncer.start()

    @property
    def healthy(self) -> bool:
        """Whether the last write, and the last sync, went well."""
        return self._failed is None

    def check(self) -> None:
        """``Unavailable`` where it is not healthy."""
        if self._failed is not None:
            raise _unwritable(self._failed)

    def write(self, line: bytes, *, opens: bool) -> Position:
        """Adds a line (without its end) and says where it ends. What ``opens`` keeps its segment, and those
        after it, until ``settled``. ``Unavailable`` where the disk will not take it: then nothing is added."""
        with self._lock:
            if self._sealed:
                raise _unwritable(OSError("the journal is closed"))
            end = self._size + len(line) + 1
            if end > (self._room - self._kept_for_ends if opens else self._room):
                try:
                    self._open_segment(len(line) + 1)
                except OSError as error:
                    self._failed = error
                    raise _unwritable(error) from error
                self._failed = None
                end = len(line) + 1
            # The line's end goes in last: without it, it is none.
            self._map[self._size : end - 1] = line
            self._map[end - 1] = _NEWLINE
            self._size = end
            if opens:
                self._standing[self._segment] += 1
            position = self._segment, end
        if not self._told:
            self._told = True
            self._dirty.set()
        return position

    def mend(self) -> None:
        """Tries again what failed, so that a journal whose disk has room again is healthy before anybody writes."""
        with self._lock:
            if self._failed is None or self._sealed:
                return
            try:
                self._open_segment(0)
            except OSError as error:
                self._failed = error
            else:
                self._failed = None
        self._dirty.set()

    async def synced(self) -> None:
        """Returns once everything written so far is on the disk itself. ``Unavailable`` where it cannot be."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self._lock:
            if self._closed:
                raise _unwritable(OSError("the journal is closed"))
            self._waiters.append(waiter)
        self._dirty.set()
        await waiter

    def settled(self, segments: list[int], mark: Position) -> None:
        """What these segments' lines opened (one number a line) is in the database for good, as are all
        ends up to ``mark``: deletes the segments that nobody needs any more, oldest first."""
        with self._lock:
            for segment in segments:
                self._standing[segment] -= 1
            while self._oldest < min(mark[0], self._segment) and not self._standing[self._oldest]:
                del self._standing[self._oldest]
                try:
                    segment_file(self._folder, self.name, self._oldest).unlink(missing_ok=True)
                except OSError as error:  # it is read again, and left out, by whoever finds it
                    _log.warning("a segment of the journal could not be deleted: %s", error)
                self._oldest += 1

    def seal(self) -> bool:
        """Takes no more lines, if no call is open: whether that is so."""
        with self._lock:
            self._sealed = self._sealed or not any(self._standing.values())
            return self._sealed

    def close(self) -> None:
        """Takes no more lines, ends the thread and lets go of the lock."""
        with self._lock:
            self._sealed = self._closed = True
        self._dirty.set()
        self._syncer.join(timeout=10)
        with self._lock:
            if self._file >= 0:
                self._map.close()
                os.close(self._file)
                self._file = -1
                os.close(self._lock_file)

    def _sync(self) -> None:
        while not self._closed:
            self._dirty.wait()
            if not self.strict and not self._closed:
                self._dirty.clear()
                time.sleep(self._sync_seconds)
            self._dirty.clear()
            self._told = False
            self._sync_once()
        self._sync_once()

    def _sync_once(self) -> None:
        problem: OSError | None = None
        with self._lock:
            waiters, self._waiters = self._waiters, []
            files, self._rolled = self._rolled, []
            try:
                files.append(os.dup(self._file))
            except OSError as error:
                self._failed = problem = error
        for file in files:
            try:
                _to_disk(file)
            except OSError as error:
                self._failed = problem = error
            finally:
                os.close(file)
        for waiter in waiters:
            with contextlib.suppress(RuntimeError):  # its loop is closed, and whoever waited gone
                waiter.get_loop().call_soon_threadsafe(_wake, waiter, problem)

    def _open_segment(self, needed: int) -> None:
        """Begins the next segment, with space for ``needed`` bytes at least. ``OSError`` where the disk has
        none: then the one before goes on."""
        number, room = self._segment + 1, max(self._segment_bytes, needed + self._kept_for_ends)
        path = segment_file(self._folder, self.name, number)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _set_aside(file, room)
            mapped = mmap.mmap(file, room)
            _sync_folder(self._folder)
        except (OSError, ValueError) as error:
            os.close(file)
            path.unlink(missing_ok=True)
            raise OSError(f"no segment of {room} bytes: {error}") from error
        if self._file >= 0:
            self._map.close()
            self._rolled.append(self._file)  # synced, and closed, with the next
        self._file, self._map, self._room = file, mapped, room
        self._segment, self._size = number, 0
        self._standing[number] = 0


def _wake(waiter: asyncio.Future[None], problem: OSError | None) -> None:
    if waiter.done():
        return  # its caller has left
    if problem is None:
        waiter.set_result(None)
    else:
        waiter.set_exception(_unwritable(problem))


def _unwritable(problem: OSError) -> Unavailable:
    error = Unavailable(
        "the journal of calls cannot be written, so no call is made",
        mend="see the disk of the gateway's data directory",
        retry_after=5.0,
    )
    error.__cause__ = problem
    return error


def _set_aside(file: int, size: int) -> None:
    """Gives the file its space, so that writing into its mapping never lacks it."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    else:  # macOS: blocks are taken when they are written
        os.ftruncate(file, size)


def _to_disk(file: int) -> None:
    if hasattr(os, "fdatasync"):
        os.fdatasync(file)
    else:  # macOS
        os.fsync(file)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
