"""Placeholders in the place of values: ``[EMAIL_1]``. The same value has the same one, another has another.

Numbers follow the order of first appearance in the conversation, so a conversation that goes on keeps
them. A placeholder that the caller wrote themselves is never given out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_LOOK = re.compile(r"\[[A-Z][A-Z0-9_]{0,40}_[0-9]{1,7}\]")
#: Kinds that look the same wherever they stand: the detectors find each of them without being told.
_SELF_EVIDENT = frozenset(
    {"email", "iban", "card", "aadhaar", "ssn", "nino", "pan", "ip", "term", "api_key", "token", "private_key"}
)
_SHORTEST = 4


@dataclass(frozen=True, slots=True)
class _Known:
    placeholder: str
    first: int
    restore: bool


class Vault:
    """The values of one request and their placeholders. ``texts`` are what the caller wrote."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = texts
        self._taken: set[str] | None = None
        self._known: dict[tuple[str, str], _Known] = {}
        self._counts: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._known)

    def name(self, kind: str, value: str, *, at: int, restore: bool) -> str:
        """The placeholder of a value that was found in the text number ``at``."""
        known = self._known.get((kind, value))
        if known is None:
            known = self._known[kind, value] = _Known(self._fresh(kind), at, restore)
        return known.placeholder

    def values(self) -> dict[str, str]:
        """What is to be put back into an answer, by placeholder."""
        return {known.placeholder: value for (_, value), known in self._known.items() if known.restore}

    def sweep(self, text: str) -> str:
        """The text with the values replaced that only the words around them gave away elsewhere."""
        return self._replaced(
            text,
            {
                value: known.placeholder
                for (kind, value), known in self._known.items()
                if kind not in _SELF_EVIDENT and len(value) >= _SHORTEST and value in text
            },
        )

    def known_before(self, text: str, at: int) -> str:
        """The text number ``at`` with the values replaced that earlier ones had, and no others: what the
        model wrote and signed goes back to it as it wrote it."""
        names = {value: known.placeholder for (_, value), known in self._known.items() if known.first < at}
        return self._replaced(text, {value: name for value, name in names.items() if value in text})

    @staticmethod
    def _replaced(text: str, names: Mapping[str, str]) -> str:
        if not names:
            return text
        values = "|".join(re.escape(value) for value in sorted(names, key=len, reverse=True))
        return re.sub(rf"(?<!\w)(?:{values})(?!\w)", lambda match: names[match.group()], text)

    def _fresh(self, kind: str) -> str:
        if self._taken is None:
            self._taken = {found for text in self._texts if "[" in text for found in _LOOK.findall(text)}
        label = re.sub(r"[^A-Z0-9]+", "_", kind.upper()).strip("_")[:40] or "VALUE"
        while True:
            number = self._counts[label] = self._counts.get(label, 0) + 1
            if (name := f"[{label}_{number}]") not in self._taken:
                return name


class Restorer:
    """Puts values back in the place of their placeholders."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._plain = dict(values)
        self._escaped = {name: json.dumps(value, ensure_ascii=False)[1:-1] for name, value in values.items()}
        self._longest = max((len(name) for name in values), default=0)

    def whole(self, text: str, *, escaped: bool = False) -> str:
        """The text restored; ``escaped``: it is JSON, and values are written as JSON has them."""
        if "[" not in text:
            return text
        values = self._escaped if escaped else self._plain
        return _LOOK.sub(lambda match: values.get(match.group(), match.group()), text)

    def channel(self, *, escaped: bool = False) -> Restoring:
        """For one text that comes in pieces."""
        return Restoring(self, escaped=escaped)

    def begun(self, text: str) -> int:
        """Where at the end of the text a placeholder may have begun; its length where none has."""
        at = text.rfind("[", max(0, len(text) - self._longest))
        if at >= 0 and any(len(name) > len(text) - at and name.startswith(text[at:]) for name in self._plain):
            return at
        return len(text)


class Restoring:
    """One text in pieces; holds back at most the beginning of a placeholder."""

    def __init__(self, restorer: Restorer, *, escaped: bool) -> None:
        self._restorer = restorer
        self._escaped = escaped
        self._held = ""

    def push(self, piece: str, *, last: bool = False) -> str:
        """What of the text can be told now; all of it at the ``last`` piece."""
        text = self._held + piece
        cut = len(text) if last else self._restorer.begun(text)
        self._held = text[cut:]
        return self._restorer.whole(text[:cut], escaped=self._escaped)
