"""From a row of the catalogue to something that answers. The one place that knows which type is which wire."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol
from urllib.parse import quote

from gateway.clock import Clock
from gateway.errors import NotBuilt, NotSupported, ProviderNotConfigured
from gateway.models.batch_models import BatchApi
from gateway.models.custom_models import load_language_model
from gateway.models.embedding_models import EmbeddingModel
from gateway.models.llm_models import Chat, LanguageModel
from gateway.models.moderation_models import ModerationModel
from gateway.providers import anthropic_wire
from gateway.providers.anthropic_batches import AnthropicBatches
from gateway.providers.completions_wire import CompletionsWire
from gateway.providers.embedded_wire import EmbeddedCompletionsWire, EmbeddedWire
from gateway.providers.endpoint_client import EndpointClient
from gateway.providers.endpoints import BedrockEndpoint, Endpoint, FixedEndpoint, GeminiEndpoint, MovingEndpoint
from gateway.providers.google_token import GoogleToken
from gateway.providers.http_models import (
    AnthropicWire,
    BedrockWire,
    GeminiWire,
    HttpEmbeddings,
    HttpModel,
    OpenAIWire,
    Wire,
)
from gateway.providers.json_client import JsonClient
from gateway.providers.local_embedding import LocalEmbeddings
from gateway.providers.local_llm import CONTEXT, LocalServerNote
from gateway.providers.moderations import HttpModerations
from gateway.providers.openai_batches import OpenAIBatches
from gateway.providers.sigv4 import Credentials
from gateway.providers.token_counters import (
    Counter,
    anthropic_counter,
    bedrock_counted,
    bedrock_counter,
    google_counter,
    openai_counter,
)
from gateway.providers.transport import Transport
from gateway.registry.catalogue import ModelSpec, ProviderSpec

_DEFAULT_MAX_TOKENS = 4096
#: The version of Azure's API that is asked for unless the row names another (the newest that is not a preview).
_AZURE_VERSION = "2024-10-21"


class Deployed(LanguageModel, Protocol):
    """A language model that can say beforehand what it cannot carry."""

    def dropped(self, chat: Chat) -> tuple[str, ...]: ...

    async def count_tokens(self, chat: Chat) -> int | None: ...


class ProviderDirectory:
    """Language models by catalogue row; made once for each and kept. Belongs to one event loop."""

    def __init__(self, transport: Transport, local: LocalServerNote, clock: Clock) -> None:
        self._transport = transport
        self._local = local
        self._clock = clock
        self._embedded_embeddings = LocalEmbeddings()
        self._google: dict[tuple[str, str], GoogleToken] = {}
        self._made: dict[tuple[str, str], tuple[ProviderSpec, ModelSpec, Deployed]] = {}

    def language_model(self, provider: ProviderSpec, model: ModelSpec) -> Deployed:
        """What answers for ``model`` at ``provider``. ``ProviderNotConfigured`` without its credential."""
        _check_configured(provider, model)
        kept = self._made.get((provider.name, model.name))
        if kept is not None and kept[0] is provider and kept[1] is model:
            return kept[2]
        made = self._make(provider, model)
        self._made[provider.name, model.name] = (provider, model, made)
        return made

    def completion_model(self, provider: ProviderSpec, model: ModelSpec) -> Deployed:
        """What goes on with a text (``COMPLETIONS``) for ``model`` at ``provider``; ``NotSupported`` where its API has
        no such thing."""
        _check_configured(provider, model)
        upstream = model.upstream_model or model.name
        wire: Wire = CompletionsWire(upstream)
        endpoint: Endpoint
        if provider.type in ("openai", "openai_compatible"):
            endpoint = FixedEndpoint(f"{provider.base_url}/completions", _bearer(provider))
        elif provider.type == "azure_openai":
            endpoint = self._azure_endpoint(provider, upstream, "completions")
        elif provider.type == "llama_cpp":
            wire, endpoint = EmbeddedCompletionsWire(upstream), MovingEndpoint(self._local.completing)
        else:
            raise NotSupported(
                f"the provider of {model.name} has no older completions",
                mend="use /v1/chat/completions, or a model of an OpenAI-style server that has /v1/completions",
                param="model",
            )
        return HttpModel(provider.name, wire, endpoint, self._transport, provider.timeouts, proxy=provider.proxy)

    def embedding_model(self, provider: ProviderSpec, model: ModelSpec) -> EmbeddingModel:
        """What embeds for ``model`` at ``provider``; ``NotBuilt`` where its API has no such thing."""
        _check_configured(provider, model)
        upstream = model.upstream_model or model.name
        if provider.type == "local_embedding":
            return self._embedded_embeddings.model(upstream)
        if provider.type in ("openai", "openai_compatible"):
            endpoint = FixedEndpoint(f"{provider.base_url}/embeddings", _bearer(provider))
        elif provider.type == "azure_openai":
            endpoint = self._azure_endpoint(provider, upstream, "embeddings")
        elif provider.type == "gemini":  # by Google's own layer of OpenAI's dialect
            headers = {"authorization": f"Bearer {provider.api_key}", **provider.headers}
            endpoint = FixedEndpoint(f"{provider.base_url}/openai/embeddings", headers)
        else:
            raise NotBuilt(f"a provider of type {provider.type!r} serves no embeddings here")
        return HttpEmbeddings(provider.name, upstream, endpoint, self._transport, provider.timeouts, provider.proxy)

    def moderation_model(self, provider: ProviderSpec, model: ModelSpec) -> ModerationModel:
        """What judges for ``model`` at ``provider``; ``NotBuilt`` where its API has no such thing."""
        _check_configured(provider, model)
        if provider.type not in ("openai", "openai_compatible"):
            raise NotBuilt(f"a provider of type {provider.type!r} serves no moderations here")
        endpoint = FixedEndpoint(f"{provider.base_url}/moderations", _bearer(provider))
        upstream = model.upstream_model or model.name
        client = EndpointClient(provider.name, endpoint, self._transport, provider.timeouts, provider.proxy)
        return HttpModerations(upstream, client)

    def batch_api(self, provider: ProviderSpec, model: ModelSpec) -> BatchApi:
        """The provider's own batch API for this model; ``NotBuilt`` where none is known."""
        _check_configured(provider, model)
        if provider.type == "openai":
            return OpenAIBatches(
                self._openai(provider, model)[0], JsonClient(provider, _bearer(provider), self._transport)
            )
        if provider.type == "anthropic":
            client = JsonClient(provider, _anthropic_headers(provider), self._transport)
            return AnthropicBatches(self._anthropic(provider, model)[0], client, provider.base_url)
        raise NotBuilt(f"no batch API is known of a provider of type {provider.type!r}")

    def _make(self, provider: ProviderSpec, model: ModelSpec) -> Deployed:
        if provider.type == "python":
            return _Custom(load_language_model(model.upstream_model or model.name, model.options))
        makers: Mapping[str, Callable[[ProviderSpec, ModelSpec], tuple[Wire, Endpoint]]] = {
            "openai": self._openai,
            "openai_compatible": self._openai,
            "azure_openai": self._azure,
            "anthropic": self._anthropic,
            "gemini": self._gemini,
            "vertex": self._gemini,
            "bedrock": self._bedrock,
            "llama_cpp": self._embedded,
        }
        make = makers.get(provider.type)
        if make is None:
            raise NotBuilt(f"a provider of type {provider.type!r} serves no language models here")
        wire, endpoint = make(provider, model)
        counter = self._counter(provider, model)
        return HttpModel(provider.name, wire, endpoint, self._transport, provider.timeouts, counter, provider.proxy)

    def _counter(self, provider: ProviderSpec, model: ModelSpec) -> Counter | None:
        upstream = model.upstream_model or model.name
        if provider.type == "anthropic":
            url = f"{provider.base_url}/v1/messages/count_tokens"
            return anthropic_counter(FixedEndpoint(url, _anthropic_headers(provider)), upstream)
        if provider.type == "llama_cpp":
            return anthropic_counter(MovingEndpoint(self._local.counting), upstream)
        if provider.type in ("gemini", "vertex"):
            endpoint = self._gemini_endpoint(provider, upstream, "countTokens")
            name = upstream if provider.type == "gemini" else ""
            return google_counter(endpoint, name, signed=_is_signed(upstream))
        if provider.type == "bedrock":
            counting = self._bedrock_endpoint(provider, bedrock_counted(upstream), "count-tokens")
            return bedrock_counter(counting, native_schema=_has_schemas(model))
        if provider.type == "openai":
            url = f"{provider.base_url}/responses/input_tokens"
            return openai_counter(FixedEndpoint(url, _bearer(provider)), upstream)
        return None

    def _openai(self, provider: ProviderSpec, model: ModelSpec) -> tuple[Wire, Endpoint]:
        official = provider.type == "openai"
        wire = OpenAIWire(model.upstream_model or model.name, official=official, cache_key=official)
        return wire, FixedEndpoint(f"{provider.base_url}/chat/completions", _bearer(provider))

    def _azure(self, provider: ProviderSpec, model: ModelSpec) -> tuple[Wire, Endpoint]:
        deployment = model.upstream_model or model.name
        wire = OpenAIWire(deployment, official=True)
        return wire, self._azure_endpoint(provider, deployment, "chat/completions")

    @staticmethod
    def _azure_endpoint(provider: ProviderSpec, deployment: str, operation: str) -> FixedEndpoint:
        version = str(provider.options.get("api_version") or _AZURE_VERSION)
        path = f"/openai/deployments/{quote(deployment, safe='')}/{operation}?api-version={quote(version)}"
        return FixedEndpoint(provider.base_url + path, {"api-key": provider.api_key, **provider.headers})

    def _anthropic(self, provider: ProviderSpec, model: ModelSpec) -> tuple[Wire, Endpoint]:
        wire = AnthropicWire(model.upstream_model or model.name, model.max_output_tokens or _DEFAULT_MAX_TOKENS)
        return wire, FixedEndpoint(f"{provider.base_url}/v1/messages", _anthropic_headers(provider))

    def _gemini(self, provider: ProviderSpec, model: ModelSpec) -> tuple[Wire, Endpoint]:
        name = model.upstream_model or model.name
        return GeminiWire(signed=_is_signed(name)), self._gemini_endpoint(provider, name)

    def _gemini_endpoint(self, provider: ProviderSpec, name: str, method: str = "") -> GeminiEndpoint:
        if provider.type == "gemini":
            headers = {"x-goog-api-key": provider.api_key, **provider.headers}
            return GeminiEndpoint(provider.base_url, name, headers, method=method)
        path = str(provider.options["credentials_file"])
        made = GoogleToken(path, self._transport, self._clock, provider.proxy)
        tokens = self._google.setdefault((path, provider.proxy), made)
        return GeminiEndpoint(provider.base_url, name, provider.headers, tokens, method=method)

    def _bedrock(self, provider: ProviderSpec, model: ModelSpec) -> tuple[Wire, Endpoint]:
        wire = BedrockWire(native_schema=_has_schemas(model))
        return wire, self._bedrock_endpoint(provider, model.upstream_model or model.name)

    def _bedrock_endpoint(self, provider: ProviderSpec, model: str, operation: str = "") -> BedrockEndpoint:
        options = provider.options
        key = str(options.get("access_key_id") or "")
        session = str(options.get("session_token") or "")
        return BedrockEndpoint(
            provider.base_url,
            model,
            str(options["region"]),
            self._clock,
            credentials=Credentials(key, provider.api_key, session) if key else None,
            bearer="" if key else provider.api_key,
            headers=provider.headers,
            operation=operation,
        )

    def _embedded(self, _provider: ProviderSpec, model: ModelSpec) -> tuple[Wire, Endpoint]:
        most = model.max_output_tokens or CONTEXT // 2
        return EmbeddedWire(model.upstream_model or model.name, most), MovingEndpoint(self._local.address)


def _check_configured(provider: ProviderSpec, model: ModelSpec) -> None:
    if not provider.configured:
        raise ProviderNotConfigured(
            f"the provider {provider.name!r} of {model.name!r} has no credential here",
            mend=f"set {' and '.join(provider.missing)} for the gateway, or use another model such as smollm2",
            provider=provider.name,
            missing=list(provider.missing),
        )


def _has_schemas(model: ModelSpec) -> bool:
    """Whether a model of Bedrock's holds answers to a schema by itself."""
    return model.options.get("structured_output") == "native"


def _is_signed(model: str) -> bool:
    """Whether a model of Google's refuses tool calls without their thought signatures; see ``gemini_wire.encode``."""
    return model.startswith("gemini-3")


def _anthropic_headers(provider: ProviderSpec) -> dict[str, str]:
    return {"x-api-key": provider.api_key, "anthropic-version": anthropic_wire.VERSION, **provider.headers}


def _bearer(provider: ProviderSpec) -> dict[str, str]:
    return {**({"authorization": f"Bearer {provider.api_key}"} if provider.api_key else {}), **provider.headers}


class _Custom:
    """A language model of another package: it carries all, unless it has a ``dropped`` of its own."""

    def __init__(self, model: LanguageModel) -> None:
        self.complete = model.complete
        self.stream = model.stream
        self._dropped = getattr(model, "dropped", None)
        self._count = getattr(model, "count_tokens", None)

    def dropped(self, chat: Chat) -> tuple[str, ...]:
        return () if self._dropped is None else tuple(self._dropped(chat))

    async def count_tokens(self, chat: Chat) -> int | None:
        return None if self._count is None else int(await self._count(chat))
