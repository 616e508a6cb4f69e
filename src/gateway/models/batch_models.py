"""A provider's batch API: many chats handed over at once, answered within a day, at a lower price."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Literal, Protocol

from msgspec import Struct

from gateway.models.llm_models import Chat, Reply

#: ``failed``: the provider refused all of it and did no work; the rest ended with whatever results there are.
BatchState = Literal["running", "ended", "failed"]


class BatchAsk(Struct, frozen=True):
    """One request of a batch: the name its answer comes back under, and its encoded body (JSON)."""

    name: str
    body: bytes


class BatchLook(Struct, frozen=True):
    """A provider's batch as it stands. ``word`` is the provider's own status; ``files`` the ids of the files
    that hold its results and of those that may be deleted once they are read."""

    batch_id: str
    state: BatchState
    word: str
    results: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    problem: str = ""


class BatchResult(Struct, frozen=True):
    """What became of one request: the answer as the provider wrote it (JSON), or a code and why there is none."""

    name: str
    answer: bytes = b""
    code: str = ""
    message: str = ""
    status: int = 0


class BatchApi(Protocol):
    """The port. Errors are ``errors.UpstreamError``s."""

    def encode(self, chat: Chat) -> tuple[bytes, tuple[str, ...]]:
        """The body of one request, and the names of what could not be carried."""
        ...

    def decode(self, answer: bytes) -> Reply:
        """A result's answer as a reply."""
        ...

    async def submit(self, marker: str, asks: Sequence[BatchAsk]) -> str:
        """Hands the requests over; the provider's id of the batch. ``marker`` is to find it again by."""
        ...

    async def find(self, marker: str, since: int, names: frozenset[str], taken: frozenset[str]) -> str | None:
        """The id of the batch that an interrupted ``submit`` of ``marker`` made at ``since`` (Unix seconds) or
        later; ``None`` where there surely is none. ``Undecided`` while only time can tell. ``names`` are those of
        its requests, ``taken`` the ids of other batches of ours."""
        ...

    async def look(self, batch_id: str) -> BatchLook:
        """How it stands."""
        ...

    def results(self, look: BatchLook) -> AsyncIterator[BatchResult]:
        """The results of a batch that ended, in any order."""
        ...

    async def cancel(self, batch_id: str) -> None:
        """Asks for its end; what is done by then is answered and charged."""
        ...

    async def discard(self, look: BatchLook) -> None:
        """Deletes at the provider what was handed over and what it answered."""
        ...


class Undecided(Exception):
    """Whether a batch was made cannot be told yet."""
