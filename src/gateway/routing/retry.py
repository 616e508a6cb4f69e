"""What follows a failed attempt: the same deployment again, the next one, or the error. Pure.

Only what is safe is repeated: an attempt that the provider may be working on still (it timed out)
is never sent to the same place twice.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from gateway.errors import (
    ContextTooLong,
    GatewayError,
    ModelNotReady,
    ProviderNotConfigured,
    StreamIncomplete,
    UpstreamAccountRefused,
    UpstreamError,
    UpstreamOverloaded,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)

MOST_ATTEMPTS = 6
#: No more attempts than this begin within so many seconds: who fails everywhere at once is not hammered on.
MOST_SOON, SOON = 4, 3.0
#: The longest pause worth holding a caller's connection for, in seconds.
LONGEST_PAUSE = 10.0
_BASE_PAUSE = 0.25


class Verdict(Struct, frozen=True):
    """``again`` after ``pause`` seconds, ``next`` deployment, or ``stop``. ``counts``: against its health."""

    what: Literal["again", "next", "stop"]
    pause: float = 0.0
    counts: bool = False


def judge(error: GatewayError, *, attempt: int, total: int, most_here: int) -> Verdict:
    """After the ``attempt``-th try at one deployment (``total`` in all; both from 1)."""
    if total >= MOST_ATTEMPTS:
        return Verdict("stop", counts=_counts(error))
    if isinstance(error, (ContextTooLong, ProviderNotConfigured, ModelNotReady, UpstreamAccountRefused)):
        return Verdict("next")
    if isinstance(error, UpstreamRejected):
        return Verdict("stop")
    if not isinstance(error, UpstreamError):
        return Verdict("stop")
    here = attempt < most_here
    if isinstance(error, UpstreamRateLimited):
        pause = max(error.retry_after or 0.0, _jittered(attempt))
        return Verdict("again", pause) if here and pause <= LONGEST_PAUSE else Verdict("next", counts=True)
    if isinstance(error, (UpstreamTimeout, StreamIncomplete)):
        return Verdict("next", counts=True)
    if isinstance(error, UpstreamUnavailable) and error.details.get("reached"):
        return Verdict("again" if attempt == 1 and here else "next", _jittered(attempt), counts=True)
    if isinstance(error, UpstreamOverloaded):
        pause = max(error.retry_after or 0.0, _jittered(attempt))
        return Verdict("again", pause, counts=True) if here and pause <= LONGEST_PAUSE else Verdict("next", counts=True)
    return Verdict("again" if here else "next", _jittered(attempt), counts=True)


def hold(begun: Sequence[float], now: float) -> float:
    """Seconds until another attempt may begin, after those that began at the times ``begun``."""
    return max(begun[-MOST_SOON] + SOON - now, 0.0) if len(begun) >= MOST_SOON else 0.0


def _counts(error: GatewayError) -> bool:
    return isinstance(error, UpstreamError) and not isinstance(error, UpstreamRejected)


def _jittered(attempt: int) -> float:
    pause = _BASE_PAUSE * 2.0 ** (attempt - 1)
    return pause / 2 + random.random() * pause / 2
