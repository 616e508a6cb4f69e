"""The model's name in bytes of JSON that go on as they came."""

from __future__ import annotations

import msgspec


def renamed(content: bytes, name: str, wanted: str) -> bytes | None:
    """The JSON object with the name ``wanted`` for its model; ``None`` where the field does not stand exactly once."""
    if name == wanted:
        return content
    if content.count(b'"model"') != 1:
        return None
    old = name_field(name)
    if old not in content:
        old = old.replace(b":", b": ", 1)
        if old not in content:
            return None
    return content.replace(old, name_field(wanted), 1)


def name_field(model: str) -> bytes:
    """The model's name as a field of compact JSON."""
    return b'"model":' + msgspec.json.encode(model)
