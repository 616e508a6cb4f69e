"""How evenly a yes-or-no decision falls on groups of people: rates, gaps, the four-fifths rule.

These are descriptions, not verdicts: a ratio below four fifths is the usual first sign of adverse
impact (EEOC Uniform Guidelines, 29 CFR 1607.4 D), and small groups give rates that mean little,
which the report says in words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from gateway.errors import ValidationFailed

FOUR_FIFTHS = 0.8
#: Fewer people in a group than this, and its rates are called uncertain.
SMALL_GROUP = 30
#: Fewer actual yes (no) in a group than this, and its true (false) positive rate is.
SMALL_BASE = 10
_Z95 = 1.959963984540054


class GroupRates(Struct, frozen=True):
    """One group. ``selection_rate`` comes with its 95 % Wilson interval; the true and false positive
    rates are ``None`` without outcomes, or where the group has no actual yes (no)."""

    group: str
    count: int
    selected: int
    selection_rate: float
    low: float
    high: float
    true_positive_rate: float | None = None
    false_positive_rate: float | None = None


class FairnessReport(Struct, frozen=True):
    """The groups (largest first) and the widest gaps between them.

    ``four_fifths_ratio``: the least selection rate over the greatest (1 is even; ``None`` where nobody
    was selected). ``equalised_odds_gap``: the greater of the two positive-rate gaps.
    """

    groups: tuple[GroupRates, ...]
    four_fifths_ratio: float | None
    passes_four_fifths: bool | None
    selection_gap: float
    true_positive_gap: float | None
    false_positive_gap: float | None
    equalised_odds_gap: float | None
    warnings: tuple[str, ...]


def fairness(groups: Sequence[str], selected: Sequence[bool], actual: Sequence[bool] | None = None) -> FairnessReport:
    """Metrics over people: ``selected`` is the favourable decision, ``actual`` the favourable outcome.

    Raises ``ValidationFailed`` for lengths that differ, values that are not true or false, or fewer
    than two groups.
    """
    names, member = np.unique(np.asarray([str(group) for group in groups], dtype=str), return_inverse=True)
    chosen = _booleans(selected, "selected", len(member))
    outcome = None if actual is None else _booleans(actual, "actual", len(member))
    if len(names) < 2:
        raise ValidationFailed("at least two groups are needed to compare them", param="groups")
    size = len(names)
    counts = np.bincount(member, minlength=size)
    picked = np.bincount(member, weights=chosen, minlength=size)
    rates = picked / counts
    hits, yes = _rates(member, chosen, outcome, size, among=True)
    alarms, no = _rates(member, chosen, outcome, size, among=False)
    order = np.lexsort((names, -counts))
    rows = []
    for number in order:
        low, high = wilson(int(picked[number]), int(counts[number]))
        rows.append(
            GroupRates(
                group=str(names[number]),
                count=int(counts[number]),
                selected=int(picked[number]),
                selection_rate=float(rates[number]),
                low=low,
                high=high,
                true_positive_rate=_or_none(hits[number]),
                false_positive_rate=_or_none(alarms[number]),
            )
        )
    greatest = float(rates.max())
    ratio = float(rates.min()) / greatest if greatest > 0 else None
    gaps = (_gap(hits), _gap(alarms))
    known = [gap for gap in gaps if gap is not None]
    return FairnessReport(
        groups=tuple(rows),
        four_fifths_ratio=ratio,
        passes_four_fifths=None if ratio is None else ratio >= FOUR_FIFTHS,
        selection_gap=float(rates.max() - rates.min()),
        true_positive_gap=gaps[0],
        false_positive_gap=gaps[1],
        equalised_odds_gap=max(known) if len(known) == len(gaps) else None,
        warnings=_warnings(rows, order, yes, no, outcome is not None, ratio),
    )


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % Wilson interval of a proportion."""
    share, square = successes / trials, _Z95**2
    centre = (share + square / (2 * trials)) / (1 + square / trials)
    half = _Z95 / (1 + square / trials) * math.sqrt(share * (1 - share) / trials + square / (4 * trials**2))
    return min(max(centre - half, 0.0), share), max(min(centre + half, 1.0), share)  # rounding included


def _rates(
    member: NDArray[np.intp],
    chosen: NDArray[np.float64],
    outcome: NDArray[np.float64] | None,
    size: int,
    *,
    among: bool,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Each group's selection rate among those whose outcome is ``among`` (NaN where there are none),
    and how many those are."""
    if outcome is None:
        return np.full(size, np.nan), np.zeros(size)
    weights = outcome if among else 1.0 - outcome
    base = np.bincount(member, weights=weights, minlength=size)
    picked = np.bincount(member, weights=weights * chosen, minlength=size)
    rates = np.full(size, np.nan)
    np.divide(picked, base, out=rates, where=base > 0)
    return rates, base.astype(np.float64)


def _booleans(values: Sequence[bool], place: str, length: int) -> NDArray[np.float64]:
    array = np.asarray(values)
    if array.shape != (length,):
        raise ValidationFailed(f"{place} needs one value a person: {length} of them", param=place)
    if array.dtype != np.bool_ and not (array.dtype.kind in "iuf" and np.isin(array, (0, 1)).all()):
        raise ValidationFailed(f"{place} holds something other than true and false", param=place)
    return array.astype(np.float64)


def _gap(rates: NDArray[np.float64]) -> float | None:
    """The widest gap; ``None`` unless every group has a rate."""
    return None if np.isnan(rates).any() else float(rates.max() - rates.min())


def _or_none(rate: np.float64) -> float | None:
    return None if math.isnan(rate) else float(rate)


def _warnings(
    rows: list[GroupRates],
    order: NDArray[np.intp],
    yes: NDArray[np.float64],
    no: NDArray[np.float64],
    outcomes: bool,
    ratio: float | None,
) -> tuple[str, ...]:
    found = []
    for row, number in zip(rows, order, strict=True):
        if row.count < SMALL_GROUP:
            found.append(f"group {row.group!r} has only {row.count} people: its rates are uncertain")
        if outcomes and yes[number] < SMALL_BASE:
            found.append(
                f"group {row.group!r} has only {int(yes[number])} actual yes: its true positive rate is uncertain"
            )
        if outcomes and no[number] < SMALL_BASE:
            found.append(
                f"group {row.group!r} has only {int(no[number])} actual no: its false positive rate is uncertain"
            )
    if ratio is None:
        found.append("nobody was selected: the four-fifths ratio is undefined")
    elif ratio < FOUR_FIFTHS:
        found.append(
            f"the four-fifths ratio is {ratio:.3f}, below {FOUR_FIFTHS}: a sign of adverse impact to look into"
        )
    return tuple(found)
