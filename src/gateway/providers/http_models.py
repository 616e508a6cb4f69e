"""Language models behind HTTP: a wire and a transport make the ``LanguageModel`` port."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Protocol

import msgspec
from msgspec import Struct, structs

from gateway.errors import StreamIncomplete, UpstreamError
from gateway.models.llm_models import Chat, Delta, Native, Reply
from gateway.providers import anthropic_wire, openai_wire
from gateway.providers.sse import SseDecoder
from gateway.providers.transport import StreamedResponse, Transport
from gateway.providers.upstream_errors import error_of, event_error
from gateway.registry.catalogue import Timeouts


class Address(Struct, frozen=True):
    """Where a dialect is spoken: the whole URL, and the headers that open it."""

    url: str
    headers: dict[str, str]


class Wire(Protocol):
    """A dialect."""

    dialect: str

    def encode(self, chat: Chat, *, stream: bool) -> tuple[bytes, tuple[str, ...]]: ...

    def decode_reply(self, content: bytes) -> Reply: ...

    def decoder(self) -> Callable[[dict[str, Any]], list[Delta]]: ...


class OpenAIWire:
    """OpenAI's dialect for one upstream model."""

    dialect = "openai"

    def __init__(self, upstream_model: str, *, official: bool) -> None:
        self._model = upstream_model
        self._official = official

    def encode(self, chat: Chat, *, stream: bool) -> tuple[bytes, tuple[str, ...]]:
        return openai_wire.encode(chat, self._model, stream=stream, official=self._official)

    def decode_reply(self, content: bytes) -> Reply:
        return openai_wire.decode_reply(content)

    def decoder(self) -> Callable[[dict[str, Any]], list[Delta]]:
        return openai_wire.decode_chunk


class AnthropicWire:
    """Anthropic's dialect for one upstream model."""

    dialect = "anthropic"

    def __init__(self, upstream_model: str, max_tokens: int) -> None:
        self._model = upstream_model
        self._max_tokens = max_tokens

    def encode(self, chat: Chat, *, stream: bool) -> tuple[bytes, tuple[str, ...]]:
        return anthropic_wire.encode(chat, self._model, stream=stream, max_tokens=self._max_tokens)

    def decode_reply(self, content: bytes) -> Reply:
        return anthropic_wire.decode_reply(content)

    def decoder(self) -> Callable[[dict[str, Any]], list[Delta]]:
        return anthropic_wire.StreamDecoder().decode


class HttpModel:
    """See ``models.llm_models.LanguageModel``. ``address`` is asked at every call (it may move)."""

    def __init__(
        self, provider: str, wire: Wire, address: Callable[[], Address], transport: Transport, timeouts: Timeouts
    ) -> None:
        self._provider = provider
        self._wire = wire
        self._address = address
        self._transport = transport
        self._timeouts = timeouts

    def dropped(self, chat: Chat) -> tuple[str, ...]:
        """What of the chat this deployment cannot carry. Raises ``NotSupported`` for what it must refuse."""
        return self._wire.encode(chat, stream=False)[1]

    async def complete(self, chat: Chat) -> Reply:
        body, _ = self._wire.encode(chat, stream=False)
        address = self._address()
        response = await self._transport.post(
            address.url, body, _headers(address.headers, "application/json"), self._timeouts
        )
        if response.status != 200:
            raise error_of(self._provider, response.status, response.headers, response.body)
        return self._wire.decode_reply(response.body)

    async def stream(self, chat: Chat) -> AsyncIterator[Delta]:
        body, _ = self._wire.encode(chat, stream=True)
        address = self._address()
        headers = _headers(address.headers, "text/event-stream")
        own = chat.native is not None and chat.dialect == self._wire.dialect
        async with self._transport.stream(address.url, body, headers, self._timeouts) as response:
            if response.status != 200:
                raise error_of(self._provider, response.status, response.headers, await response.read())
            finished = False
            async for delta in self._deltas(response, own=own):
                finished = finished or delta.finish is not None
                yield delta
            if not finished:
                raise StreamIncomplete(f"{self._provider}'s stream stopped without a finish reason", reached=True)

    async def _deltas(self, response: StreamedResponse, *, own: bool) -> AsyncIterator[Delta]:
        """The pieces, with the events themselves where the caller speaks this dialect (``own``); malformed
        events are left out, for the rest may well complete."""
        decoder, decode = SseDecoder(), self._wire.decoder()
        chunks = response.chunks()
        ended = False
        while not ended:
            chunk = await anext(chunks, b"")
            ended = not chunk
            try:
                events = decoder.end() if ended else decoder.feed(chunk)
            except ValueError as error:
                raise UpstreamError(f"{self._provider} sent an event that is too long", reached=True) from error
            for event in events:
                if event.data.strip() == b"[DONE]":
                    return
                raw = _object(event.data)
                if raw is None:
                    continue
                if "error" in raw and (event.name == "error" or not raw.get("choices")):
                    raise event_error(self._provider, raw)
                deltas = decode(raw)
                for delta in _with_event(deltas, self._wire.dialect, raw) if own else deltas:
                    yield delta
                if raw.get("type") == "message_stop":
                    return


def _with_event(deltas: list[Delta], dialect: str, raw: dict[str, Any]) -> list[Delta]:
    """The first piece carries the event itself; an event that says nothing to us is a piece all the same."""
    first, *rest = deltas or [Delta()]
    covered = Native(dialect, None)
    return [
        structs.replace(first, native=Native(dialect, raw)),
        *(structs.replace(delta, native=covered) for delta in rest),
    ]


def _object(data: bytes) -> dict[str, Any] | None:
    try:
        raw = msgspec.json.decode(data)
    except msgspec.DecodeError:
        return None
    return raw if isinstance(raw, dict) else None


def _headers(own: Mapping[str, str], accept: str) -> dict[str, str]:
    return {"content-type": "application/json", "accept": accept, "user-agent": "gnanam-ai-gateway", **own}
