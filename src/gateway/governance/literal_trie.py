"""Many words as one pattern, and the pattern of a text that may still become one of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any


def word_pattern(words: Iterable[str]) -> str:
    """A pattern for any of the words, the longest first; it looks at each character once."""
    return _closed(_trie(words))


def begun_pattern(words: Iterable[str]) -> str:
    r"""A pattern for the beginning of any of the words (or all of it) at the end (``\Z``) of a text."""
    return _begun(_trie(words))


def _trie(words: Iterable[str]) -> dict[str, Any]:
    root: dict[str, Any] = {}
    for word in words:
        node = root
        for character in word:
            node = node.setdefault(character, {})
        node[""] = {}
    return root


def _closed(node: dict[str, Any]) -> str:
    branches = [re.escape(character) + _closed(inner) for character, inner in node.items() if character]
    if not branches:
        return ""
    if "" in node:
        branches.append("")
    return branches[0] if len(branches) == 1 else f"(?:{'|'.join(branches)})"


def _begun(node: dict[str, Any]) -> str:
    branches = [re.escape(character) + _begun(inner) for character, inner in node.items() if character]
    return f"(?:{'|'.join([*branches, chr(92) + 'Z'])})"
