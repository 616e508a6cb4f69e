"""Secrets that the gateway makes for itself: one file a purpose, readable by its owner only."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from gateway.errors import ConfigurationInvalid

_LENGTH = 32


def secret_for(data_dir: Path, purpose: str) -> bytes:
    """The secret of ``purpose`` (such as ``jwt`` or ``audit``), made at first use: 64 hex characters.

    Processes that ask at the same time get the same one.
    """
    folder = data_dir / "secrets"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = folder / purpose
    if not file.exists():
        fresh = folder / f".{purpose}-{secrets.token_hex(8)}"
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(secrets.token_hex(_LENGTH).encode())
            handle.flush()
            os.fsync(handle.fileno())
        with contextlib.suppress(FileExistsError):  # another process was first: its secret is the one
            os.link(fresh, file)
        fresh.unlink()
    content = file.read_bytes().strip()
    if len(content) < _LENGTH:
        raise ConfigurationInvalid(f"the secret file {purpose!r} in the data directory is damaged", mend="restore it")
    return content
