"""How definitions are read: each demand names the place it is about."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gateway.errors import DefinitionInvalid

_NAME = re.compile(r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$")


def require(condition: bool, path: str, expected: str, *, mend: str | None = None) -> None:
    """``DefinitionInvalid`` at ``path`` where the condition does not hold. ``expected`` is what should stand there;
    with ``mend`` it is what is wrong, and ``mend`` what to do about it."""
    if not condition:
        raise DefinitionInvalid(
            f"{path}: {expected}" if path else expected, param=path or None, mend=mend or f"expected: {expected}"
        )


def refuse_unknown(raw: Mapping[str, Any], known: frozenset[str], path: str) -> None:
    """Each field must be one of those that are known here."""
    for key in raw:
        place = f"{path}.{key}" if path else str(key)
        require(key in known, place[:200], "no such field", mend=f"the fields here are: {', '.join(sorted(known))}")


def name_at(value: Any, path: str) -> str:
    """A name of a workflow, step or signal."""
    require(
        isinstance(value, str) and _NAME.match(value) is not None,
        path,
        "a name of letters, digits, '_', '-' and '.', beginning with a letter, at most 64 characters",
    )
    return str(value)


def whole_at(value: Any, path: str, low: int, high: int) -> int:
    """A whole number from ``low`` to ``high``."""
    good = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
    require(good, path, f"a whole number from {low} to {high}")
    return int(value)


def seconds_at(value: Any, path: str, most: float = 86_400, least: float = 0.0) -> float | None:
    """A time in seconds, more than ``least``; ``None`` stays."""
    if value is None:
        return None
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and least < value <= most
    require(good, path, f"seconds: more than {least:g}, at most {most:g}")
    return float(value)


def texts_at(value: Any, path: str, of_what: str) -> tuple[str, ...]:
    """A list of texts."""
    require(isinstance(value, list) and all(isinstance(item, str) for item in value), path, f"a list of {of_what}")
    return tuple(value)


def one_of(value: Any, path: str, known: tuple[str, ...]) -> str:
    """One of the known words."""
    require(isinstance(value, str) and value in known, path, f"one of: {', '.join(known)}")
    return str(value)
