"""Takes secrets out of what is about to be kept: by the name of the field and by the look of the value."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

REMOVED = "[removed]"
_DEEPEST = 12
_NAME = re.compile(
    r"(secret|passw(or)?d|passphrase|credential|authorization|cookie|bearer|private[_-]?key|api[_-]?key|access[_-]?key"
    r"|client[_-]?key|signing[_-]?key|(^|[_-])(token|jwt|key|pwd|hash)$|^auth$)",
    re.IGNORECASE,
)
#: Names that end like a secret's and are none.
_PLAIN = re.compile(
    r"(^|[_-])(idempotency[_-]key|key[_-]id|data[_-]hash|definition[_-]hash|body[_-]hash)$", re.IGNORECASE
)
_VALUE = re.compile(
    r"gw-[A-Za-z0-9_-]{20,}|sk-[A-Za-z0-9_-]{16,}|eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*"
    r"|(?i:bearer)\s+[A-Za-z0-9._~+/=-]{8,}|-----BEGIN [A-Z ]*PRIVATE KEY-----|AKIA[A-Z0-9]{16}|(?<=://)[^/@\s]+:[^/@\s]+(?=@)"
)
#: What every value that ``_VALUE`` finds has in it, be it written as JSON or not.
_SUSPECT = ("gw-", "sk-", "eyJ", "-----BEGIN", "AKIA", "://")
#: Between these, and at 0, every way of writing JSON writes a fraction alike.
_SMALLEST, _LARGEST = 1e-4, 1e15


def is_plain(value: dict[str, Any], depth: int = 0) -> bool:
    """Whether ``scrub`` would surely leave the form of a JSON object as it is: names of no secret, not too deep, and
    nothing that one writer of JSON writes otherwise than another. Much cheaper than ``scrub``; what its texts say
    is for ``is_suspect``."""
    if depth >= _DEEPEST or not _are_plain(tuple(value)):
        return False
    for item in value.values():
        kind = item.__class__
        if kind is str or item is None or kind is bool or (kind is int and -_LARGEST < item < _LARGEST):
            continue
        if not _is_plain_item(item, depth):
            return False
    return True


def _is_plain_item(item: Any, depth: int) -> bool:
    if isinstance(item, dict):
        return is_plain(item, depth + 1)
    if isinstance(item, (list, tuple)):
        # As an object whose names say nothing.
        return is_plain(dict(zip(map(str, range(len(item))), item, strict=True)), depth + 1)
    return isinstance(item, float) and (item == 0 or _SMALLEST <= abs(item) < _LARGEST)


def is_suspect(text: str) -> bool:
    """Whether something in a JSON text may look like a credential."""
    for part in _SUSPECT:
        if part in text:
            return True
    return "bearer" in text.lower()


def scrub(value: Any, depth: int = 0) -> Any:
    """A copy of a JSON value without its secrets; what nests too deep is left out."""
    if depth > _DEEPEST:
        return REMOVED
    if isinstance(value, dict):
        return {
            scrub_text(str(name)): REMOVED
            if names_secret(str(name)) and item not in (None, "", False)
            else scrub(item, depth + 1)
            for name, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [scrub(item, depth + 1) for item in value]
    if isinstance(value, str):
        return scrub_text(value)
    if isinstance(value, float) and value - value != 0:
        return str(value)  # JSON has no infinity
    return value


@lru_cache(maxsize=4096)
def _are_plain(names: tuple[str, ...]) -> bool:
    return all(isinstance(name, str) and not names_secret(name) for name in names)


@lru_cache(maxsize=4096)
def names_secret(name: str) -> bool:
    """Whether a field of that name holds a secret."""
    return bool(_NAME.search(name)) and not _PLAIN.search(name)


def scrub_text(text: str) -> str:
    """The text with everything that looks like a credential replaced."""
    return _VALUE.sub(REMOVED, text)
