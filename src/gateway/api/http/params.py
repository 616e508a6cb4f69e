"""Query parameters, checked."""

from __future__ import annotations

from gateway.api.doors import Call
from gateway.errors import ValidationFailed


def limit_of(call: Call, default: int = 50, most: int = 200) -> int:
    """``limit``: how many rows a page has."""
    text = call.query("limit")
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:6]) <= most:
        raise ValidationFailed(f"limit: a whole number from 1 to {most}", param="limit")
    return int(text)


def whole_of(call: Call, name: str) -> int | None:
    """A whole number from 0 that need not be there."""
    text = call.query(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ValidationFailed(f"{name}: a whole number", param=name)
    return int(text)


def texts_of(call: Call, name: str) -> tuple[str, ...]:
    """A list written with commas."""
    return tuple(filter(None, (call.query(name) or "").split(",")))
