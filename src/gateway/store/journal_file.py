"""A journal of one process: lines copied into a mapped file, before anybody goes on.

A line that is copied is the kernel's: it survives the death of the process by any signal, and costs no
system call (which would hand the interpreter to another thread). That it survives the machine's death as
well is the work of one thread, which syncs what was written at most ``sync_seconds`` ago; with ``strict``
whoever asks waits for it (``synced``). The journal is a row of segments ``{name}.{number}`` in one folder,
each with its space set aside when it is begun; ``{name}.lock`` is held (``flock``) while its process lives,
so that another process can tell an orphan. A torn last line was never waited for: readers leave it out.
"""

from __future__ import annotations

import asyncio
import fcntl
import mmap
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from gateway.errors import Unavailable
from gateway.ids import new_id

SEGMENT_BYTES = 8 * 1024 * 1024
SYNC_SECONDS = 0.02

_NEWLINE = ord("\n")

#: Where a line ends: the number of its segment and the byte after it.
Position = tuple[int, int]


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
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.name = new_id("journal")
        #: Whether those who wrote wait for the disk.
        self.strict = strict
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._sync_seconds = sync_seconds
        self._lock_file = _locked(folder / f"{self.name}.lock")
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
        self._closed = False
        self._waiters: list[asyncio.Future[None]] = []
        self._open_segment(0)
        self._syncer = threading.Thread(target=self._sync, name="journal", daemon=True)
        self._syncer.start()

    @property
    def healthy(self) -> bool:
        """Whether the last write went well."""
        return self._failed is None

    def write(self, line: bytes, *, opens: bool) -> Position:
        """Adds a line (without its end) and says where it ends. What ``opens`` keeps its segment, and those
        after it, until ``settled``. ``Unavailable`` where the disk will not take it: then nothing is added."""
        with self._lock:
            end = self._size + len(line) + 1
            if end > self._room:
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
        if not self._dirty.is_set():
            self._dirty.set()
        return position

    async def synced(self) -> None:
        """Returns once everything written so far is on the disk itself. ``Unavailable`` where it cannot be."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self._lock:
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
                (self._folder / f"{self.name}.{self._oldest}").unlink(missing_ok=True)
                self._oldest += 1

    def close(self, *, discard: bool) -> None:
        """Ends the thread; ``discard`` deletes the journal, whose every line is in the database."""
        self._closed = True
        self._dirty.set()
        self._syncer.join(timeout=10)
        self._map.close()
        os.close(self._file)
        if discard:
            remove_journal(self._folder, self.name)
        os.close(self._lock_file)

    def _sync(self) -> None:
        while not self._closed:
            self._dirty.wait()
            if not self.strict and not self._closed:
                self._dirty.clear()
                time.sleep(self._sync_seconds)
            self._dirty.clear()
            with self._lock:
                waiters, self._waiters = self._waiters, []
                file = os.dup(self._file)
            problem: OSError | None = None
            try:
                os.fdatasync(file)
            except OSError as error:
                self._failed = problem = error
            finally:
                os.close(file)
            for waiter in waiters:
                waiter.get_loop().call_soon_threadsafe(_wake, waiter, problem)

    def _open_segment(self, needed: int) -> None:
        """Begins the next segment, with space for ``needed`` bytes at least. ``OSError`` where the disk has
        none: then the one before goes on."""
        number, room = self._segment + 1, max(self._segment_bytes, needed)
        path = self._folder / f"{self.name}.{number}"
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _set_aside(file, room)
            mapped = mmap.mmap(file, room)
        except (OSError, ValueError):
            os.close(file)
            path.unlink(missing_ok=True)
            raise
        _sync_folder(self._folder)
        if self._file >= 0:
            self._map.close()
            os.fdatasync(self._file)
            os.close(self._file)
        self._file, self._map, self._room = file, mapped, room
        self._segment, self._size = number, 0
        self._standing[number] = 0


def orphans(folder: Path) -> Iterator[str]:
    """Journals whose process is gone. Each is locked while it is in hand: nobody else is given it."""
    if not folder.is_dir():
        return
    for path in sorted(folder.glob("*.lock")):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        try:
            yield path.name.removesuffix(".lock")
        finally:
            if not any(folder.glob(f"{path.stem}.[0-9]*")):  # nothing is left of it
                path.unlink(missing_ok=True)
            os.close(descriptor)


def lines_of(folder: Path, name: str) -> Iterator[tuple[Position, bytes]]:
    """Every whole line of a journal, in order, and where it ends."""
    numbers = sorted(int(path.suffix[1:]) for path in folder.glob(f"{name}.*") if path.suffix[1:].isdecimal())
    for number in numbers:
        at = 0
        with (folder / f"{name}.{number}").open("rb") as lines:
            for line in lines:
                at += len(line)
                if line.startswith(b"\0"):  # what was set aside and not written
                    break
                if line.endswith(b"\n"):
                    yield (number, at), line[:-1]


def remove_journal(folder: Path, name: str) -> None:
    """Deletes a journal, its lock last."""
    for path in folder.glob(f"{name}.[0-9]*"):
        path.unlink(missing_ok=True)
    (folder / f"{name}.lock").unlink(missing_ok=True)


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


def _locked(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if path.exists():
            return descriptor
        os.close(descriptor)  # somebody took it for an orphan before it was locked


def _set_aside(file: int, size: int) -> None:
    """Gives the file its space, so that writing into its mapping never lacks it."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    else:  # macOS: blocks are taken when they are written
        os.ftruncate(file, size)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
