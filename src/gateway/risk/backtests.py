"""Whether a VaR forecast was any good: Kupiec (1995), Christoffersen (1998), the Basel zones (1996)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

#: Breaches in 250 days at 99 %: green to 4, yellow to 9, red from 10.
_GREEN, _YELLOW = 4, 9
BASEL_DAYS = 250


@dataclass(frozen=True, slots=True)
class Backtest:
    """Outcome for one series of forecasts; p-values below 0.05 speak against the model."""

    days: int
    breaches: int
    expected: float
    kupiec_lr: float
    kupiec_p: float
    independence_lr: float
    independence_p: float
    basel_zone: str | None


def backtest(breaches: NDArray[np.bool_], level: float) -> Backtest:
    """``breaches[t]``: the loss of day t was above its VaR at ``level`` (such as 0.99)."""
    days, count = len(breaches), int(breaches.sum())
    lr = kupiec(days, count, 1 - level)
    independence = christoffersen(breaches)
    zone = None
    if level == 0.99 and days >= BASEL_DAYS:
        recent = int(breaches[-BASEL_DAYS:].sum())
        zone = "green" if recent <= _GREEN else "yellow" if recent <= _YELLOW else "red"
    return Backtest(
        days,
        count,
        days * (1 - level),
        lr,
        float(stats.chi2.sf(lr, 1)),
        independence,
        float(stats.chi2.sf(independence, 1)),
        zone,
    )


def kupiec(days: int, count: int, probability: float) -> float:
    """Likelihood ratio that breaches come with that probability; chi-square with one degree of freedom."""
    share = count / days
    fitted = _log(count, share) + _log(days - count, 1 - share)
    stated = _log(count, probability) + _log(days - count, 1 - probability)
    return float(max(2 * (fitted - stated), 0.0))


def christoffersen(breaches: NDArray[np.bool_]) -> float:
    """Likelihood ratio that a breach does not depend on the day before."""
    before, after = breaches[:-1], breaches[1:]
    n00, n01 = int((~before & ~after).sum()), int((~before & after).sum())
    n10, n11 = int((before & ~after).sum()), int((before & after).sum())
    if n01 + n11 == 0 or n10 + n11 == 0:
        return 0.0
    p01, p11 = n01 / max(n00 + n01, 1), n11 / max(n10 + n11, 1)
    overall = (n01 + n11) / (n00 + n01 + n10 + n11)
    chained = _log(n00, 1 - p01) + _log(n01, p01) + _log(n10, 1 - p11) + _log(n11, p11)
    free = _log(n00 + n10, 1 - overall) + _log(n01 + n11, overall)
    return float(max(2 * (chained - free), 0.0))


def _log(count: int, probability: float) -> float:
    return 0.0 if count == 0 else count * float(np.log(max(probability, 1e-300)))
