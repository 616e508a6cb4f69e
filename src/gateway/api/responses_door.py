"""``POST /v1/responses``: answered by the chat service, going on from kept responses, and kept."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Protocol

import msgspec

from gateway.api.item_references import has_references, resolved
from gateway.api.wire import responses
from gateway.api.wire.responses import ResponsesRequest
from gateway.api.wire.responses_answer import EventEncoder, encode_reply
from gateway.api.wire.responses_items import with_ids
from gateway.errors import Unavailable
from gateway.ids import new_id
from gateway.models.call import CallContext
from gateway.models.llm_models import Delta, Reply, Usage
from gateway.registry.catalogue import Catalogue
from gateway.security.access import Caller
from gateway.serving.answer import AnswerMeta
from gateway.serving.chat import ChatService
from gateway.serving.chat_stream import ChatStream, KeptStream
from gateway.settings import StoreResponses
from gateway.store.response_store import KeptResponse

_log = logging.getLogger(__name__)


class ResponseStore(Protocol):
    """Where responses are kept; see ``store.response_store``."""

    def put(self, tenant: str, kept: KeptResponse) -> None: ...

    def chain(self, tenant: str, response_id: str) -> list[KeptResponse]: ...

    def several(self, tenant: str, response_ids: Sequence[str]) -> dict[str, KeptResponse]: ...


class Asked:
    """One request on its way: decoded, with the conversation before it, and named."""

    def __init__(self, request: ResponsesRequest) -> None:
        self.request = request
        self.name = new_id("resp")
        self.created = int(time.time())

    def kept(self, body: dict[str, Any]) -> KeptResponse:
        """What is kept of it with its answer."""
        items = with_ids(self.request.input_items, self.name)
        return KeptResponse(self.name, self.request.previous_response_id or None, items, body)


class ResponsesService:
    """Answers ``/v1/responses`` for whoever asks: the door, and the lines of a batch."""

    def __init__(
        self, chat: ChatService, store: ResponseStore, policy: StoreResponses, catalogue: Callable[[], Catalogue]
    ) -> None:
        self._catalogue = catalogue
        self._chat = chat
        self._store = store
        self._policy = policy

    async def asked(
        self, caller: Caller, body: Mapping[str, Any], headers: Mapping[str, str] = MappingProxyType({})
    ) -> Asked:
        """The request with all that its ``previous_response_id`` and its references to items stand for."""
        previous = body.get("previous_response_id")
        history: list[dict[str, Any]] = []
        if isinstance(previous, str) and previous:
            for kept in await asyncio.to_thread(self._store.chain, caller.tenant, previous):
                history += [*kept.input, *kept.body["output"]]
        if has_references(body.get("input")):
            find = partial(self._store.several, caller.tenant)
            known = {str(item.get("id")) for item in history}
            body = {**body, "input": await asyncio.to_thread(resolved, body["input"], find, known)}
        request = responses.decode(body, history, headers)
        wanted = request.store if self._policy == "unless_refused" else body.get("store") is True
        store = wanted and self._policy != "never" and not self._takes_out(request.chat.model)
        return Asked(msgspec.structs.replace(request, store=store))

    async def complete(self, caller: Caller, asked: Asked, call: CallContext) -> tuple[dict[str, Any], AnswerMeta]:
        """The whole response, kept before it is told."""
        answer = await self._chat.complete(caller, asked.request.chat, call)
        return await self.told(caller, asked, answer.reply), answer.meta

    async def told(self, caller: Caller, asked: Asked, reply: Reply) -> dict[str, Any]:
        """A reply as the whole response, kept before it is told."""
        body = encode_reply(reply, asked.request, asked.request.chat.model, asked.name, asked.created)
        await self._keep(caller, asked, body)
        return body

    async def stream(self, caller: Caller, asked: Asked, call: CallContext) -> ResponseStream:
        """The response in pieces; it is kept when all are there, before the last one is told."""
        stream = await self._chat.stream(caller, asked.request.chat, call)
        encoder = EventEncoder(asked.request, asked.request.chat.model, asked.name, asked.created)
        return ResponseStream(stream, encoder, lambda body: self._keep(caller, asked, body))

    def _takes_out(self, model: str) -> bool:
        """Whether a guard of the model takes something out that the caller's response has in it again: that is
        kept nowhere."""
        spec = self._catalogue().models.get(model)
        return spec is not None and any(guard.action == "redact" for guard in spec.guards)

    async def _keep(self, caller: Caller, asked: Asked, body: dict[str, Any]) -> None:
        """A response that cannot be kept says so: it was paid for, so it is told all the same."""
        if not asked.request.store:
            return
        try:
            await asyncio.shield(asyncio.to_thread(self._store.put, caller.tenant, asked.kept(body)))
        except Unavailable as error:
            _log.warning("the response %s could not be kept: %s", asked.name, error.message)
            body["store"] = False


class ResponseStream:
    """Pieces and their encoder in one, for the end of the pieces is where the response is kept."""

    def __init__(
        self,
        stream: ChatStream | KeptStream,
        encoder: EventEncoder,
        keep: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        self._stream = stream
        self._encoder = encoder
        self._keep = keep
        self._last: list[dict[str, Any]] = []

    @property
    def meta(self) -> AnswerMeta:
        return self._stream.meta

    @property
    def usage(self) -> Usage:
        return self._stream.usage

    async def __aiter__(self) -> AsyncIterator[Delta]:
        pieces = aiter(self._stream)
        try:
            async for delta in pieces:
                yield delta
        finally:
            await pieces.aclose()  # type: ignore[attr-defined]  # an async generator: closing it settles the call
        self._last = self._encoder.end(self._stream.usage)
        await self._keep(self._encoder.response())

    async def aclose(self) -> None:
        await self._stream.aclose()

    def encode(self, delta: Delta) -> list[dict[str, Any]]:
        """The events of one piece."""
        return self._encoder.encode(delta)

    def end(self, _usage: Usage) -> list[dict[str, Any]]:
        """What closes the response; made when the last piece was there."""
        return self._last

    def failed(self, message: str, code: str) -> dict[str, Any]:
        """The event of a response that broke off."""
        return self._encoder.failed(message, code)
