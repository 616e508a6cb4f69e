"""Usage in OpenAI's dialect where it is plain; what is not is read by ``usage_counts``' rules."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from gateway.models.llm_models import Usage

#: Counts as they should be; any other is for ``usage_counts`` to judge, and so are sound and images.
_Count = Annotated[int, Meta(gt=0, le=10**9)]
_Part = Annotated[int, Meta(ge=0, le=10**9)]


class _InputDetails(Struct):
    cached_tokens: _Part | None = None
    audio_tokens: Literal[0] | None = None
    image_tokens: Literal[0] | None = None


class _OutputDetails(Struct):
    reasoning_tokens: _Part | None = None
    audio_tokens: Literal[0] | None = None
    image_tokens: Literal[0] | None = None


class PlainUsage(Struct):
    """Counts as they nearly always are."""

    prompt_tokens: _Count
    completion_tokens: _Count
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None


def usage_of(told: PlainUsage, tier: str | None) -> Usage:
    """The same as ``openai_wire.decode_usage`` makes of both."""
    inputs, outputs = told.prompt_tokens_details, told.completion_tokens_details
    return Usage(
        told.prompt_tokens,
        told.completion_tokens,
        (inputs.cached_tokens or 0) if inputs is not None else 0,
        0,
        (outputs.reasoning_tokens or 0) if outputs is not None else 0,
        "provider",
        tier=tier or "",
    )
