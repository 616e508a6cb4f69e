"""Every number in a model's text, traced to a value it was given, or flagged.

A number is traced where some fact's value, rounded to the digits that were written, is that number;
a percentage is also tried as a fraction, and a sign may be lost in words ("fell by 9.2 %"). What is
left may be right, but nobody can show where it came from: it is flagged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from msgspec import Struct

_NUMBER = re.compile(
    r"(?<![\w.])(?P<sign>[-−–]?)(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)(?P<exp>e[-+]?\d{1,3})?(?P<unit>\s?%|\s?(?:bp|bps)\b)?",
    re.IGNORECASE,
)
_DATE = re.compile(r"\b(\d{4})-(\d{2})(?:-(\d{2}))?\b")
_ORDINAL = re.compile(r"^\s*\d{1,2}[.)]\s", re.MULTILINE)
_MOST = 200


class Fact(Struct, frozen=True):
    """A value that a text may speak of. ``unit`` such as ``%``, ``USD``, ``date``; ``source`` says whose it is."""

    name: str
    value: float | int | str
    unit: str = ""
    source: str = ""


class TracedNumber(Struct, frozen=True, omit_defaults=True):
    """A number of the text: ``traced`` to ``source``, or ``flagged``."""

    text: str
    value: float
    status: str
    source: str = ""


def facts_of(upstream: Mapping[str, Mapping[str, Any]]) -> list[Fact]:
    """The facts that earlier steps state about their outputs."""
    found = []
    for step_id, output in upstream.items():
        for raw in output.get("facts", ()) if isinstance(output, Mapping) else ():
            if isinstance(raw, Mapping) and "name" in raw and "value" in raw:
                source = f"{step_id}: {raw['name']}"
                found.append(Fact(str(raw["name"]), raw["value"], str(raw.get("unit") or ""), source))
    return found


def trace_numbers(text: str, facts: Iterable[Fact], prompt: str = "") -> list[TracedNumber]:
    """Each number of ``text`` in order, at most ``_MOST``. Numbers of the prompt count as given."""
    facts = list(facts)
    values = [candidate for fact in facts for candidate in _values(fact)]
    values += [(value, fact.source or fact.name) for fact in facts for value in _plain_numbers(fact.name)]
    values += [(value, "the prompt") for value in _plain_numbers(prompt)]
    dates = {str(fact.value)[:10]: fact.source or fact.name for fact in facts if _DATE.match(str(fact.value))}
    dates |= {match.group(0): "the prompt" for match in _DATE.finditer(prompt)}
    spans: list[tuple[int, int]] = [match.span() for match in _ORDINAL.finditer(text)]
    found: list[tuple[int, TracedNumber]] = []
    for match in _DATE.finditer(text):
        spans.append(match.span())
        source = next((where for date, where in dates.items() if date.startswith(match.group(0))), "")
        status = "traced" if source else "flagged"
        found.append((match.start(), TracedNumber(match.group(0), float(match.group(1)), status, source)))
    for match in _NUMBER.finditer(text):
        if any(start < match.end() and match.start() < end for start, end in spans):
            continue
        number = _decimal(match)
        if number is None:
            continue
        source = _source(number, match, values)
        traced = TracedNumber(match.group(0).strip(), float(number), "traced" if source else "flagged", source)
        found.append((match.start(), traced))
    return [traced for _, traced in sorted(found, key=lambda item: item[0])[:_MOST]]


def _values(fact: Fact) -> list[tuple[Decimal, str]]:
    source = fact.source or fact.name
    if isinstance(fact.value, bool):
        return []
    if isinstance(fact.value, (int, float)):
        try:
            value = Decimal(str(fact.value))
        except InvalidOperation:
            return []
        if not value.is_finite():
            return []
        scaled = [value]
        if fact.unit in ("%", "percent"):
            scaled.append(value / 100)
        elif fact.unit in ("", "fraction", "ratio", "probability", "share"):
            scaled.append(value * 100)
        return [(item, source) for item in scaled]
    return [(value, source) for value in _plain_numbers(str(fact.value))]


def _plain_numbers(text: str) -> list[Decimal]:
    without_dates = _DATE.sub(lambda match: " " + " ".join(group for group in match.groups() if group) + " ", text)
    numbers = (_decimal(match) for match in _NUMBER.finditer(without_dates))
    return [number for number in numbers if number is not None][:_MOST]


def _decimal(match: re.Match[str]) -> Decimal | None:
    try:
        number = Decimal(match["digits"].replace(",", "") + (match["exp"] or ""))
    except InvalidOperation:
        return None
    return -number if match["sign"] else number


def _source(number: Decimal, match: re.Match[str], values: list[tuple[Decimal, str]]) -> str:
    _, dot, decimals = match["digits"].partition(".")
    exponent = Decimal(1).scaleb((-len(decimals) if dot else 0) + int((match["exp"] or "e0")[1:]))
    for value, source in values:
        for candidate in (value, -value):
            try:
                rounded = {candidate.quantize(exponent, ROUND_HALF_UP), candidate.quantize(exponent, ROUND_HALF_EVEN)}
            except InvalidOperation:
                continue
            if number in rounded and (number != 0 or candidate == 0):
                return source
    return ""
