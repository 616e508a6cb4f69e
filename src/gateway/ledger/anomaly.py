"""Spending that is far above the usual: an hour against the same hour of earlier days."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from statistics import median

from msgspec import Struct

#: So many earlier days are looked at, of which so many must have been there at all.
DAYS = 14
LEAST_DAYS = 3
#: How far from the median a day may be, in median distances of the days from it; 1.4826 of them are a
#: standard deviation where days are distributed normally, so this is about four.
_DISTANCES = 6


class Anomaly(Struct, frozen=True):
    """What ``subject`` spent in an hour (counted from 1970, UTC) so far, and what is usual (units)."""

    scope: str
    subject: str
    hour: int
    spent: int
    usual: int


def unusual(spent: int, earlier: Sequence[int], factor: Decimal, minimum: int) -> int | None:
    """What is usual, where ``spent`` is far above it: above ``factor`` times the median of ``earlier`` (one sum
    a day), beyond what its days differ by, and at least ``minimum``. ``None``: nothing unusual, or too few days."""
    if len(earlier) < LEAST_DAYS or spent < minimum:
        return None
    usual = int(median(earlier))
    distance = int(median(abs(day - usual) for day in earlier))
    if spent <= factor * usual or spent <= usual + _DISTANCES * distance:
        return None
    return usual
