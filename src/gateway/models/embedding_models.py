"""Embedding models: texts (or token ids) in, one vector each out."""

from __future__ import annotations

from typing import Any, Literal, Protocol

from msgspec import Struct, field

from gateway.models.llm_models import Usage


class EmbedRequest(Struct, frozen=True):
    """What is asked. Each input is a text or a tuple of token ids; ``None`` means the provider's default."""

    model: str
    inputs: tuple[str | tuple[int, ...], ...]
    encoding: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    user: str = ""
    extra: dict[str, Any] = field(default_factory=dict)


class Embeddings(Struct, frozen=True):
    """One vector for each input, in order: numbers, or base64 of little-endian 32-bit floats, as the
    provider wrote them."""

    vectors: tuple[str | list[float], ...]
    model: str
    usage: Usage
    #: Tokens of each input, where the model tells them apart.
    counts: tuple[int, ...] = ()


class EmbeddingModel(Protocol):
    """The port: a deployment that can embed. Errors are ``errors.UpstreamError``s."""

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """A vector for each input."""
        ...
