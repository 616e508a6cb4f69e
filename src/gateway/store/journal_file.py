"""A journal of one process: lines appended from its event loop, on disk before anybody goes on.

Appending costs the loop a list and, once for all lines that come together, the waking of one thread,
which writes and syncs them in one go (group commit) and wakes whoever waits. The journal is a row of
segments ``{name}.{number}`` in one folder; ``{name}.lock`` is held (``flock``) while its process lives,
so that another process can tell an orphan. A torn last line was never waited for: readers leave it out.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue

from gateway.errors import Unavailable
from gateway.ids import new_id

SEGMENT_BYTES = 16 * 1024 * 1024
#: How long lines are gathered when many come: a sync costs as much for one as for a hundred.
_GATHER_SECONDS = 0.0007
_MANY = 3


class Line:
    """One line. ``segment`` and ``end`` (the byte after it) are known once it is on disk."""

    __slots__ = ("data", "done", "end", "segment", "waiter")

    def __init__(self, data: bytes, done: object = None) -> None:
        self.data = data
        #: What is handed on when the line is on disk.
        self.done = done
        self.waiter: asyncio.Future[None] | None = None
        self.segment = -1
        self.end = 0


class JournalFile:
    """The journal of this process. Lines may come from any thread; ``write`` is for one event loop.

    ``taken`` is called, from the journal's thread, with the lines that are on disk now and carry
    something to hand on, in their order.
    """

    def __init__(
        self, folder: Path, taken: Callable[[list[Line]], object], *, segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.name = new_id("journal")
        self._folder = folder
        self._taken = taken
        self._segment_bytes = segment_bytes
        self._lock_file = _locked(folder / f"{self.name}.lock")
        self._lock = threading.Lock()
        self._lines: list[Line] = []
        self._woken = False
        self._kicks: SimpleQueue[bool] = SimpleQueue()
        self._file = -1
        self._size = 0
        self._failed: OSError | None = None
        self._idle = threading.Condition()
        self._busy = False
        #: The number of the segment that is being written.
        self.current = 0
        self._open_segment(0)
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def append(self, line: Line) -> None:
        """Adds a line; it is on disk soon, and tried again where the disk would not take it."""
        with self._lock:
            self._lines.append(line)
            kick, self._woken = not self._woken, True
        if kick:
            self._kicks.put(True)

    async def write(self, line: Line) -> None:
        """Adds a line and returns once it is on disk. ``Unavailable`` where the disk will not take it."""
        line.waiter = asyncio.get_running_loop().create_future()
        self.append(line)
        await line.waiter

    def flush(self) -> None:
        """Blocks until everything appended so far is on disk. ``Unavailable`` where it cannot be."""
        self._kicks.put(True)
        with self._idle:
            self._idle.wait_for(lambda: (not self._busy and not self._lines) or self._failed is not None, timeout=30)
        if self._failed is not None:
            raise _unwritable(self._failed)

    @property
    def healthy(self) -> bool:
        """Whether the last write went well."""
        return self._failed is None

    def discard(self, segment: int) -> None:
        """Deletes a segment that nobody needs any more."""
        (self._folder / f"{self.name}.{segment}").unlink(missing_ok=True)

    def close(self, *, discard: bool) -> None:
        """Ends the thread; ``discard`` deletes the journal, whose every line is in the ledger."""
        self._kicks.put(False)
        self._thread.join(timeout=10)
        os.close(self._file)
        if discard:
            remove_journal(self._folder, self.name)
        os.close(self._lock_file)

    # -- the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        gather = False
        while True:
            go_on = self._kicks.get()
            if gather:
                time.sleep(_GATHER_SECONDS)
            with self._lock:
                lines, self._lines = self._lines, []
                self._woken = False
                self._busy = True
            waiters = [line.waiter for line in lines if line.waiter is not None]
            gather = len(waiters) >= _MANY
            problem = self._write(lines) if lines else None
            if problem is not None:
                again = [line for line in lines if line.waiter is None]
                with self._lock:
                    self._lines[:0] = again
            if waiters:
                waiters[0].get_loop().call_soon_threadsafe(_wake, waiters, problem)
            with self._idle:
                self._busy = False
                self._idle.notify_all()
            if not go_on:
                return

    def _write(self, lines: list[Line]) -> OSError | None:
        try:
            if self._size >= self._segment_bytes:
                self._open_segment(self.current + 1)
            data = b"\n".join([line.data for line in lines]) + b"\n"
            _write_all(self._file, data)
            os.fdatasync(self._file)
        except OSError as error:
            self._failed = error
            self._mend()
            return error
        self._failed = None
        at, segment = self._size, self.current
        done = []
        for line in lines:
            at += len(line.data) + 1
            line.segment, line.end = segment, at
            if line.done is not None:
                done.append(line)
        self._size = at
        if done:
            self._taken(done)
        return None

    def _mend(self) -> None:
        """Cuts off what was half written, so that the next line begins a line."""
        try:
            os.ftruncate(self._file, self._size)
            os.lseek(self._file, self._size, os.SEEK_SET)
        except OSError as error:
            self._failed = error

    def _open_segment(self, number: int) -> None:
        path = self._folder / f"{self.name}.{number}"
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        _sync_folder(self._folder)
        if self._file >= 0:
            os.close(self._file)
        self.current, self._file, self._size = number, file, 0


def orphans(folder: Path) -> Iterator[tuple[str, int]]:
    """Journals whose process is gone, each with the descriptor that holds its lock now: nobody else
    takes it until that is closed."""
    if not folder.is_dir():
        return
    for path in sorted(folder.glob("*.lock")):
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        if not path.exists():  # its last keeper finished between our look and our lock
            os.close(descriptor)
            continue
        yield path.name.removesuffix(".lock"), descriptor


def lines_of(folder: Path, name: str) -> Iterator[tuple[int, int, bytes]]:
    """Every whole line of a journal, with its segment's number and the byte at which it ends."""
    numbers = sorted(int(path.suffix[1:]) for path in folder.glob(f"{name}.*") if path.suffix[1:].isdecimal())
    for number in numbers:
        at = 0
        for line in (folder / f"{name}.{number}").read_bytes().splitlines(keepends=True):
            at += len(line)
            if line.endswith(b"\n"):
                yield number, at, line[:-1]


def remove_journal(folder: Path, name: str) -> None:
    """Deletes a journal, its lock last."""
    for path in folder.glob(f"{name}.*"):
        if path.suffix != ".lock":
            path.unlink(missing_ok=True)
    (folder / f"{name}.lock").unlink(missing_ok=True)


def _wake(waiters: list[asyncio.Future[None]], problem: OSError | None) -> None:
    for waiter in waiters:
        if waiter.done():
            continue  # its caller has left
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


def _write_all(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
