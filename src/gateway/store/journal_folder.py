"""The folder of journals: ``{name}.{number}`` are the segments of one, ``{name}.lock`` says whose it is.

The lock is held (``flock``) while its process lives, and let go by the kernel when it dies, however it
does; so another process can tell an orphan, and only one takes it. A torn last line was never waited for:
readers leave it out.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

#: Where a line ends: the number of its segment and the byte after it.
Position = tuple[int, int]


def segment_file(folder: Path, name: str, number: int) -> Path:
    """Where a segment is."""
    return folder / f"{name}.{number}"


def lock_file(folder: Path, name: str) -> int:
    """The descriptor that holds a new journal's lock."""
    path = _lock_path(folder, name)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if _is_at(descriptor, path):
            return descriptor
        os.close(descriptor)  # somebody took it for an orphan before it was locked


def orphans(folder: Path) -> Iterator[str]:
    """Journals whose process is gone. Each is locked while it is in hand: nobody else is given it."""
    for name in _names(folder):
        descriptor = _take(folder, name)
        if descriptor is None:
            continue
        try:
            yield name
        finally:
            os.close(descriptor)


def orphan_names(folder: Path) -> list[str]:
    """The same, of this moment, without taking them into hand: another process may at any time."""
    found = []
    for name in _names(folder):
        descriptor = _take(folder, name)
        if descriptor is not None:
            os.close(descriptor)
            found.append(name)
    return found


def is_here(folder: Path, name: str) -> bool:
    """Whether a journal of that name is in the folder, its process alive or not."""
    return _lock_path(folder, name).exists()


def lines_of(folder: Path, name: str) -> Iterator[tuple[Position, bytes]]:
    """Every whole line of a journal, in order, and where it ends."""
    for number in _segments(folder, name):
        at = 0
        with segment_file(folder, name, number).open("rb") as lines:
            for line in lines:
                at += len(line)
                if line.startswith(b"\0"):  # what was set aside and not written
                    break
                if line.endswith(b"\n"):
                    yield (number, at), line[:-1]


def remove_segments(folder: Path, name: str) -> None:
    """Deletes all but the lock of a journal."""
    for number in _segments(folder, name):
        segment_file(folder, name, number).unlink(missing_ok=True)


def remove_journal(folder: Path, name: str) -> None:
    """Deletes a journal, its lock last."""
    remove_segments(folder, name)
    _lock_path(folder, name).unlink(missing_ok=True)


def _segments(folder: Path, name: str) -> list[int]:
    return sorted(int(path.suffix[1:]) for path in folder.glob(f"{name}.*") if path.suffix[1:].isdecimal())


def _lock_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.lock"


def _names(folder: Path) -> list[str]:
    """Of all journals, those too whose lock is lost, as a copy of the folder may be."""
    return sorted({path.stem for path in folder.glob("*.*") if path.suffix == ".lock" or path.suffix[1:].isdecimal()})


def _take(folder: Path, name: str) -> int | None:
    """The lock of a journal whose process is gone; ``None`` where it lives, or another has the journal."""
    path = _lock_path(folder, name)
    make = os.O_CREAT if _segments(folder, name) else 0  # a process makes its lock before its first segment
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | make, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    if not _is_at(descriptor, path):
        os.close(descriptor)
        return None
    return descriptor


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is still the one at ``path``."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
