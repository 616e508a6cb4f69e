"""JSON as the tables keep it: text, written by msgspec; money stays an exact number."""

from __future__ import annotations

from typing import Any

import msgspec

_ENCODER = msgspec.json.Encoder(decimal_format="number")


def to_json(value: Any) -> str:
    """The value as JSON text."""
    return _ENCODER.encode(value).decode()


def to_json_or_none(value: Any) -> str | None:
    """As ``to_json``; ``None`` stays ``None``."""
    return None if value is None else to_json(value)


def from_json(text: str | None) -> Any:
    """The inverse."""
    return None if text is None else msgspec.json.decode(text)
