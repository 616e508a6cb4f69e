"""Money is an exact integer: ten-billionths of a US dollar (10⁻¹⁰ USD), called units.

One token at $0.075 a million is 750 units, so no price in use loses a digit. Decimal at the edges,
integers inside, float nowhere.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal, InvalidOperation

UNITS_PER_USD = 10**10
_SCALE = Decimal(UNITS_PER_USD)
#: No single amount may pass a trillion dollars: 10²² units still fits SQL's NUMERIC, not BIGINT, so
#: amounts are bounded well below the 9.2 × 10¹⁸ that a 64-bit column holds (922 million dollars).
MAX_UNITS = 9 * 10**18


def units(usd: Decimal | str | int | float) -> int:
    """USD → units, rounded half to even. A float is read by its shortest decimal form (0.03 is
    three cents). Raises ``ValueError`` for what is not a finite number in range."""
    return _scaled(usd, ROUND_HALF_EVEN)


def units_ceil(usd: Decimal | str | int | float) -> int:
    """USD → units, rounded up: for reservations, which must never fall short."""
    return _scaled(usd, ROUND_CEILING)


def exact_units(usd_amount: Decimal | str | int | float) -> int:
    """USD → units of an amount that somebody sets: ``ValueError`` for one below 0 or with a digit that units lack."""
    amount = units(usd_amount)
    if amount < 0 or usd(amount) != Decimal(str(usd_amount)):
        raise ValueError("below 0, or more than ten decimals")
    return amount


def usd(amount: int) -> Decimal:
    """Units → USD, exact, without trailing zeros. As text use ``plain``: ``str`` of a small Decimal
    has an exponent."""
    value = (Decimal(amount) / _SCALE).normalize()
    return value.quantize(Decimal(1)) if value == value.to_integral_value() else value


def plain_usd(amount: int) -> str:
    """Units as plain digits of USD: ``plain(usd(amount))``, without a ``Decimal`` between."""
    whole, rest = divmod(abs(amount), UNITS_PER_USD)
    sign = "-" if amount < 0 else ""
    return f"{sign}{whole}.{rest:010d}".rstrip("0") if rest else f"{sign}{whole}"


def plain(amount: Decimal | int) -> str:
    """USD as plain digits, never ``7.5E-7``."""
    return format(amount, "f") if isinstance(amount, Decimal) else str(amount)


def format_usd(amount: int, places: int = 6) -> str:
    """Units as people read them: ``$0.001234``; exact value where it needs more than ``places``."""
    sign = "-" if amount < 0 else ""
    return f"{sign}${abs(Decimal(amount)) / _SCALE:.{places}f}"


def _scaled(value: Decimal | str | int | float, rounding: str) -> int:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise ValueError("not a decimal number") from None
    if not number.is_finite():
        raise ValueError("not a finite number")
    if abs(number) > MAX_UNITS // UNITS_PER_USD:
        raise ValueError("larger than this ledger holds")
    return int((number * _SCALE).to_integral_value(rounding=rounding))
