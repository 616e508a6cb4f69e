"""The same long block told once: where it comes again, the text refers to the first time by a label.

A block is one or more whole paragraphs outside fenced code. The first one is framed with its label,
which is made from its content and so the same in every call. ``expanded`` turns it all back.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence

from msgspec import Struct

from gateway.governance.fences import split_fences

_BETWEEN = re.compile(r"(\n(?:[ \t]*\n)+)")
_FIRST = re.compile(r"\[block ([0-9a-f]{8})\]\n(.*?)\n\[end of block \1\]", re.DOTALL)
_AGAIN = re.compile(r"\[the same as block ([0-9a-f]{8}) above\]")
#: Nobody's text may keep us longer than this: what comes after is left as it is.
_MOST_COMPARISONS = 2_000_000


class _Unit(Struct, frozen=True):
    """A paragraph, what stands between two of them, or fenced code (which is never part of a block)."""

    text: str
    paragraph: bool


class _Span(Struct, frozen=True):
    """Units ``first`` to ``last`` of a text."""

    text: int
    first: int
    last: int


def told_once(texts: Sequence[str], long_enough: Callable[[str], bool]) -> list[str]:
    """The texts, in their order, with later occurrences of a long block as references to the first.

    Texts that already speak of blocks in our words are given back as they are."""
    if any("[block " in text or _AGAIN.search(text) for text in texts):
        return list(texts)
    search = _Search([_units(text) for text in texts], long_enough)
    search.run()
    return [search.rewritten(number) for number in range(len(texts))]


class _Search:
    """Goes over the units once, remembering where each paragraph was first."""

    def __init__(self, units: list[list[_Unit]], long_enough: Callable[[str], bool]) -> None:
        self._units = units
        self._long_enough = long_enough
        self._seen: dict[str, tuple[int, int]] = {}
        #: Labelled spans by their first unit, the label of each, all units in them, and the references to them.
        self._first: dict[tuple[int, int], _Span] = {}
        self._labels: dict[str, _Span] = {}
        self._taken: set[tuple[int, int]] = set()
        self._again: dict[tuple[int, int], tuple[int, str]] = {}
        self._left = _MOST_COMPARISONS

    def run(self) -> None:
        for number, listed in enumerate(self._units):
            at = 0
            while at < len(listed):
                span = self._repeat(number, at)
                label = "" if span is None else self._label(span)
                if span is not None and label:
                    self._again[number, at] = (span.last - span.first + 1, label)
                    at += span.last - span.first + 1
                    continue
                if listed[at].paragraph:
                    self._seen.setdefault(listed[at].text, (number, at))
                at += 1

    def rewritten(self, number: int) -> str:
        listed = self._units[number]
        named = {span: label for label, span in self._labels.items()}
        made: list[str] = []
        at = 0
        while at < len(listed):
            span = self._first.get((number, at))
            if (number, at) in self._again:
                length, label = self._again[number, at]
                made.append(f"[the same as block {label} above]")
            elif span is not None:
                length = span.last - span.first + 1
                made.append(f"[block {named[span]}]\n{self._text(span)}\n[end of block {named[span]}]")
            else:
                length = 1
                made.append(listed[at].text)
            at += length
        return "".join(made)

    def _text(self, span: _Span) -> str:
        return "".join(unit.text for unit in self._units[span.text][span.first : span.last + 1])

    def _repeat(self, number: int, at: int) -> _Span | None:
        """The longest earlier run of units that is the same as the one beginning here: all of a labelled
        one, or one that lies apart from those."""
        listed = self._units[number]
        found = self._seen.get(listed[at].text) if listed[at].paragraph else None
        if found is None:
            return None
        text, first = found
        labelled = self._first.get(found)
        if labelled is None and found in self._taken:
            return None
        most = len(listed) - at if labelled is None else labelled.last - labelled.first + 1
        length = last = 1
        while length < most and self._goes_on(number, at, text, first, length, apart=labelled is None):
            length += 1
            if listed[at + length - 1].paragraph:
                last = length
        if labelled is not None:
            return labelled if last == most else None
        return _Span(text, first, first + last - 1)

    def _goes_on(self, number: int, at: int, text: int, first: int, length: int, *, apart: bool) -> bool:
        """Whether the next units are the same, and the earlier one free (before the later run begins)."""
        self._left -= 1
        if self._left < 0 or at + length >= len(self._units[number]) or first + length >= len(self._units[text]):
            return False
        if text == number and first + length >= at:
            return False
        unit = self._units[number][at + length]
        joins = unit.paragraph or not unit.text.strip()
        return (
            joins
            and unit == self._units[text][first + length]
            and not (apart and (text, first + length) in self._taken)
        )

    def _label(self, span: _Span) -> str:
        """The label of a span, given to it now if it is long enough; empty where it may have none."""
        block = self._text(span)
        label = hashlib.sha256(block.encode()).hexdigest()[:8]
        if (span.text, span.first) in self._first:
            return label
        if label in self._labels or not self._long_enough(block):
            return ""
        self._labels[label] = span
        self._first[span.text, span.first] = span
        self._taken.update((span.text, unit) for unit in range(span.first, span.last + 1))
        return label


def expanded(texts: Sequence[str]) -> list[str]:
    """What ``told_once`` was given."""
    known = {found.group(1): found.group(2) for text in texts for found in _FIRST.finditer(text)}
    made = []
    for text in texts:
        plain = _FIRST.sub(lambda found: found.group(2), text)
        made.append(_AGAIN.sub(lambda found: known.get(found.group(1), found.group(0)), plain))
    return made


def _units(text: str) -> list[_Unit]:
    made: list[_Unit] = []
    for piece, code in split_fences(text):
        if code:
            made.append(_Unit(piece, False))
            continue
        pieces = _BETWEEN.split(piece)
        made += [_Unit(part, number % 2 == 0 and bool(part.strip())) for number, part in enumerate(pieces) if part]
    return made
