"""Exact sums in memory: what a ``CostTracker`` keeps when it has no ledger to write to."""

from __future__ import annotations

import threading
from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact, InvalidOperation, Overflow
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

#: Digits enough for a sum of the largest and the smallest float; a loss of any digit raises.
_DIGITS = 1100
#: The finest cost taken: that of the smallest float.
_FINEST = -1074
_LARGEST = Decimal(10) ** 12
_MICRO = Decimal("0.000001")


class TallyRow(Struct, frozen=True):
    """The sum of like calls of one UTC day (``YYYY-MM-DD``). ``cost`` in USD, exact."""

    kind: Literal["llm", "ml"]
    model: str
    provider: str
    day: str
    calls: int
    tokens: int
    inference_micros: int
    cost: Decimal


class Tally:
    """Sums by kind, model, provider and day; safe from any thread; its size is that of the groups."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str, str, str], TallyRow] = {}
        self._lock = threading.Lock()

    def record_usage(self, usage: TallyRow) -> None:
        """Adds ``usage`` to its group."""
        key = (usage.kind, usage.model, usage.provider, usage.day)
        with self._lock:
            row = self._rows.get(key)
            self._rows[key] = (
                usage
                if row is None
                else replace(
                    row,
                    calls=row.calls + usage.calls,
                    tokens=row.tokens + usage.tokens,
                    inference_micros=row.inference_micros + usage.inference_micros,
                    cost=add_exact(row.cost, usage.cost),
                )
            )

    def usage_totals(self) -> list[TallyRow]:
        """The groups, in the order they first came."""
        with self._lock:
            return list(self._rows.values())


def exact_usd(value: Decimal | str | int | float, what: str = "a cost") -> Decimal:
    """A number as it was meant: a float by its shortest decimal (0.03 is three cents).

    Raises ``ValueError`` for what is negative, not finite, or not a number.
    """
    if isinstance(value, bool):
        raise ValueError(f"{what} is a number")  # noqa: TRY004 - one error for every bad number
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        raise ValueError(f"{what} is a number") from None
    if not number.is_finite() or (number.is_signed() and number != 0):
        raise ValueError(f"{what} is finite and not negative")
    exponent = number.as_tuple().exponent
    if number > _LARGEST or not isinstance(exponent, int) or exponent < _FINEST:
        raise ValueError(f"{what} is at most a trillion and no finer than a float can say")
    return abs(number)


def add_exact(left: Decimal, right: Decimal) -> Decimal:
    """The sum with every digit; it never rounds."""
    return Context(prec=_DIGITS, traps=[Inexact, InvalidOperation, Overflow]).add(left, right)


def micros_of(seconds: Decimal | str | int | float) -> int:
    """Seconds → whole microseconds. ``ValueError`` for what is negative or not finite."""
    number = exact_usd(seconds, "inference_time")
    return int((number.quantize(_MICRO, ROUND_HALF_EVEN, Context(prec=_DIGITS)) * 1_000_000).to_integral_value())
