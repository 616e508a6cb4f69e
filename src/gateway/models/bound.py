"""What one key, user, team or model may do: in a minute, and at once."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

#: The fields by which limits are declared, everywhere.
LIMIT_FIELDS = ("requests_per_minute", "tokens_per_minute", "max_concurrent")
MOST = 10**9


class Bound(Struct, frozen=True):
    """The limits of one holder; ``None`` where there is none. ``name`` is its kind and its name: ``team:risk``."""

    name: str
    requests: int | None = None
    tokens: int | None = None
    concurrent: int | None = None

    @property
    def in_a_minute(self) -> bool:
        """Whether it limits requests or tokens a minute."""
        return self.requests is not None or self.tokens is not None


def bound_of(name: str, limits: dict[str, Any]) -> Bound | None:
    """The bound that these ``LIMIT_FIELDS`` declare; ``None`` where they limit nothing."""
    values = [limits.get(field) for field in LIMIT_FIELDS]
    return None if all(value is None for value in values) else Bound(name, *values)


def misfit(value: Any) -> bool:
    """Whether this is no limit: neither ``None`` nor a whole number above 0."""
    return value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= MOST)
