"""Calls to one embedding deployment that meet are sent as one; a call alone is sent at once.

Nothing waits while the deployment is idle. While a call is under way, further ones gather until it ends,
at most for a few milliseconds. Each caller keeps an account of their own: their vectors, their tokens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

import msgspec
from msgspec import Struct

from gateway.errors import NotSupported, UpstreamRejected
from gateway.models.embedding_models import EmbeddingModel, Embeddings, EmbedRequest
from gateway.models.llm_models import Usage

#: The longest a call waits for others, in seconds.
_WINDOW = 0.004


class Most(Struct, frozen=True):
    """How much goes into one call: inputs, and bytes of them (no text has more tokens than bytes)."""

    inputs: int
    bytes: int


#: By the type of a provider: what its API takes, or less where servers differ or a large call is slow.
MOST: Mapping[str, Most] = MappingProxyType(
    {
        "openai": Most(2_048, 250_000),
        "azure_openai": Most(2_048, 250_000),
        "gemini": Most(100, 18_000),
        "openai_compatible": Most(32, 32_000),
        "local_embedding": Most(64, 16_000),
    }
)


class _Waiting:
    """One call that waits, and what becomes of it."""

    def __init__(self, request: EmbedRequest) -> None:
        self.request = request
        self.size = size_of(request)
        self.answer: asyncio.Future[Embeddings] = asyncio.get_running_loop().create_future()
        self.batch: _Batch | None = None


class _Batch(NamedTuple):
    """Calls that were sent as one."""

    task: asyncio.Task[None]
    calls: list[_Waiting]


@dataclass(slots=True)
class _Line:
    """The calls to one deployment that could be one."""

    model: EmbeddingModel
    busy: int = 0
    waiting: list[_Waiting] = field(default_factory=list)
    timer: asyncio.TimerHandle | None = None


class EmbedBatches:
    """Belongs to one event loop."""

    def __init__(self) -> None:
        self._lines: dict[Hashable, _Line] = {}

    async def embed(self, place: Hashable, model: EmbeddingModel, most: Most, request: EmbedRequest) -> Embeddings:
        """The vectors of one request. ``place``: calls of equal places may be joined, if their fields are equal."""
        key = (place, request.model, request.encoding, request.dimensions, request.user, str(request.extra))
        line = self._lines.setdefault(key, _Line(model))
        if not line.busy or len(request.inputs) >= most.inputs or size_of(request) >= most.bytes:
            return await self._alone(key, line, model, request, most)
        mine = _Waiting(request)
        line.waiting.append(mine)
        if _is_full(line.waiting, most):
            self._send(key, line, most)
        elif line.timer is None:
            line.timer = asyncio.get_running_loop().call_later(_WINDOW, self._send, key, line, most)
        try:
            return await mine.answer
        finally:
            self._left(line, mine)

    async def _alone(
        self, key: Hashable, line: _Line, model: EmbeddingModel, request: EmbedRequest, most: Most
    ) -> Embeddings:
        line.busy += 1
        try:
            return await model.embed(request)
        finally:
            self._ended(key, line, most)

    def _ended(self, key: Hashable, line: _Line, most: Most) -> None:
        line.busy -= 1
        if line.waiting:
            self._send(key, line, most)
        elif not line.busy:
            self._lines.pop(key, None)

    def _send(self, key: Hashable, line: _Line, most: Most) -> None:
        """Sends all that wait, in as few calls as the deployment takes."""
        if line.timer is not None:
            line.timer.cancel()
            line.timer = None
        batch: list[_Waiting] = []
        for item in [*line.waiting, None]:
            if batch and (item is None or _is_full([*batch, item], most, strictly=True)):
                line.busy += 1
                task = asyncio.get_running_loop().create_task(_together(line.model, batch))
                # Also where it is cancelled before it has begun.
                task.add_done_callback(lambda _task: self._ended(key, line, most))
                for one in batch:
                    one.batch = _Batch(task, batch)
                batch = []
            if item is not None:
                batch.append(item)
        line.waiting = []

    @staticmethod
    def _left(line: _Line, mine: _Waiting) -> None:
        """A caller has their answer, or has gone: a call of which every caller has gone is ended."""
        if mine in line.waiting:
            line.waiting.remove(mine)
        if mine.answer.cancelled() and mine.batch is not None and all(one.answer.done() for one in mine.batch.calls):
            mine.batch.task.cancel()


async def _together(model: EmbeddingModel, batch: list[_Waiting]) -> None:
    here = [one for one in batch if not one.answer.done()]
    try:
        for one, share in zip(here, await _joined(model, [one.request for one in here]), strict=True):
            if not one.answer.done():
                one.answer.set_result(share)
    except (UpstreamRejected, NotSupported) as error:
        if len(here) == 1:
            _fail(here, error)
        else:  # one of them is at fault: each for itself
            await asyncio.gather(*(_single(model, one) for one in here))
    except Exception as error:  # noqa: BLE001 - handed to each of those who wait
        _fail(here, error)


async def _single(model: EmbeddingModel, one: _Waiting) -> None:
    try:
        found = await model.embed(one.request)
        if not one.answer.done():
            one.answer.set_result(found)
    except Exception as error:  # noqa: BLE001 - handed to the one who waits
        _fail([one], error)


def _fail(waiting: list[_Waiting], error: Exception) -> None:
    for one in waiting:
        if not one.answer.done():
            one.answer.set_exception(error)


async def _joined(model: EmbeddingModel, requests: list[EmbedRequest]) -> list[Embeddings]:
    """One call for several requests, and each one's part of its answer."""
    if len(requests) < 2:
        return [await model.embed(request) for request in requests]
    inputs = tuple(item for request in requests for item in request.inputs)
    found = await model.embed(msgspec.structs.replace(requests[0], inputs=inputs))
    return shared(found, requests)


def shared(found: Embeddings, requests: list[EmbedRequest]) -> list[Embeddings]:
    """The parts of a joint answer. Tokens are those of each, where the model told them apart; else the
    total is split by length, to the last token, and the split is called an estimate."""
    parts, start = [], 0
    split = None if found.counts else _split(found.usage.input_tokens, [size_of(request) for request in requests])
    for at, request in enumerate(requests):
        end = start + len(request.inputs)
        counts = found.counts[start:end]
        tokens = sum(counts) if split is None else split[at]
        basis = found.usage.basis if split is None or found.usage.basis == "none" else "estimated"
        usage = Usage(input_tokens=tokens, basis=basis)
        parts.append(Embeddings(found.vectors[start:end], found.model, usage, counts))
        start = end
    return parts


def _split(total: int, sizes: list[int]) -> list[int]:
    """Whole parts of ``total`` in proportion to ``sizes``; their sum is ``total``."""
    ends, whole, seen, before = [], sum(sizes) or 1, 0, 0
    for size in sizes:
        seen += size
        end = total * seen // whole
        ends.append(end - before)
        before = end
    return ends


def size_of(request: EmbedRequest) -> int:
    """Bytes of the inputs; a token id counts as one."""
    return sum(len(item.encode()) if isinstance(item, str) else len(item) for item in request.inputs)


def _is_full(waiting: list[_Waiting], most: Most, *, strictly: bool = False) -> bool:
    inputs, size = sum(len(one.request.inputs) for one in waiting), sum(one.size for one in waiting)
    return inputs > most.inputs or size > most.bytes if strictly else inputs >= most.inputs or size >= most.bytes
