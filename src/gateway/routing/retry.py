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
    UpstreamMalformed,
    UpstreamOverloaded,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)

MOST_ATTEMPTS = 6
#: No more than so many attempts of one call begin within so many seconds.
BURST, BURST_SECONDS = 4, 3.0
#: The longest pause worth holding a caller's connection for, in seconds.
LONGEST_PAUSE = 10.0
_BASE_PAUSE = 0.25


#: Codes of errors in the middle of a stream that count against its deployment's health.
BROKEN = frozenset(
    kind.code for kind in (UpstreamError, StreamIncomplete, UpstreamTimeout, UpstreamUnavailable, UpstreamOverloaded)
)


class Verdict(Struct, frozen=True):
    """``again`` after ``pause`` seconds, ``next`` deployment, or ``stop``. ``counts``: against its health."""

    what: Literal["again", "next", "stop"]
    pause: float = 0.0
    counts: bool = False


def judge(error: GatewayError, *, attempt: int, total: int, most_here: int, others: bool = False) -> Verdict:
    """After the ``attempt``-th try at one deployment (``total`` in all; both from 1). ``others``: there are further
    deployments."""
    if total >= MOST_ATTEMPTS:
        return Verdict("stop", counts=_counts(error))
    if isinstance(error, (ContextTooLong, ProviderNotConfigured, ModelNotReady)):
        return Verdict("next")
    if isinstance(error, UpstreamAccountRefused):
        return Verdict("next", counts=True)  # a wrong key or an empty account does not mend within a call
    if isinstance(error, UpstreamRejected):
        return Verdict("stop")
    if not isinstance(error, UpstreamError):
        return Verdict("stop")
    if isinstance(error, (UpstreamTimeout, StreamIncomplete)):
        return Verdict("next", counts=True)
    if others and isinstance(error, UpstreamMalformed):
        return Verdict("next", counts=True)  # what answers in this way is broken, not busy
    most = most_here
    if isinstance(error, UpstreamUnavailable) and error.details.get("reached"):
        most = min(most_here, 2)  # it broke off, so it may have worked: once more, not again and again
    pause = max(error.retry_after or 0.0, _jittered(attempt))
    limited = isinstance(error, UpstreamRateLimited)
    if attempt < most and pause <= LONGEST_PAUSE:
        return Verdict("again", pause, counts=not limited)
    return Verdict("next", counts=True)


def wait_before(starts: Sequence[float], now: float) -> float:
    """Seconds to wait before another attempt of a call whose attempts began at ``starts`` (seconds, ascending)."""
    return max(starts[-BURST] + BURST_SECONDS - now, 0.0) if len(starts) >= BURST else 0.0


def _counts(error: GatewayError) -> bool:
    return isinstance(error, UpstreamError) and not isinstance(error, UpstreamRejected)


def _jittered(attempt: int) -> float:
    pause = _BASE_PAUSE * 2.0 ** (attempt - 1)
    return pause / 2 + random.random() * pause / 2
