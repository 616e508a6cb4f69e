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
_SUSPECT = re.compile(r"gw-|sk-|eyJ|(?i:bearer)|-----BEGIN|AKIA|://")


def is_sound(value: Any, depth: int = 0) -> bool:
    """Whether ``scrub`` would surely leave the form of a value as it is: names of no secret, not too deep, numbers
    that JSON has. Much cheaper than ``scrub``; what its texts say is for ``is_suspect``."""
    if isinstance(value, dict):
        if depth >= _DEEPEST:
            return False
        for name, item in value.items():
            if not isinstance(name, str) or names_secret(name) or not is_sound(item, depth + 1):
                return False
        return True
    if isinstance(value, (list, tuple)):
        return depth < _DEEPEST and all(is_sound(item, depth + 1) for item in value)
    return not isinstance(value, float) or value - value == 0


def is_suspect(text: str) -> bool:
    """Whether something in a JSON text may look like a credential."""
    return _SUSPECT.search(text) is not None


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
def names_secret(name: str) -> bool:
    """Whether a field of that name holds a secret."""
    return bool(_NAME.search(name)) and not _PLAIN.search(name)


def scrub_text(text: str) -> str:
    """The text with everything that looks like a credential replaced."""
    return _VALUE.sub(REMOVED, text)
