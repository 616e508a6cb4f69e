"""``optimise`` of a row of ``models.yaml``; strict, with line numbers."""

from __future__ import annotations

from typing import Any

from gateway.models.optimise import METHODS, MOST_TOKENS, MOST_TURNS, Optimise, Trim
from gateway.registry.yaml_lines import Document, Path_

_FIELDS = ("compact", "repeat_tokens", "trim", "prompt_cache")
_TRIM_FIELDS = ("max_input_tokens", "keep_first", "keep_last", "pinned")


def read_optimise(document: Document, path: Path_, raw: Any) -> Optimise | None:
    """``None`` where the row asks for nothing."""
    if raw is None:
        return None
    _object(document, path, raw, _FIELDS)
    cache = raw.get("prompt_cache", "off")
    # YAML 1.1 reads a bare off as false
    cache = "off" if cache is False else cache
    if cache not in ("off", "auto"):
        raise document.wrong((*path, "prompt_cache"), "off or auto is expected here")
    return Optimise(
        methods=_methods(document, (*path, "compact"), raw.get("compact", False)),
        repeat_tokens=_whole(document, (*path, "repeat_tokens"), raw.get("repeat_tokens", 64), 16, 1_000_000),
        trim=_trim(document, (*path, "trim"), raw.get("trim")),
        prompt_cache="auto" if cache == "auto" else "off",
    )


def _methods(document: Document, path: Path_, raw: Any) -> tuple[str, ...]:
    if isinstance(raw, bool):
        return METHODS if raw else ()
    if not isinstance(raw, list) or not all(isinstance(item, str) and item in METHODS for item in raw):
        raise document.wrong(path, "true, false or a list is expected here", f"known: {', '.join(METHODS)}")
    return tuple(method for method in METHODS if method in raw)


def _trim(document: Document, path: Path_, raw: Any) -> Trim | None:
    if raw is None:
        return None
    _object(document, path, raw, _TRIM_FIELDS)
    if "max_input_tokens" not in raw:
        raise document.wrong((*path, "max_input_tokens"), "is needed", "it is the budget, in tokens")
    pinned = raw.get("pinned", [])
    if not isinstance(pinned, list):
        raise document.wrong((*path, "pinned"), "a list of numbers of turns is expected here", "such as [0, 2]")
    return Trim(
        max_input_tokens=_whole(document, (*path, "max_input_tokens"), raw["max_input_tokens"], 1, MOST_TOKENS),
        keep_first=_whole(document, (*path, "keep_first"), raw.get("keep_first", 0), 0, MOST_TURNS),
        keep_last=_whole(document, (*path, "keep_last"), raw.get("keep_last", 1), 1, MOST_TURNS),
        pinned=tuple(_whole(document, (*path, "pinned"), item, -MOST_TURNS, MOST_TURNS) for item in pinned),
    )


def _object(document: Document, path: Path_, value: Any, fields: tuple[str, ...]) -> None:
    if not isinstance(value, dict):
        raise document.wrong(path, "an object is expected here")
    for key in value:
        if key not in fields:
            raise document.wrong((*path, key), "no such field", f"fields here: {', '.join(sorted(fields))}")


def _whole(document: Document, path: Path_, value: Any, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise document.wrong(path, f"a whole number from {low} to {high} is expected here")
    return value
