"""JSON of providers whose texts are cut within a character.

Servers that count in UTF-16 write half a character as an escape of its own (``\\\\ud83d``), at the end of a piece or of
an answer that was cut off. A strict reader refuses the whole, and what was said would be lost with it.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec

_DECODER = msgspec.json.Decoder()


def loads(content: bytes) -> Any:
    """The value; half a character becomes U+FFFD. ``msgspec.DecodeError`` for what is no JSON."""
    try:
        return _DECODER.decode(content)
    except msgspec.DecodeError:
        if b"\\u" not in content:
            raise
        with contextlib.suppress(ValueError):  # it is no JSON to a lenient reader either: the first one says why
            return _whole(json.loads(content, parse_constant=_refused))
        raise


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_whole(name): _whole(inner) for name, inner in value.items()}
    return [_whole(inner) for inner in value] if isinstance(value, list) else value


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
