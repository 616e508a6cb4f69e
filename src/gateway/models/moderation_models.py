"""Moderation models: texts and images in, judgements of harm out."""

from __future__ import annotations

from typing import Any, Protocol

from msgspec import Struct


class ModerationRequest(Struct, frozen=True):
    """What is to be judged: a text, a list of texts, or a list of parts, as the caller wrote it."""

    model: str
    input: str | list[Any]


class Moderation(Struct, frozen=True):
    """The judgements as the provider wrote them, and the name of the model that made them."""

    body: dict[str, Any]
    model: str


class ModerationModel(Protocol):
    """The port: a deployment that can judge. Errors are ``errors.UpstreamError``s."""

    async def moderate(self, request: ModerationRequest) -> Moderation:
        """The judgements, one for each input."""
        ...
