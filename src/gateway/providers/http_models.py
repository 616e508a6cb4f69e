"""Language models behind HTTP: a wire and a transport make the ``LanguageModel`` port."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from gateway.errors import UpstreamAccountRefused, UpstreamMalformed, UpstreamRejected
from gateway.models.call_signatures import NAME as SIGNATURE
from gateway.models.embedding_models import Embeddings, EmbedRequest
from gateway.models.llm_models import Chat, Delta, Reply
from gateway.providers import anthropic_wire, bedrock_wire, embeddings_wire, gemini_wire, openai_wire
from gateway.providers.carrying import is_forced
from gateway.providers.endpoint_client import EndpointClient
from gateway.providers.endpoints import Endpoint
from gateway.providers.framing import AwsFrames, Frames, SseFrames
from gateway.providers.http_stream import HttpStream
from gateway.providers.openai_blocks import OpenAIFrames
from gateway.providers.openai_calls import Calls
from gateway.providers.openai_whole import relayed
from gateway.providers.token_counters import Counter
from gateway.providers.transport import StreamedResponse, Transport
from gateway.registry.catalogue import Timeouts


class Wire(Protocol):
    """A dialect. ``takes_all`` says that a caller's body of this dialect goes as it stands."""

    dialect: str
    takes_all: bool

    def encode(self, chat: Chat, *, stream: bool) -> tuple[bytes, tuple[str, ...]]: ...

    def decode_reply(self, content: bytes, chat: Chat | None = None) -> Reply: ...

    def decoder(self, chat: Chat | None = None) -> Callable[[dict[str, Any]], list[Delta]]: ...

    def frames(self, chat: Chat) -> Frames: ...


class OpenAIWire:
    """OpenAI's dialect for one upstream model."""

    dialect = "openai"
    takes_all = True

    def __init__(self, upstream_model: str, *, official: bool, cache_key: bool = False) -> None:
        self._model = upstream_model
        self._official = official
        self._cache_key = cache_key

    def encode(self, chat: Chat, *, stream: bool) -> tuple[bytes, tuple[str, ...]]:
        official, cache_key = self._official, self._cache_key
        return openai_wire.encode(chat, self._model, stream=stream, official=official, cache_key=cache_key)

    def decode_reply(self, content: bytes, chat: Chat | None = None) -> Reply:
        if chat is not None and chat.relay and chat.dialect == "openai":
            relay = relayed(content, chat.model)
            if relay is not None:
                return relay
        return openai_wire.decode_reply(content)

    def decoder(self, _chat: Chat | None = None) -> Callable[[dict[str, Any]], list[Delta]]:
        calls = Calls()
        return lambda raw: openai_wire.decode_chunk(raw, calls)

    def frames(self, chat: Chat) -> Frames:
        return OpenAIFrames(chat.model) if chat.relay and chat.dialect == "openai" else SseFrames()


class AnthropicWire:
    """Anthropic's dialect for one upstream model."""

    dialect = "anthropic"
    takes_all = True

    def __init__(self, upstream_model: str, max_tokens: int) -> None:
        self._model = upstream_model
        self._max_tokens = max_tokens

    def encode(self, chat: Chat, *, stream: bool) -> tuple[bytes, tuple[str, ...]]:
        return anthropic_wire.encode(chat, self._model, stream=stream, max_tokens=self._max_tokens)

    def decode_reply(self, content: bytes, chat: Chat | None = None) -> Reply:
        return anthropic_wire.decode_reply(content, forced=is_forced(chat))

    def decoder(self, chat: Chat | None = None) -> Callable[[dict[str, Any]], list[Delta]]:
        return anthropic_wire.StreamDecoder(forced=is_forced(chat)).decode

    def frames(self, _chat: Chat) -> Frames:
        return SseFrames()


class GeminiWire:
    """Google's generateContent; the model's name is the endpoint's."""

    dialect = "gemini"
    takes_all = False

    def __init__(self, *, signed: bool = False) -> None:
        self._signed = signed

    def encode(self, chat: Chat, *, stream: bool) -> tuple[bytes, tuple[str, ...]]:
        return gemini_wire.encode(chat, stream=stream, signed=self._signed)

    def decode_reply(self, content: bytes, _chat: Chat | None = None) -> Reply:
        return gemini_wire.decode_reply(content)

    def decoder(self, _chat: Chat | None = None) -> Callable[[dict[str, Any]], list[Delta]]:
        return gemini_wire.StreamDecoder().decode

    def frames(self, _chat: Chat) -> Frames:
        return SseFrames()


class BedrockWire:
    """Bedrock's Converse; the model's name is the endpoint's."""

    dialect = "bedrock"
    takes_all = False

    def __init__(self, *, native_schema: bool = False) -> None:
        self._native_schema = native_schema

    def encode(self, chat: Chat, *, stream: bool) -> tuple[bytes, tuple[str, ...]]:
        return bedrock_wire.encode(chat, native_schema=self._native_schema)

    def decode_reply(self, content: bytes, chat: Chat | None = None) -> Reply:
        return bedrock_wire.decode_reply(content, forced=is_forced(chat))

    def decoder(self, chat: Chat | None = None) -> Callable[[dict[str, Any]], list[Delta]]:
        decoder = bedrock_wire.StreamDecoder(forced=is_forced(chat))
        return lambda raw: decoder.decode(raw["event"], raw["payload"])

    def frames(self, _chat: Chat) -> Frames:
        return AwsFrames()


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
        proxy: str = "",
    ) -> None:
        self._provider = provider
        self._wire = wire
        self._client = EndpointClient(provider, endpoint, transport, timeouts, proxy)
        self._counter = counter
        if counter is not None:
            self._counting = EndpointClient(provider, counter.endpoint, transport, timeouts, proxy)

    def dropped(self, chat: Chat) -> tuple[str, ...]:
        """What of the chat this deployment cannot carry. Raises ``NotSupported`` for what it must refuse."""
        wire = self._wire
        own = wire.takes_all and chat.native is not None and chat.dialect == wire.dialect
        if own and SIGNATURE not in chat.unmapped and not chat.native_only:
            return ("thinking",) if "thinking" in chat.unmapped else ()  # it goes as it stands
        return wire.encode(chat, stream=False)[1]

    async def complete(self, chat: Chat) -> Reply:
        body, _ = self._wire.encode(chat, stream=False)
        content = await self._client.post(body, self._beside(chat) if chat.headers else None)
        try:
            return self._wire.decode_reply(content, chat)
        except RecursionError as error:
            raise UpstreamMalformed("the provider's answer is nested without end", reached=True) from error

    async def count_tokens(self, chat: Chat) -> int | None:
        """The provider's own count of the input; ``None`` where it offers none."""
        if self._counter is None:
            return None
        body = self._counter.encode(chat)
        if body is None:
            return None
        try:
            return self._counter.decode(await self._counting.post(body, self._beside(chat)))
        except (UpstreamRejected, UpstreamAccountRefused):
            if self._counter.optional:
                return None
            raise

    def stream(self, chat: Chat) -> HttpStream:
        """The pieces, with the events themselves where the caller speaks this dialect."""
        dialect = self._wire.dialect

        async def begin() -> StreamedResponse:
            body, _ = self._wire.encode(chat, stream=True)
            return await self._client.open(body, self._beside(chat) if chat.headers else None)

        return HttpStream(
            self._provider,
            begin,
            self._wire.frames(chat),
            self._wire.decoder(chat),
            own=dialect if chat.native is not None and chat.dialect == dialect else "",
            asked=chat.n,
        )

    def _beside(self, chat: Chat) -> dict[str, str] | None:
        """The caller's headers that this dialect knows."""
        return chat.headers if chat.headers and chat.dialect == self._wire.dialect else None


class HttpEmbeddings:
    """See ``models.embedding_models.EmbeddingModel``."""

    def __init__(
        self,
        provider: str,
        upstream_model: str,
        endpoint: Endpoint,
        transport: Transport,
        timeouts: Timeouts,
        proxy: str = "",
    ) -> None:
        self._model = upstream_model
        self._client = EndpointClient(provider, endpoint, transport, timeouts, proxy)

    async def embed(self, request: EmbedRequest) -> Embeddings:
        content = await self._client.post(embeddings_wire.encode(request, self._model))
        return embeddings_wire.decode(content, len(request.inputs))
