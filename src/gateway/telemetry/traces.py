"""Trace context passed on: the W3C ``traceparent`` header, checked, so that a caller's trace goes through us."""

from __future__ import annotations

import random
import re

_PARENT = re.compile(r"^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$")


def child_of(traceparent: str) -> str:
    """A ``traceparent`` of ours in the caller's trace, or of a new one."""
    match = _PARENT.match(traceparent.strip().lower()) if traceparent else None
    good = match is not None and set(match[1]) != {"0"} and set(match[2]) != {"0"}
    # Names, not secrets: Python's own generator needs no system call.
    trace, flags = (match[1], match[3]) if match is not None and good else (f"{_not_zero(128):032x}", "00")
    return f"00-{trace}-{_not_zero(64):016x}-{flags}"


def _not_zero(bits: int) -> int:
    return random.getrandbits(bits) or 1
