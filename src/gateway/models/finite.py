"""Figures that JSON cannot write: its writers make null of them, or refuse."""

from __future__ import annotations

import math
from typing import Any


def no_number(value: Any, place: str = "") -> str | None:
    """Where the first NaN or infinity is in a value of objects, lists and plain values, such as ``var[3].es``;
    ``None`` where there is none."""
    if isinstance(value, float):
        return None if math.isfinite(value) else place
    if isinstance(value, dict):
        parts = ((f"{place}.{name}".removeprefix("."), item) for name, item in value.items())
    elif isinstance(value, (list, tuple, set, frozenset)):
        parts = ((f"{place}[{at}]", item) for at, item in enumerate(value))
    else:
        return None
    return next((found for name, item in parts if (found := no_number(item, name)) is not None), None)
