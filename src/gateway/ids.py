"""Identifiers that sort by time: ``{prefix}_{26 characters}`` (64 bits of nanoseconds, 66 random)."""

from __future__ import annotations

import random
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
#: Two characters at once: half the look-ups.
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_SHIFTS = range(120, -1, -10)


def new_id(prefix: str) -> str:
    """A new identifier such as ``task_01hv…``: a name that nobody else gives, not a secret.

    The random part is Python's own generator, which needs no system call: this is called several times
    for each request.
    """
    value = (time.time_ns() << 66) | random.getrandbits(66)
    return f"{prefix}_" + "".join([_PAIRS[value >> shift & 1023] for shift in _SHIFTS])
