"""Tool calls of a stream one after another, as Anthropic tells them, though their pieces may come in turns."""

from __future__ import annotations

import msgspec

from gateway.models.llm_models import Delta


class CallOrder:
    """The pieces of the first call go on as they come; those of the next wait until its arguments are whole."""

    def __init__(self) -> None:
        self._open: int | None = None
        self._said = ""
        self._over: set[int] = set()
        self._waiting: dict[int, list[Delta]] = {}

    def feed(self, piece: Delta) -> list[Delta]:
        """What can be told now, with this piece of a call."""
        at = piece.tool_index
        if at is None or at in self._over:  # nothing but white space follows a whole object
            return []
        if self._open is None or at == self._open:
            self._open = at
            self._said += piece.arguments
            return [piece]
        self._waiting.setdefault(at, []).append(piece)
        told: list[Delta] = []
        while self._waiting and self._is_whole():
            told += self._next()
        return told

    def rest(self) -> list[Delta]:
        """All that waits: no more of the calls so far comes."""
        told: list[Delta] = []
        while self._waiting:
            told += self._next()
        if self._open is not None:
            self._over.add(self._open)
        self._open, self._said = None, ""
        return told

    def _next(self) -> list[Delta]:
        if self._open is not None:
            self._over.add(self._open)
        self._open = next(iter(self._waiting))
        pieces = self._waiting.pop(self._open)
        self._said = "".join(piece.arguments for piece in pieces)
        return pieces

    def _is_whole(self) -> bool:
        if not self._said.rstrip().endswith("}"):
            return False
        try:
            msgspec.json.decode(self._said)
        except msgspec.DecodeError:
            return False
        return True
