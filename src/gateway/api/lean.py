"""What our own HTTP server does for an exchange without a task's waiting; see ``server.Cycle``.

Elsewhere (another server, the recorder of repeated requests) the scope has none of it, and ``receive`` and
``send`` do the same, more slowly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gateway.api.wire.answer_head import Head

#: Where a scope has it.
LEAN = "gateway.lean"


class Lean(Protocol):
    """One request and its answer."""

    def arrived(self) -> bytes | None:
        """The whole body, where it is here already; taken once."""
        ...

    def answer(self, status: int, head: Head, body: bytes) -> bool:
        """Sends a whole answer; false where it has to be sent in the usual way."""
        ...

    def push(self, body: bytes) -> bool:
        """Sends a piece of an answer that was begun with a ``Head``; whether more may come before the client
        has taken some."""
        ...

    def when_left(self, call: Callable[[], None]) -> bool:
        """``call`` is called if the client leaves before its answer is whole; false where it has left."""
        ...
