"""Language models behind HTTP: a wire and a transport make the ``LanguageModel`` port."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Protocol

from msgspec import structs

from gateway.errors import StreamIncomplete, UpstreamError, UpstreamTimeout, UpstreamUnavailable
from gateway.models.call_signatures import NAME as SIGNATURE
from gateway.models.embedding_models import Embeddings, EmbedRequest
from gateway.models.llm_models import Chat, Delta, Native, Reply
from gateway.providers import anthropic_wire, bedrock_wire, embeddings_wire, gemini_wire, openai_wire
from gateway.providers.endpoint_client import EndpointClient
from gateway.providers.endpoints import Endpoint
from gateway.providers.framing import AwsFrames, Frames, SseFrames
from gateway.providers.openai_blocks import OpenAIFrames
from gateway.providers.openai_whole import relayed
from gateway.providers.token_counters import Counter
from gateway.providers.transport import StreamedResponse, Transport
from gateway.providers.upstream_errors import event_error
from gateway.registry.catalogue import Timeouts

_log = logging.getLogger(__name__)
#: Seconds for what may follow the finish reason.
_LAST_WORDS = 2.0


class Wire(Protocol):
    """A dialect. ``takes_all`` says that a caller's body of this dialect goes as it stands."""

    dialect: str
    takes_all: bool

    def encode(self, chat: Chat, *, stream: bool) -> tuple[bytes, tuple[str, ...]]: ...

    def decode_reply(self, content: bytes, chat: Chat | None = None) -> Reply: ...

    def decoder(self) -> Callable[[dict[str, Any]], list[Delta]]: ...

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

    def decoder(self) -> Callable[[dict[str, Any]], list[Delta]]:
        return openai_wire.decode_chunk

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

    def decode_reply(self, content: bytes, _chat: Chat | None = None) -> Reply:
        return anthropic_wire.decode_reply(content)

    def decoder(self) -> Callable[[dict[str, Any]], list[Delta]]:
        return anthropic_wire.StreamDecoder().decode

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

    def decoder(self) -> Callable[[dict[str, Any]], list[Delta]]:
        return gemini_wire.StreamDecoder().decode

    def frames(self, _chat: Chat) -> Frames:
        return SseFrames()


class BedrockWire:
    """Bedrock's Converse; the model's name is the endpoint's."""

    dialect = "bedrock"
    takes_all = False

    def encode(self, chat: Chat, *, stream: bool) -> tuple[bytes, tuple[str, ...]]:
        return bedrock_wire.encode(chat)

    def decode_reply(self, content: bytes, _chat: Chat | None = None) -> Reply:
        return bedrock_wire.decode_reply(content)

    def decoder(self) -> Callable[[dict[str, Any]], list[Delta]]:
        decoder = bedrock_wire.StreamDecoder()
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
        if own and SIGNATURE not in chat.unmapped:
            return ()  # it goes as it stands
        return wire.encode(chat, stream=False)[1]

    async def complete(self, chat: Chat) -> Reply:
        body, _ = self._wire.encode(chat, stream=False)
        content = await self._client.post(body, self._beside(chat))
        try:
            return self._wire.decode_reply(content, chat)
        except RecursionError as error:
            raise UpstreamError("the provider's answer is nested without end", reached=True) from error

    async def count_tokens(self, chat: Chat) -> int | None:
        """The provider's own count of the input; ``None`` where it offers none."""
        if self._counter is None:
            return None
        body = self._counter.encode(chat)
        return self._counter.decode(await self._counting.post(body, self._beside(chat)))

    async def stream(self, chat: Chat) -> AsyncIterator[Delta]:
        """The pieces, with the events themselves where the caller speaks this dialect.

        Malformed events are left out, for the rest may well complete. Once every choice has its finish
        reason the answer is whole: what is still to come (usage, the end mark) has ``_LAST_WORDS``.
        """
        body, _ = self._wire.encode(chat, stream=True)
        dialect = self._wire.dialect
        own = chat.native is not None and chat.dialect == dialect
        frames, decode = self._wire.frames(chat), self._wire.decoder()
        response = await self._client.open(body, self._beside(chat))
        progress = _Progress(chat.n)
        ended = False
        try:
            while not ended:
                for raw in await self._events(response, frames, progress):
                    if isinstance(raw, Delta):
                        if progress.note(raw):
                            response.hurry(_LAST_WORDS)
                        yield raw
                        continue
                    if raw.get("error") and not raw.get("choices"):
                        raise event_error(self._provider, raw)
                    deltas = self._decoded(decode, raw)
                    if deltas is None:
                        continue
                    for delta in _with_event(deltas, dialect, raw) if own else deltas:
                        if progress.note(delta):
                            response.hurry(_LAST_WORDS)
                        yield delta
                    if raw.get("type") == "message_stop":
                        frames.done = True
                        break
                ended = frames.done
        finally:
            response.close(ended=ended)
        if not progress.sound:
            raise StreamIncomplete(f"{self._provider}'s stream stopped without a finish reason", reached=True)

    def _beside(self, chat: Chat) -> dict[str, str] | None:
        """The caller's headers that this dialect knows."""
        return chat.headers if chat.headers and chat.dialect == self._wire.dialect else None

    async def _events(
        self, response: StreamedResponse, frames: Frames, progress: _Progress
    ) -> Sequence[dict[str, Any] | Delta]:
        """The next events; the last ones come with ``frames.done``."""
        try:
            chunk = await response.chunk()
            if chunk:
                return frames.feed(chunk)
            events = frames.end()
        except (UpstreamTimeout, UpstreamUnavailable):
            if not progress.whole:
                raise
            events = []  # the answer was whole; only its end was missing
        except ValueError as error:
            raise UpstreamError(f"{self._provider} sent an event that cannot be read", reached=True) from error
        frames.done = True
        return events

    def _decoded(self, decode: Callable[[dict[str, Any]], list[Delta]], raw: dict[str, Any]) -> list[Delta] | None:
        """The pieces of an event; ``None`` for one that is not of its dialect's shape."""
        try:
            return decode(raw)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            _log.warning("an event of %s cannot be read and is left out (%s)", self._provider, type(error).__name__)
            return None


class _Progress:
    """Which of the asked choices have their finish reason."""

    def __init__(self, asked: int) -> None:
        self._asked = asked
        self._begun: set[int] = set()
        self._finished: set[int] = set()

    @property
    def whole(self) -> bool:
        """Whether nothing can follow but usage and the end mark."""
        return len(self._finished) >= self._asked

    @property
    def sound(self) -> bool:
        """Whether every choice that has begun was brought to its end, and there was one."""
        return bool(self._finished) and self._begun <= self._finished

    def note(self, delta: Delta) -> bool:
        """One more piece; true where it makes the answer whole."""
        if delta.finish is not None:
            self._finished.add(delta.choice)
            return self.whole
        if self._asked > 1 and delta.says():
            self._begun.add(delta.choice)
        return False


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


def _with_event(deltas: list[Delta], dialect: str, raw: dict[str, Any]) -> list[Delta]:
    """The first piece carries the event itself; an event that says nothing to us is a piece all the same."""
    first, *rest = deltas or [Delta()]
    covered = Native(dialect, None)
    return [
        structs.replace(first, native=Native(dialect, raw)),
        *(structs.replace(delta, native=covered) for delta in rest),
    ]
