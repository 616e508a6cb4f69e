"""Identifiers that sort by time: ``{prefix}_{26 characters}`` (64 bits of nanoseconds, 66 random)."""

from __future__ import annotations

import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id(prefix: str) -> str:
    """A new identifier such as ``task_01hv…``; unguessable enough to be a name, not a secret."""
    value = (time.time_ns() << 66) | secrets.randbits(66)
    return f"{prefix}_" + "".join(_ALPHABET[value >> shift & 31] for shift in range(125, -1, -5))
