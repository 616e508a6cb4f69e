"""Language models behind HTTP: a wire and a transport make the ``LanguageModel`` port."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Protocol

from msgspec import Struct, structs

from gateway.errors import StreamIncomplete, UpstreamError
from gateway.models.embedding_models import Embeddings, EmbedRequest
from gateway.models.llm_models import Chat, Delta, Native, Reply
from gateway.providers import anthropic_wire, bedrock_wire, embeddings_wire, gemini_wire, openai_wire
from gateway.providers.endpoints import Endpoint
from gateway.providers.framing import AwsFrames, Frames, SseFrames
from gateway.providers.transport import StreamedResponse, Transport
from gateway.providers.upstream_errors import error_of, event_error
from gateway.registry.catalogue import Timeouts


class Wire(Protocol):
    """A dialect."""

    dialect: str

    def encode(self, chat: Chat, *, stream: bool) -> tuple[bytes, tuple[str, ...]]: ...

    def decode_reply(self, content: bytes) -> Reply: ...

    def decoder(self) -> Callable[[dict[str, Any]], list[Delta]]: ...

    def frames(self) -> Frames: ...


class OpenAIWire:
    """OpenAI's dialect for one upstream model."""

    dialect = "openai"

    def __init__(self, upstream_model: str, *, official: bool, cache_key: bool = False) -> None:
        self._model = upstream_model
        self._official = official
        self._cache_key = cache_key

    def encode(self, chat: Chat, *, stream: bool) -> tuple[bytes, tuple[str, ...]]:
        official, cache_key = self._official, self._cache_key
        return openai_wire.encode(chat, self._model, stream=stream, official=official, cache_key=cache_key)

    def decode_reply(self, content: bytes) -> Reply:
        return openai_wire.decode_reply(content)

    def decoder(self) -> Callable[[dict[str, Any]], list[Delta]]:
        return openai_wire.decode_chunk

    def frames(self) -> Frames:
        return SseFrames()


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

    def frames(self) -> Frames:
        return SseFrames()


class GeminiWire:
    """Google's generateContent; the model's name is the endpoint's."""

    dialect = "gemini"

    def encode(self, chat: Chat, *, stream: bool) -> tuple[bytes, tuple[str, ...]]:
        return gemini_wire.encode(chat, stream=stream)

    def decode_reply(self, content: bytes) -> Reply:
        return gemini_wire.decode_reply(content)

    def decoder(self) -> Callable[[dict[str, Any]], list[Delta]]:
        return gemini_wire.StreamDecoder().decode

    def frames(self) -> Frames:
        return SseFrames()


class BedrockWire:
    """Bedrock's Converse; the model's name is the endpoint's."""

    dialect = "bedrock"

    def encode(self, chat: Chat, *, stream: bool) -> tuple[bytes, tuple[str, ...]]:
        return bedrock_wire.encode(chat)

    def decode_reply(self, content: bytes) -> Reply:
        return bedrock_wire.decode_reply(content)

    def decoder(self) -> Callable[[dict[str, Any]], list[Delta]]:
        decoder = bedrock_wire.StreamDecoder()
        return lambda raw: decoder.decode(raw["event"], raw["payload"])

    def frames(self) -> Frames:
        return AwsFrames()


class Counter(Struct, frozen=True):
    """Where a provider counts tokens, in Anthropic's dialect, and the name that it knows the model by."""

    endpoint: Endpoint
    upstream_model: str


class HttpModel:
    """See ``models.llm_models.LanguageModel``."""

    def __init__(
        self,
        provider: str,
        wire: Wire,
        endpoint: Endpoint,
        transport: Transport,
        timeouts: Timeouts,
        counter: Counter | None = None,
    ) -> None:
        self._counter = counter
        self._provider = provider
        self._wire = wire
        self._endpoint = endpoint
        self._transport = transport
        self._timeouts = timeouts

    def dropped(self, chat: Chat) -> tuple[str, ...]:
        """What of the chat this deployment cannot carry. Raises ``NotSupported`` for what it must refuse."""
        if chat.native is not None and chat.dialect == self._wire.dialect:
            return ()  # it goes as it stands
        return self._wire.encode(chat, stream=False)[1]

    async def complete(self, chat: Chat) -> Reply:
        body, _ = self._wire.encode(chat, stream=False)
        address = await self._endpoint.address(body, stream=False)
        response = await self._transport.post(
            address.url, body, _headers(address.headers, "application/json"), self._timeouts
        )
        if response.status != 200:
            raise error_of(self._provider, response.status, response.headers, response.body)
        return self._wire.decode_reply(response.body)

    async def count_tokens(self, chat: Chat) -> int | None:
        """The provider's own count of the input; ``None`` where it offers none."""
        if self._counter is None:
            return None
        body = anthropic_wire.encode_count(chat, self._counter.upstream_model)
        address = await self._counter.endpoint.address(body, stream=False)
        headers = _headers(address.headers, "application/json")
        response = await self._transport.post(address.url, body, headers, self._timeouts)
        if response.status != 200:
            raise error_of(self._provider, response.status, response.headers, response.body)
        return anthropic_wire.decode_count(response.body)

    async def stream(self, chat: Chat) -> AsyncIterator[Delta]:
        body, _ = self._wire.encode(chat, stream=True)
        address = await self._endpoint.address(body, stream=True)
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
        frames, decode = self._wire.frames(), self._wire.decoder()
        chunks = response.chunks()
        ended = False
        while not ended:
            chunk = await anext(chunks, b"")
            ended = not chunk
            try:
                events = frames.end() if ended else frames.feed(chunk)
            except ValueError as error:
                raise UpstreamError(f"{self._provider} sent an event that cannot be read", reached=True) from error
            for raw in events:
                if raw.get("error") and not raw.get("choices"):
                    raise event_error(self._provider, raw)
                deltas = decode(raw)
                for delta in _with_event(deltas, self._wire.dialect, raw) if own else deltas:
                    yield delta
                if raw.get("type") == "message_stop":
                    return
            if frames.done:
                return


class HttpEmbeddings:
    """See ``models.embedding_models.EmbeddingModel``."""

    def __init__(
        self, provider: str, upstream_model: str, endpoint: Endpoint, transport: Transport, timeouts: Timeouts
    ) -> None:
        self._provider = provider
        self._model = upstream_model
        self._endpoint = endpoint
        self._transport = transport
        self._timeouts = timeouts

    async def embed(self, request: EmbedRequest) -> Embeddings:
        body = embeddings_wire.encode(request, self._model)
        address = await self._endpoint.address(body, stream=False)
        headers = _headers(address.headers, "application/json")
        response = await self._transport.post(address.url, body, headers, self._timeouts)
        if response.status != 200:
            raise error_of(self._provider, response.status, response.headers, response.body)
        return embeddings_wire.decode(response.body, len(request.inputs))


def _with_event(deltas: list[Delta], dialect: str, raw: dict[str, Any]) -> list[Delta]:
    """The first piece carries the event itself; an event that says nothing to us is a piece all the same."""
    first, *rest = deltas or [Delta()]
    covered = Native(dialect, None)
    return [
        structs.replace(first, native=Native(dialect, raw)),
        *(structs.replace(delta, native=covered) for delta in rest),
    ]


def _headers(own: Mapping[str, str], accept: str) -> dict[str, str]:
    return {"content-type": "application/json", "accept": accept, "user-agent": "gnanam-ai-gateway", **own}
