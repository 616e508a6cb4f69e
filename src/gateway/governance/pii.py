"""Personal data in a text, found by shape, check digits and the words before it.

Names are found only where the operator lists them (``terms``): nothing here guesses who is meant.
Every pattern is bounded, so a text is read in linear time.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property

from gateway.governance.check_digits import is_aadhaar, is_card, is_iban
from gateway.governance.literal_trie import begun_pattern, word_pattern
from gateway.governance.spans import Detector, Span, find_all
from gateway.models.guard_kinds import PERSONAL_DATA

_LOCAL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._%+-"
_DOMAIN = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9-]{0,62}\.){1,4}[A-Za-z]{2,24}")
_LONGEST_LOCAL, _LONGEST_EMAIL = 64, 400
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"
_SHAPES: Mapping[str, str] = {
    "iban": r"[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])",
    "card": r"(?:[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{1,7}|3[47][0-9]{2}[ -][0-9]{6}[ -][0-9]{5})(?![0-9])",
    "aadhaar": r"[2-9][0-9]{3}[ -]?[0-9]{4}[ -]?[0-9]{4}(?![0-9])",
    "ssn": r"(?!000|666|9[0-9]{2})[0-9]{3}-(?!00)[0-9]{2}-(?!0000)[0-9]{4}(?![0-9])",
    "nino": r"(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]"
    r"(?![A-Za-z0-9])",
    "pan": r"[A-Z]{3}[ABCFGHJLPT][A-Z][0-9]{4}[A-Z](?![A-Za-z0-9])",
    "phone": r"(?:\+[1-9](?:[ ./()-]{0,2}[0-9]){7,14}"
    r"|(?:1[-. ])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[-.])[2-9][0-9]{2}[-.][0-9]{4})(?![0-9])",
    "ip": rf"(?:{_OCTET}\.){{3}}{_OCTET}(?!\.?[0-9])",
}
#: Which of them begin with a capital letter; the others with a digit, ``+`` or ``(``.
_LETTERED = ("iban", "nino", "pan")
_ADDRESS = re.compile(r":[0-9A-Fa-f:]{2,36}(?![0-9A-Za-z:])")
_HEX = "0123456789abcdefABCDEF"
#: At the end of a text: what may still become one of the shapes.
_BEGUN_SHAPE = (
    r"(?<![0-9A-Za-z_])(?:[+(0-9][0-9 ().+/-]{0,50}|[A-Z]{1,2} ?|[A-Z]{2} ?[0-9][A-Z0-9 ]{0,50}"
    r"|[A-Z]{3,5}(?:[0-9]{1,4}[A-Z]?)?|[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f:]{0,40})?)\Z"
)
_MONTH = r"(?ai:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[A-Za-z]{0,6}\.?"
_DATE = (
    r"(?:[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}|[0-9]{1,2}[-/.][0-9]{1,2}[-/.][0-9]{2,4}"
    rf"|[0-9]{{1,2}}(?:st|nd|rd|th)? {_MONTH} [0-9]{{4}}|{_MONTH} [0-9]{{1,2}},? [0-9]{{4}})(?![0-9])"
)
_BORN = ("born", "born on", "date of birth", "birth date", "birthdate", "birthday", "dob", "d.o.b.",
         "geboren am", "geburtsdatum", "né le", "née le", "nacido el", "nacida el")  # fmt: skip
_CALL = ("phone", "phone number", "telephone", "tel", "tel.", "mobile", "mobile number", "cell", "fax", "whatsapp",
         "handy", "call me at", "call me on")  # fmt: skip
_GAP = r"[ :=\t]{1,3}"
#: (kind, the words before the value, the value, what may stand at the end of a text of which more comes).
_LABELLED = (
    (
        "birth_date", _BORN, rf"(?:(?ai:is|was|on) )?(?P<value>{_DATE})",
        r"[ :=\t]{0,3}[0-9A-Za-z ,./-]{0,45}\Z",
    ),
    (
        "phone", _CALL, r"(?P<value>\+?\(?[0-9](?:[ ./()-]{0,2}[0-9]){5,13})(?![0-9])",
        r"[ :=\t]{0,3}\+?\(?(?:[0-9][0-9 ./()-]{0,50})?\Z",
    ),
)  # fmt: skip
#: Letters of other scripts that ``re`` takes for these where case does not matter.
_SAME: Mapping[str, str] = {"i": "İı", "s": "ſ", "k": "K", "å": "Å", "µ": "μ", "ß": "ẞ"}
#: Characters from the end that ``decided`` looks at.
_TAIL = 200


class PiiFinder:
    """Finds the ``kinds``, and the ``terms`` (names, code words; upper and lower case alike) as ``term``."""

    def __init__(self, kinds: Iterable[str] = PERSONAL_DATA, terms: Iterable[str] = ()) -> None:
        wanted = [kind for kind in PERSONAL_DATA if kind in set(kinds)]
        self._detectors: list[Detector] = []
        self._ends: list[str] = []
        self._emails = "email" in wanted
        names = sorted({term.lower(): term for term in terms}.values())
        if names:
            self._detectors.append(_worded("term", names, rf"(?P<value>(?i:{word_pattern(names)}))(?!\w)"))
            self._ends.append(rf"(?<!\w)(?i:{begun_pattern(names)})")
        if self._emails:
            self._detectors.append(_email)
        for kind, words, value, rest in _LABELLED:
            if kind in wanted:
                known = word_pattern(words)
                self._detectors.append(_worded(kind, words, rf"(?ai:{known}){_GAP}{value}"))
                self._ends.append(rf"(?<!\w)(?:(?ai:{begun_pattern(words)})|(?ai:{known}){rest})")
        for first, lettered in (("[A-Z]", True), ("[0-9+(]", False)):
            shapes = [kind for kind in wanted if kind in _SHAPES and (kind in _LETTERED) is lettered]
            if shapes:
                self._detectors.append(_shaped(first, shapes))
        if "ip" in wanted:
            self._detectors.append(_address)
        if any(kind in _SHAPES for kind in wanted):
            self._ends.append(_BEGUN_SHAPE)
        self._longest = max((len(name) for name in names), default=0) + _TAIL

    @cached_property
    def _begun(self) -> list[re.Pattern[str]]:
        """Only texts that come in pieces need them."""
        return [re.compile(pattern) for pattern in self._ends]

    def find(self, text: str, start: int = 0) -> list[Span]:
        """See ``spans.Finder``."""
        return find_all(self._detectors, text, start)

    def decided(self, text: str, start: int = 0) -> int:
        """See ``spans.Finder``."""
        limit, end = len(text), len(text)
        if self._emails:
            tail = text[max(start, end - _LONGEST_EMAIL) :]
            limit = end - len(tail) + len(tail.rstrip(_LOCAL + "@"))
        for begun in self._begun:
            match = begun.search(text, max(start, end - self._longest))
            if match is not None:
                limit = min(limit, match.start())
        return limit


def _worded(kind: str, words: Iterable[str], pattern: str) -> Detector:
    """A pattern that begins with one of the words, at the beginning of a word."""
    first = "".join(sorted({re.escape(form) for word in words for form in _forms(word[0])}))
    leap = re.compile(rf"[{first}](?<!\w.)(?<=(?={pattern}).)")
    whole = re.compile(pattern)

    def detect(text: str, start: int) -> Span | None:
        found = leap.search(text, start)
        match = None if found is None else whole.match(text, found.start())
        return None if match is None else Span(match.start(), match.start("value"), match.end("value"), kind)

    return detect


def _forms(character: str) -> str:
    """The character and what counts as the same where case does not matter."""
    return "".join({character, character.lower()[:1], character.upper()[:1], *_SAME.get(character.lower()[:1], "")})


def _email(text: str, start: int) -> Span | None:
    """From each ``@``: the run of characters before it, the domain after it."""
    at = text.find("@", start)
    while at >= 0:
        head = text[max(start, at - _LONGEST_LOCAL) : at]
        size = len(head) - len(head.rstrip(_LOCAL))
        domain = _DOMAIN.match(text, at + 1) if size else None
        if domain is not None:
            return Span(at - size, at - size, domain.end(), "email")
        at = text.find("@", at + 1)
    return None


def _address(text: str, start: int) -> Span | None:
    """An address of IPv6, by its first colon."""
    match = _ADDRESS.search(text, start)
    while match is not None:
        at = match.start()
        head = text[max(start, at - 5) : at]
        begin = at - len(head) + len(head.rstrip(_HEX))
        if 0 < at - begin < 5 and not (begin and (text[begin - 1].isalnum() or text[begin - 1] in "_:")):
            size = _ip_size(text[begin : match.end()])
            if size:
                return Span(begin, begin, begin + size, "ip")
        match = _ADDRESS.search(text, at + 1)
    return None


def _shaped(first: str, kinds: list[str]) -> Detector:
    """All shapes that begin alike in one look; where the check of one fails, the others are tried there.

    A shape begins after nothing that it could be a part of. Its first character stands first in the
    pattern, so that the search leaps from one to the next.
    """
    edge = rf"(?<![0-9A-Za-z_]{first})(?<![0-9][.,]{first})"
    whole = "|".join(_SHAPES[kind] for kind in kinds)
    any_shape = re.compile(rf"{first}{edge}(?<=(?={whole}){first})")
    each = [(kind, re.compile(_SHAPES[kind]), _CHECKS.get(kind, len)) for kind in kinds]

    def detect(text: str, start: int) -> Span | None:
        match = any_shape.search(text, start)
        while match is not None:
            begin = match.start()
            for kind, pattern, check in each:
                found = pattern.match(text, begin)
                size = check(found.group()) if found is not None else 0
                if size:
                    return Span(begin, begin, begin + size, kind)
            match = any_shape.search(text, begin + 1)
        return None

    return detect


def _iban_size(text: str) -> int:
    """How much of the text is an IBAN: a word after it may look like its last group."""
    while not is_iban(text):
        text, gap, _ = text.rpartition(" ")
        if not gap:
            return 0
    return len(text)


def _ip_size(text: str) -> int:
    text = text if text.endswith("::") else text.rstrip(":")
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return 0
    return len(text)


_CHECKS: Mapping[str, Callable[[str], int]] = {
    "iban": _iban_size,
    "card": lambda text: len(text) if is_card(text) else 0,
    "aadhaar": lambda text: len(text) if is_aadhaar(text) else 0,
    "ip": _ip_size,
}
