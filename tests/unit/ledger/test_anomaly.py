"""What is an unusual hour, and what is not."""

from __future__ import annotations

from decimal import Decimal

import pytest

from gateway.ledger.anomaly import unusual

FACTOR = Decimal(3)


@pytest.mark.parametrize(
    ("spent", "earlier", "usual"),
    [
        (400, [100, 100, 110], 100),
        (300, [100, 100, 110], None),  # not above three times
        (400, [100, 110], None),  # too few days
        (90, [0, 0, 0], None),  # below the minimum
        (100, [0, 0, 0], 0),
        (5_000, [100, 1_000, 2_000, 100, 1_500, 900], None),  # days that differ much
        (50_000, [100, 1_000, 2_000, 100, 1_500, 900], 950),
        (400, [100, 100, 90_000, 100], 100),  # one wild day is no habit
    ],
)
def test_unusual(spent: int, earlier: list[int], usual: int | None) -> None:
    assert unusual(spent, earlier, FACTOR, 100) == usual
