"""Stretches of a text that are to be replaced: found in a whole text, or in one that comes in pieces.

A *detector* finds its first stretch from a position on; what it finds from there depends on nothing
before it but a few characters. That is why a text cut into pieces in any way gives what the whole gives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

#: Characters before a position that a detector may look back at.
LOOK_BACK = 8


class Span(NamedTuple):
    """``begin`` is where what gave it away begins (``born on`` before a date), ``start`` where the value does."""

    begin: int
    start: int
    end: int
    kind: str


Detector = Callable[[str, int], Span | None]


class Finder(Protocol):
    """Finds stretches of a few kinds."""

    def find(self, text: str, start: int = 0) -> list[Span]:
        """Every stretch from ``start`` on, in order, none overlapping."""
        ...

    def decided(self, text: str, start: int = 0) -> int:
        """The position before which more text cannot change what is found."""
        ...


def find_all(detectors: Sequence[Detector], text: str, start: int) -> list[Span]:
    """The earliest stretch of any detector, then the earliest after it, and so on; the first detector
    wins where two begin at one place."""
    found: list[Span] = []
    heads = [(detect, span) for detect in detectors if (span := detect(text, start)) is not None]
    while heads:
        chosen = min((span for _, span in heads), key=lambda span: span.begin)
        found.append(chosen)
        later = []
        for detect, span in heads:
            fresh = detect(text, chosen.end) if span.begin < chosen.end else span
            if fresh is not None:
                later.append((detect, fresh))
        heads = later
    return found


def replaced(finder: Finder, text: str, name: Callable[[str, str], str]) -> str:
    """The text with ``name(kind, value)`` in place of each stretch."""
    spans = finder.find(text)
    if not spans:
        return text
    pieces, done = [], 0
    for span in spans:
        pieces += [text[done : span.start], name(span.kind, text[span.start : span.end])]
        done = span.end
    return "".join([*pieces, text[done:]])


class Cleaner:
    """``replaced`` for a text that comes in pieces: holds back only what may still become a stretch."""

    def __init__(self, finder: Finder, name: Callable[[str, str], str]) -> None:
        self._finder = finder
        self._name = name
        self._text = ""
        self._done = 0

    def push(self, piece: str, *, last: bool = False) -> str:
        """What of the text can be told now; all of it at the ``last`` piece."""
        text, done = self._text + piece, self._done
        limit = len(text) if last else self._finder.decided(text, done)
        told: list[str] = []
        for span in self._finder.find(text, done):
            if span.begin >= limit:
                break
            told += [text[done : span.start], self._name(span.kind, text[span.start : span.end])]
            done = span.end
        if done < limit:
            told.append(text[done:limit])
            done = limit
        kept = max(0, done - LOOK_BACK)
        self._text, self._done = text[kept:], done - kept
        return "".join(told)
