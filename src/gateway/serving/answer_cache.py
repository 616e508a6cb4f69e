"""Answers kept for equal questions, in this process: exact keys, a life each, and one producer at a time.

The key holds everything that an answer depends on, and whose it is: nobody is ever answered from
another tenant's question. While one caller's answer is on its way, equal callers wait for it instead
of asking the provider again; where it fails, the next of them asks.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable

import msgspec

from gateway.clock import Clock
from gateway.models.embedding_models import Embeddings, EmbedRequest
from gateway.models.llm_models import Chat, Delta, Reply
from gateway.security.access import Caller
from gateway.serving.answer import AnswerMeta

#: The longest an answer is kept, in seconds.
LONGEST = 86_400
_ENCODER = msgspec.json.Encoder(order="sorted", decimal_format="number")
#: Fields of a caller's own body that say how an answer is delivered, not what it is.
_DELIVERY = frozenset({"stream", "stream_options", "metadata", "store"})


class Kept(msgspec.Struct, frozen=True):
    """A whole answer, the pieces of a streamed one, or vectors, and which deployment gave it."""

    value: Reply | tuple[Delta, ...] | Embeddings
    model: str
    provider: str
    upstream_model: str
    #: The call that was answered, and when (seconds of Unix time).
    request_id: str
    created: int


def kept_of(value: Reply | tuple[Delta, ...] | Embeddings, meta: AnswerMeta) -> Kept:
    """An answer as it is kept."""
    return Kept(value, meta.model, meta.provider, meta.upstream_model, meta.request_id, meta.created)


class Ticket:
    """The right and the duty to produce the answer of one key: ends by ``keep`` or ``give_up``."""

    def __init__(self, cache: AnswerCache, key: str, ttl: float) -> None:
        self._cache = cache
        self._key = key
        self._ttl = ttl
        self._open = True
        #: Told of the answer too; see ``serving.semantic_cache``.
        self.also: Callable[[Kept], None] | None = None

    def keep(self, kept: Kept) -> None:
        """The answer is there, for everybody who waits and for ``ttl`` seconds."""
        if self._open:
            self._open = False
            self._cache._keep(self._key, kept, self._ttl)
            if self.also is not None:
                self.also(kept)

    def give_up(self) -> None:
        """There is no answer to keep; somebody who waits becomes the producer."""
        if self._open:
            self._open = False
            self._cache._give_up(self._key)


class AnswerCache:
    """Belongs to one event loop. At most ``most_bytes`` of answers; the least lately used go first."""

    def __init__(self, clock: Clock, most_bytes: int = 64 * 1024 * 1024) -> None:
        self._clock = clock
        self._most = most_bytes
        self._size = 0
        self._kept: OrderedDict[str, tuple[float, int, Kept]] = OrderedDict()
        self._producing: dict[str, asyncio.Future[Kept | None]] = {}

    async def join(self, key: str, ttl: float) -> Kept | Ticket:
        """The kept answer, waited for where it is being produced; else the ticket to produce it."""
        while True:
            found = self._find(key)
            if found is not None:
                return found
            coming = self._producing.get(key)
            if coming is None:
                self._producing[key] = asyncio.get_running_loop().create_future()
                return Ticket(self, key, ttl)
            produced = await asyncio.shield(coming)
            if produced is not None:
                return produced

    def _find(self, key: str) -> Kept | None:
        found = self._kept.get(key)
        if found is None:
            return None
        if found[0] <= self._clock.monotonic():
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return found[2]

    def _keep(self, key: str, kept: Kept, ttl: float) -> None:
        size = len(_ENCODER.encode(kept.value))
        if size <= self._most // 4:
            if key in self._kept:
                self._drop(key)
            self._kept[key] = (self._clock.monotonic() + ttl, size, kept)
            self._size += size
            while self._size > self._most:
                self._drop(next(iter(self._kept)))
        self._producing.pop(key).set_result(kept)

    def _give_up(self, key: str) -> None:
        self._producing.pop(key).set_result(None)

    def _drop(self, key: str) -> None:
        self._size -= self._kept.pop(key)[1]


def cache_key(caller: Caller, chat: Chat, epoch: str, *, stream: bool) -> str:
    """What an answer depends on: the tenant (the team, else the principal), the configuration, the
    question as it was asked, and the way of answering."""
    asked = msgspec.structs.asdict(chat)
    if chat.native is not None:
        asked = {name: value for name, value in chat.native.items() if name not in _DELIVERY}
    else:
        asked.pop("native")
    return _digest([caller.tenant, epoch, chat.dialect, stream, chat.model, asked, chat.headers])


def vectors_key(caller: Caller, request: EmbedRequest, epoch: str) -> str:
    """What vectors depend on, and whose they are."""
    return _digest([caller.tenant, epoch, "embeddings", request])


def _digest(content: list[object]) -> str:
    return hashlib.sha256(_ENCODER.encode(content)).hexdigest()
