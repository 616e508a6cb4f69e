"""Identifiers that sort by time: ``{prefix}_{26 characters}`` (64 bits of nanoseconds, 66 random)."""

from __future__ import annotations

import random
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
#: Two characters at once: half the look-ups.
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]


def new_id(prefix: str) -> str:
    """A new identifier such as ``task_01hv…``: a name that nobody else gives, not a secret.

    The random part is Python's own generator, which needs no system call: this is called several times
    for each request.
    """
    now, chance, pairs = time.time_ns(), random.getrandbits(66), _PAIRS
    # The 130 bits in pieces of thirty, which are the integers that Python is quickest with.
    first, second = now >> 34, now >> 4 & 0x3FFFFFFF
    third, fourth = (now & 15) << 26 | chance >> 40, chance >> 10 & 0x3FFFFFFF
    return (
        f"{prefix}_{pairs[first >> 20]}{pairs[first >> 10 & 1023]}{pairs[first & 1023]}"
        f"{pairs[second >> 20]}{pairs[second >> 10 & 1023]}{pairs[second & 1023]}"
        f"{pairs[third >> 20]}{pairs[third >> 10 & 1023]}{pairs[third & 1023]}"
        f"{pairs[fourth >> 20]}{pairs[fourth >> 10 & 1023]}{pairs[fourth & 1023]}{pairs[chance & 1023]}"
    )
