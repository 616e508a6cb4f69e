"""Trace context passed on: the W3C ``traceparent`` header, checked, so that a caller's trace goes through us."""

from __future__ import annotations

import re
import secrets

_PARENT = re.compile(r"^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$")


def child_of(traceparent: str) -> str:
    """A ``traceparent`` of ours in the caller's trace, or of a new one."""
    match = _PARENT.match(traceparent.strip().lower())
    good = match is not None and set(match[1]) != {"0"} and set(match[2]) != {"0"}
    trace, flags = (match[1], match[3]) if match is not None and good else (secrets.token_hex(16), "00")
    return f"00-{trace}-{secrets.token_hex(8)}-{flags}"
