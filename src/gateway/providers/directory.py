"""From a row of the catalogue to something that answers. The one place that knows which type is which wire."""

from __future__ import annotations

from typing import Protocol

from gateway.errors import NotBuilt, ProviderNotConfigured
from gateway.models.custom_models import load_language_model
from gateway.models.llm_models import Chat, LanguageModel
from gateway.providers import anthropic_wire
from gateway.providers.http_models import Address, AnthropicWire, HttpModel, OpenAIWire
from gateway.providers.local_llm import LocalServerNote
from gateway.providers.transport import Transport
from gateway.registry.catalogue import ModelSpec, ProviderSpec

_DEFAULT_MAX_TOKENS = 4096


class Deployed(LanguageModel, Protocol):
    """A language model that can say beforehand what it cannot carry."""

    def dropped(self, chat: Chat) -> tuple[str, ...]: ...


class ProviderDirectory:
    """Language models by catalogue row; made once for each and kept. Belongs to one event loop."""

    def __init__(self, transport: Transport, local: LocalServerNote) -> None:
        self._transport = transport
        self._local = local
        self._made: dict[tuple[str, str], tuple[ProviderSpec, ModelSpec, Deployed]] = {}

    def language_model(self, provider: ProviderSpec, model: ModelSpec) -> Deployed:
        """What answers for ``model`` at ``provider``. ``ProviderNotConfigured`` without its credential."""
        if not provider.configured:
            raise ProviderNotConfigured(
                f"the provider {provider.name!r} of {model.name!r} has no credential here",
                mend=f"set {' and '.join(provider.missing)} for the gateway, or use another model such as smollm2",
                provider=provider.name,
                missing=list(provider.missing),
            )
        kept = self._made.get((provider.name, model.name))
        if kept is not None and kept[0] is provider and kept[1] is model:
            return kept[2]
        made = self._make(provider, model)
        self._made[provider.name, model.name] = (provider, model, made)
        return made

    def _make(self, provider: ProviderSpec, model: ModelSpec) -> Deployed:
        upstream = model.upstream_model or model.name
        if provider.type in ("openai", "openai_compatible"):
            wire = OpenAIWire(upstream, official=provider.type == "openai")
            bearer = {"authorization": f"Bearer {provider.api_key}"} if provider.api_key else {}
            address = Address(f"{provider.base_url}/chat/completions", {**bearer, **provider.headers})
            return HttpModel(provider.name, wire, lambda: address, self._transport, provider.timeouts)
        if provider.type == "anthropic":
            headers = {"x-api-key": provider.api_key, "anthropic-version": anthropic_wire.VERSION, **provider.headers}
            address = Address(f"{provider.base_url}/v1/messages", headers)
            limit = model.max_output_tokens or _DEFAULT_MAX_TOKENS
            return HttpModel(
                provider.name, AnthropicWire(upstream, limit), lambda: address, self._transport, provider.timeouts
            )
        if provider.type == "llama_cpp":
            wire = OpenAIWire(upstream, official=False)
            return HttpModel(provider.name, wire, self._local.address, self._transport, provider.timeouts)
        if provider.type == "python":
            return _Custom(load_language_model(upstream, model.options))
        raise NotBuilt(f"a provider of type {provider.type!r} serves no language models here")


class _Custom:
    """A language model of another package: it carries all, or says so itself."""

    def __init__(self, model: LanguageModel) -> None:
        self.complete = model.complete
        self.stream = model.stream

    def dropped(self, _chat: Chat) -> tuple[str, ...]:
        return ()
