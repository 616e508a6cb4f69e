"""Credentials in a text: what gives access to something, found by its look or by the name it is given.

A credential of a kind that nobody marks (a bare password in a sentence) is not found. Every pattern is
bounded, and most are tried only where a text holds what they begin with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from gateway.governance.spans import Detector, Span, find_all
from gateway.models.guard_kinds import CREDENTIALS

_END = r"(?![A-Za-z0-9_-])"
#: kind → (what a text with one surely holds, the characters it begins with, the pattern; its group
#: ``value`` where it is not the whole).
_KINDS: Mapping[str, tuple[tuple[str, ...], str, str]] = {
    "private_key": (
        ("-----BEGIN",),
        "-",
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:(?:[^-]|-(?!----)){0,8000}-----END [A-Z0-9 ]{0,50}"
        r"-----|(?:\s{0,4}[A-Za-z0-9+/=]{40,100}){0,120})",
    ),
    "api_key": (
        (
            "sk-",
            "gw-",
            "k_live_",
            "k_test_",
            "AIza",
            "hf_",
            "SG.",
            "npm_",
            "gsk_",
            "xai-",
            "dop_v1_",
            "pplx-",
            "whsec_",
        ),
        "sgrAhSnxdpw",
        r"(?:sk-[A-Za-z0-9_-]{20,300}|gw-[A-Za-z0-9_-]{20,200}|[rs]k_(?:live|test)_[A-Za-z0-9]{16,200}"
        r"|AIza[A-Za-z0-9_-]{35}|hf_[A-Za-z0-9]{30,60}|SG\.[A-Za-z0-9_-]{16,64}\.[A-Za-z0-9_-]{16,64}"
        r"|npm_[A-Za-z0-9]{36}|gsk_[A-Za-z0-9]{40,80}|xai-[A-Za-z0-9]{40,120}|dop_v1_[a-f0-9]{64}"
        r"|pplx-[A-Za-z0-9]{40,80}|whsec_[A-Za-z0-9+/=]{20,100})" + _END,
    ),
    "token": (
        ("gh", "github_pat_", "glpat-", "xox", "xapp-", "ya29.", "hvs.", "eyJ"),
        "gxyhe",
        r"(?:gh[pousr]_[A-Za-z0-9]{36,251}|github_pat_[A-Za-z0-9_]{22,255}|glpat-[A-Za-z0-9_-]{20,64}"
        r"|xox[abeoprs]-[A-Za-z0-9-]{10,250}|xapp-[A-Za-z0-9-]{10,250}|ya29\.[A-Za-z0-9_-]{20,2000}"
        r"|hvs\.[A-Za-z0-9_-]{20,200}"
        r"|eyJ[A-Za-z0-9_-]{8,4000}\.[A-Za-z0-9_-]{8,4000}(?:\.[A-Za-z0-9_-]{1,2000}){0,3})" + _END,
    ),
    "cloud": (
        ("AKIA", "ASIA", "AccountKey=", "SharedAccessKey=", "sig="),
        "ASs",
        r"(?:(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])|(?:Account|SharedAccess)Key=(?P<value>[A-Za-z0-9+/=]{40,120})"
        r"|sig=(?P<value2>[A-Za-z0-9%+/=]{40,120}))",
    ),
    "bearer": (
        ("earer", "asic", "EARER", "ASIC"),
        "bB",
        r"(?ai:bearer|basic)\s{1,3}(?P<value>[A-Za-z0-9._~+/=-]{16,4000})",
    ),
    "url_password": (("://",), ":", r"://[^/@:\s]{0,100}:(?P<value>[^/@\s]{1,200})(?=@)"),
    "assigned": (
        ("=", ":"),
        "aAcCpPsStT",
        r"(?ai:passw(?:or)?d|passphrase|pwd|secret|api[_-]?key|access[_-]?key|auth[_-]?token|client[_-]?secret|token)"
        r"[\"']{0,2}\s{0,3}[=:]{1,2}\s{0,3}[\"']{0,2}"
        r"(?P<value>(?=[^\s\"',;]{0,40}[0-9])(?=[^\s\"',;]{0,40}[A-Za-z])[^\s\"',;<>{}\[\]]{10,200})",
    ),
}
#: Kinds that may stand within a word: ``DB_PASSWORD=…``.
_ANYWHERE = frozenset({"private_key", "url_password", "assigned"})
_LABEL = re.compile(
    r"(?ai:passw(?:or)?d|passphrase|pwd|secret|key|token|bearer|basic)[\"']{0,2}\s{0,3}[=:]{0,2}\s{0,3}[\"']{0,2}\S{0,220}\Z"
)
_LONGEST_RUN, _LONGEST_KEY, _LONGEST_LABEL = 14_000, 8_200, 260
_KEY_END = re.compile(r"-----END [A-Z0-9 ]{0,50}-----")


class CredentialFinder:
    """Finds the ``kinds``; see ``spans.Finder``."""

    def __init__(self, kinds: Iterable[str] = CREDENTIALS) -> None:
        wanted = [kind for kind in CREDENTIALS if kind in set(kinds)]
        self._detectors = [(_KINDS[kind][0], _detector(kind)) for kind in wanted]

    def find(self, text: str, start: int = 0) -> list[Span]:
        """See ``spans.Finder``."""
        here = [detect for hints, detect in self._detectors if any(hint in text for hint in hints)]
        return find_all(here, text, start)

    def decided(self, text: str, start: int = 0) -> int:
        """Before the last word, before a name that something is being given, before a key without an end."""
        end = len(text)
        tail = text[max(start, end - _LONGEST_RUN) :]
        words = tail.rsplit(None, 1)
        limit = end - (len(words[-1]) if words and not tail[-1].isspace() else 0)
        label = _LABEL.search(text, max(start, end - _LONGEST_LABEL))
        if label is not None:
            limit = min(limit, _word_start(text, label.start(), start))
        begun = text.rfind("-----BEGIN", max(start, end - _LONGEST_KEY))
        while begun >= 0:
            if _KEY_END.search(text, begun) is None:
                limit = min(limit, begun)
            begun = text.rfind("-----BEGIN", max(start, end - _LONGEST_KEY), begun)
        return limit


def _word_start(text: str, at: int, start: int) -> int:
    """Where the word begins that ``at`` stands in: ``api_`` belongs to ``api_key``."""
    while at > start and not text[at - 1].isspace():
        at -= 1
    return at


def _detector(kind: str) -> Detector:
    _, first, body = _KINDS[kind]
    pattern = re.compile(body)
    groups = tuple(pattern.groupindex)
    # The first character stands first, so that the search leaps from one to the next.
    edge = "" if kind in _ANYWHERE else rf"(?<![A-Za-z0-9][{first}])"
    leap = re.compile(rf"[{first}]{edge}(?<=(?={body}).)")

    def detect(text: str, start: int) -> Span | None:
        found = leap.search(text, start)
        match = None if found is None else pattern.match(text, found.start())
        if match is None:
            return None
        value = next((name for name in groups if match.group(name) is not None), 0)
        return Span(match.start(), match.start(value), match.end(value), kind)

    return detect
