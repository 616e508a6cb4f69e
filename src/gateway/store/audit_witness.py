"""Signed checkpoints of the audit chain, kept in files beside, not in, the database.

``head`` holds the newest checkpoint and is rewritten in place at every append; ``checkpoints`` gets a
line every so many records and keeps it. Each line is signed with an HMAC key of this one purpose; a
kept line's signature covers the signature before it, so none can be taken out of the middle.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from gateway.security.audit import Checkpoint

_WIDTH = 256


class _Line(msgspec.Struct, frozen=True):
    seq: int
    hash: str
    at: int
    mac: str


class FileWitness:
    """Keeps checkpoints in ``folder``; ``key`` signs them. One line is kept every ``every`` records."""

    def __init__(self, folder: Path, key: bytes, *, every: int = 256) -> None:
        self._folder = folder
        self._key = hmac.digest(key, b"gateway audit checkpoint", "sha256")
        self._every = every

    def note(self, checkpoint: Checkpoint) -> None:
        with self._head() as head:
            text = os.pread(head, _WIDTH, 0)
            known = _decode(text.rstrip()) if text.strip() else None
            if known is not None and known.seq >= checkpoint.seq:
                return  # another process has witnessed a later record
            line = self._sign(checkpoint, "")
            os.pwrite(head, msgspec.json.encode(line).ljust(_WIDTH), 0)
            if known is None or known.seq // self._every != checkpoint.seq // self._every:
                self._keep(checkpoint)

    def read(self) -> tuple[list[Checkpoint], list[str]]:
        good: list[Checkpoint] = []
        bad: list[str] = []
        before = ""
        for number, text in enumerate(self._lines(), 1):
            line = _decode(text)
            if line is None or not self._holds(line, before):
                bad.append(f"checkpoint line {number} is damaged or forged")
            else:
                good.append(Checkpoint(line.seq, line.hash, line.at))
            before = line.mac if line is not None else ""
        head_file = self._folder / "head"
        if head_file.exists():
            line = _decode(head_file.read_bytes().rstrip())
            if line is None or not self._holds(line, ""):
                bad.append("the newest checkpoint is damaged or forged")
            else:
                good.append(Checkpoint(line.seq, line.hash, line.at))
        elif good:
            bad.append("the newest checkpoint is missing")
        return good, bad

    @contextmanager
    def _head(self) -> Iterator[int]:
        """The head file, open and locked against other processes."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._folder / "head", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)

    def _keep(self, checkpoint: Checkpoint) -> None:
        last = None
        for text in self._lines():
            last = text
        line = _decode(last) if last is not None else None
        signed = self._sign(checkpoint, line.mac if line is not None else "")
        descriptor = os.open(self._folder / "checkpoints", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(msgspec.json.encode(signed) + b"\n")
            handle.flush()
            os.fsync(handle.fileno())

    def _lines(self) -> list[bytes]:
        file = self._folder / "checkpoints"
        return file.read_bytes().splitlines() if file.exists() else []

    def _sign(self, checkpoint: Checkpoint, before: str) -> _Line:
        mac = self._mac(checkpoint.seq, checkpoint.hash, checkpoint.at, before)
        return _Line(checkpoint.seq, checkpoint.hash, checkpoint.at, mac)

    def _holds(self, line: _Line, before: str) -> bool:
        return hmac.compare_digest(line.mac, self._mac(line.seq, line.hash, line.at, before))

    def _mac(self, seq: int, record_hash: str, at: int, before: str) -> str:
        return hmac.new(self._key, f"{seq}|{record_hash}|{at}|{before}".encode(), hashlib.sha256).hexdigest()


def _decode(text: bytes) -> _Line | None:
    try:
        return msgspec.json.decode(text, type=_Line)
    except msgspec.DecodeError:
        return None
