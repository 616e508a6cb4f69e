"""A chat written shorter with the same content: see ``models.optimise.METHODS``.

Each change can be turned back and is kept only where it saves tokens. White space means trailing
spaces, and more than one empty line in a row; spaces within a line stay, for columns may be made of them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from gateway.governance import json_compaction, repeats
from gateway.governance.fences import split_fences
from gateway.governance.text_slots import Slot, rewritten, slots_of
from gateway.models.llm_models import Chat
from gateway.models.tokens import Count

_EMPTY_LINES = re.compile(r"(\r?\n)(?:\r?\n){2,}")


def compact(chat: Chat, methods: Collection[str], count: Count) -> tuple[Chat, tuple[str, ...]]:
    """The chat by the ``methods`` that work on each text alone, and those of them that saved something."""
    used: set[str] = set()
    changes: dict[Slot, str] = {}
    for slot in slots_of(chat):
        text, by = _compacted(slot.text, methods, system=chat.messages[slot.message].role == "system")
        if by and count(text) < count(slot.text):
            changes[slot] = text
            used.update(by)
    return rewritten(chat, changes), tuple(sorted(used))


def tell_once(chat: Chat, least_tokens: int, count: Count) -> Chat:
    """The chat with later occurrences of the same long block as references to the first."""
    slots = slots_of(chat)
    texts = [slot.text for slot in slots]
    made = repeats.told_once(texts, lambda block: len(block) >= least_tokens and count(block) >= least_tokens)
    if made == texts or repeats.expanded(made) != texts or _total(made, count) >= _total(texts, count):
        return chat
    return rewritten(chat, {slot: text for slot, text in zip(slots, made, strict=True) if text != slot.text})


def _total(texts: Sequence[str], count: Count) -> int:
    return sum(map(count, texts))


def _compacted(text: str, methods: Collection[str], *, system: bool) -> tuple[str, set[str]]:
    """A system turn's tables stay lists: they may be the pattern of an answer."""
    by: set[str] = set()
    pieces = []
    for piece, code in split_fences(text):
        if code:
            pieces.append(piece)
            continue
        if "json" in methods:
            minified = json_compaction.compacted(piece, tables=False)
            by.update({"json"} if minified != piece else ())
            piece = minified  # noqa: PLW2901 - one method after another
        if "tables" in methods and not system:
            tabled = json_compaction.compacted(piece, tables=True)
            by.update({"tables"} if tabled != piece else ())
            piece = tabled  # noqa: PLW2901
        if "whitespace" in methods:
            trimmed = _EMPTY_LINES.sub(r"\1\1", _without_trailing(piece))
            by.update({"whitespace"} if trimmed != piece else ())
            piece = trimmed  # noqa: PLW2901
        pieces.append(piece)
    return "".join(pieces), by


def _without_trailing(text: str) -> str:
    """Every line but the last (which may go on elsewhere) without spaces at its end."""
    *lines, last = text.split("\n")
    made = [line[:-1].rstrip(" \t") + "\r" if line.endswith("\r") else line.rstrip(" \t") for line in lines]
    return "\n".join([*made, last])
