"""What has to be remembered of a stream in OpenAI's dialect: which tool call a piece belongs to, and who refuses.

OpenAI numbers the calls of an answer. Other servers of its dialect number every call alike, so that a new id begins
the next, or not at all, so that a name does, or give no ids, so that they are made here.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class _Call(Struct):
    place: int
    id: str


class Calls:
    """The tool calls of one stream, for each choice in the order in which they began; and ``refused``, the choices in
    which the model says why it does not answer."""

    def __init__(self) -> None:
        self.refused: set[int] = set()
        self._by_index: dict[tuple[int, Any], _Call] = {}
        self._begun: dict[int, list[_Call]] = {}

    def place(self, choice: int, call: dict[str, Any], name: str) -> tuple[int, str]:
        """The place of the call that this piece belongs to, and its id where the piece begins it; ``name`` is the
        function's, where the piece says it."""
        index, said = call.get("index"), str(call.get("id") or "")
        begun = self._begun.setdefault(choice, [])
        if index is not None:
            known = self._by_index.get((choice, index))
        elif said:
            known = next((item for item in begun if item.id == said), None)
        else:
            known = begun[-1] if begun and not name else None
        if known is not None and (not said or said == known.id):
            return known.place, ""
        fresh = _Call(len(begun), said or f"call_{choice}_{len(begun)}")
        begun.append(fresh)
        self._by_index[choice, index] = fresh
        return fresh.place, fresh.id

    def any(self, choice: int) -> bool:
        """Whether the choice has called a tool."""
        return bool(self._begun.get(choice))
