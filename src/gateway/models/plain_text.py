"""Texts from code that is not ours, made such that every database and JSON writer takes them."""

from __future__ import annotations

from typing import Any


def plain_text(value: Any, most: int) -> str:
    """At most so many characters; what no database keeps (NUL, lone surrogates) becomes ``?``, ``None`` nothing."""
    text = "" if value is None else str(value)[:most]
    return text.replace("\0", "?").encode("utf-8", "replace").decode("utf-8")
