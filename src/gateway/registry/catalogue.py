"""The catalogue: what ``config/`` says there is, frozen and named by the hash of its files (its epoch)."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct, field

from gateway.errors import ConfigurationInvalid, ModelNotFound
from gateway.models.bound import Bound
from gateway.models.guard import GuardSpec
from gateway.models.optimise import Optimise
from gateway.models.route import Route
from gateway.models.semantic import SemanticRule

ModelType = Literal[
    "llm", "embedding", "moderation",
    "classification", "regression", "anomaly_detection", "time_series", "clustering", "risk_module",
]  # fmt: skip
#: Types that a provider's API serves, beside those of our own machine learning.
API_MODEL_TYPES = frozenset({"llm", "embedding", "moderation"})
MODEL_TYPES: tuple[str, ...] = ModelType.__args__  # type: ignore[attr-defined]
#: Provider types that work, with what they are.
PROVIDER_TYPES: Mapping[str, str] = {
    "openai": "the OpenAI API",
    "anthropic": "the Anthropic API",
    "azure_openai": "Azure OpenAI: upstream_model names the deployment",
    "gemini": "Google's Gemini API (generateContent)",
    "vertex": "Gemini on Vertex AI, by a service account",
    "bedrock": "AWS Bedrock's Converse API",
    "openai_compatible": "a server with OpenAI's chat completions: vLLM, Ollama, llama.cpp, …",
    "llama_cpp": "the embedded language model",
    "local_embedding": "the embedded embedding model",
    "local": "our own predictive models",
    "python": "models of an installed Python package (entry points)",
}
LLM_PROVIDER_TYPES = frozenset(PROVIDER_TYPES) - {"local", "local_embedding"}
EMBEDDING_PROVIDER_TYPES = LLM_PROVIDER_TYPES | {"local_embedding"}
ML_PROVIDER_TYPES = frozenset({"local", "python"})
#: Provider types whose own batch API is used for batches.
BATCH_PROVIDER_TYPES = frozenset({"openai", "anthropic"})
BatchWay = Literal["auto", "provider", "inline"]


class Timeouts(Struct, frozen=True):
    """Seconds: to connect, to the first byte, between bytes, and in all; ``first_token`` is how long a
    stream may say nothing while another deployment could answer instead."""

    connect: float = 5.0
    first_byte: float = 60.0
    idle: float = 30.0
    total: float = 600.0
    first_token: float = 10.0

    def to_first_token(self, *, others_wait: bool) -> float:
        """Seconds to wait for a stream's first token."""
        return min(self.first_token, self.first_byte) if others_wait else self.first_byte


class ProviderSpec(Struct, frozen=True):
    """A row of ``providers.yaml``. ``missing`` names unset variables it needs: present, but not configured."""

    name: str
    type: str
    base_url: str = ""
    api_key: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    timeouts: Timeouts = Timeouts()
    max_attempts: int = 3
    missing: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    #: Whose public prices count, by the price book's name; the type's own where it is empty.
    prices: str = ""
    #: The HTTP proxy that its calls go through; empty: none.
    proxy: str = ""

    @property
    def price_list(self) -> str:
        """The price book's name for this provider."""
        return self.prices or self.type

    @property
    def configured(self) -> bool:
        """Whether it has all that a call needs."""
        return not self.missing


class ModelSpec(Struct, frozen=True):
    """A row of ``models.yaml``: a name that callers use, and what stands behind it.

    With a ``route`` it is no deployment itself; its provider is then that of the first one of the route.
    """

    name: str
    type: str
    provider: str
    upstream_model: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    alias: str | None = None
    #: Price cards of its own, or ``none``; see ``ledger.stated_prices``.
    price: dict[str, Any] | tuple[dict[str, Any], ...] | str | None = None
    context_window: int | None = None
    max_output_tokens: int | None = None
    fallbacks: tuple[str, ...] = ()
    #: Fallbacks of a class of error, by its code: instead of the others.
    fallbacks_on: dict[str, tuple[str, ...]] = field(default_factory=dict)
    route: Route | None = None
    #: How long an answer is kept for equal questions of the same tenant; 0: not at all.
    cache_seconds: int = 0
    #: How answers are kept for questions that are put otherwise; ``None``: not at all.
    semantic_cache: SemanticRule | None = None
    #: What is done to save tokens.
    optimise: Optimise | None = None
    #: How the input is bounded before a call: by its bytes, or by an exact count where there is one.
    count: Literal["bytes", "exact"] = "bytes"
    #: What a request and its answer pass through: the row's own or the default, and those of every model
    #: that a call may go on to.
    guards: tuple[GuardSpec, ...] = ()
    #: How good its answers are held to be, 0 to 1; ``None``: not declared.
    quality: float | None = None
    #: What it is declared to do, by the words of ``models.selection``; what is not declared is not assumed.
    capabilities: tuple[str, ...] = ()
    #: How requests of batches go: by the provider's batch API, each like any other call, or (``auto``) by the
    #: former where its price is known.
    batch: BatchWay = "auto"
    #: What becomes of a streamed answer whose client leaves: ended at once, or read to its end.
    on_disconnect: Literal["cancel", "drain"] = "cancel"
    #: What all callers together may ask of it by this name; ``None``: as much as they like.
    limits: Bound | None = None
    description: str = ""
    options: dict[str, Any] = field(default_factory=dict)


class Catalogue(Struct, frozen=True):
    """Everything configured, at one epoch."""

    epoch: str
    providers: dict[str, ProviderSpec]
    models: dict[str, ModelSpec]
    defaults: dict[str, str]
    workflows: tuple[dict[str, Any], ...] = ()

    def model(self, name: str) -> ModelSpec:
        """The model, or ``ModelNotFound`` that names near ones."""
        found = self.models.get(name)
        if found is None:
            near = difflib.get_close_matches(name[:100], self.models, n=3)
            raise ModelNotFound(
                "no model of that name is configured",
                mend=(f"did you mean {', '.join(near)}? " if near else "") + "GET /models lists all",
                param="model",
            )
        return found

    def provider(self, name: str) -> ProviderSpec:
        """The provider of that name; models only name providers that exist."""
        found = self.providers.get(name)
        if found is None:
            raise ConfigurationInvalid(f"no provider {name!r} is configured")
        return found

    def default_model(self, task_type: str) -> str | None:
        """The default model of a task type: its own name in ``defaults``, or ``llm`` for language."""
        if task_type in self.defaults:
            return self.defaults[task_type]
        return self.defaults.get("llm") if task_type.startswith("llm") else None
