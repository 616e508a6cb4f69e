"""Which of the ready steps that share a key may begin: so many at once, so many in a time."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.engine.ports import EngineTx
from gateway.engine.rows import Candidate, KeyedLimit, Limiter


def admit(tx: EngineTx, candidates: Sequence[Candidate], now: int) -> list[str]:
    """The task ids of those that may begin, in the order given. A key that another process is handing out by at
    this moment is passed over: it, or the next sweep, sees to its steps."""
    keys = sorted({limit.key for candidate in candidates for limit in candidate.limits})
    if not keys:
        return [candidate.task_id for candidate in candidates]
    standing = tx.lock_limiters(keys)
    admitted = []
    for candidate in candidates:
        if all(limit.key in standing and _free(limit, standing[limit.key], now) for limit in candidate.limits):
            for limit in candidate.limits:
                _take(limit, standing[limit.key], now)
            admitted.append(candidate.task_id)
    tx.save_limiters(standing)
    return admitted


def _free(limit: KeyedLimit, standing: Limiter, now: int) -> bool:
    if limit.concurrency is not None and standing.active >= limit.concurrency:
        return False
    # ``rate`` may begin at once after a quiet time, then one each ``per / rate``: any ``per`` sees 2 * rate - 1 at most
    return limit.rate is None or max(standing.next_at, now) - now <= (limit.rate - 1) * _pause(limit.per, limit.rate)


def _take(limit: KeyedLimit, standing: Limiter, now: int) -> None:
    standing.active += 1
    if limit.rate is not None:
        standing.next_at = max(standing.next_at, now) + _pause(limit.per, limit.rate)


def _pause(per: int, rate: int) -> int:
    """Rounded up, so that the bound holds to the microsecond."""
    return -(-per // rate)
