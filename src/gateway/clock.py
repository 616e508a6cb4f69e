"""Time is UTC, kept as integer microseconds since 1970, and asked of a clock that tests own."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol

SECOND = 1_000_000


class Clock(Protocol):
    """Where the house asks for the time."""

    def now(self) -> int:
        """Microseconds since 1970-01-01 UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        return time.monotonic()


def rfc3339(micros: int) -> str:
    """``2024-01-01T12:00:00.123456Z``."""
    moment = datetime.fromtimestamp(micros // SECOND, UTC).replace(tzinfo=None)
    return f"{moment.isoformat()}.{micros % SECOND:06d}Z"


def from_rfc3339(text: str) -> int:
    """The inverse; a time without a zone is refused with ``ValueError``."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time needs its zone, such as a final Z")
    whole = moment.astimezone(UTC)
    return int(whole.replace(microsecond=0).timestamp()) * SECOND + whole.microsecond
