"""Whole answers of OpenAI's dialect that can go on as they came: read for what the ledger needs, not rewritten.

As ``openai_blocks`` does for events: the bytes are the answer, and only the model's name in them becomes the
caller's. An answer that is anything more than plain (tool calls, no usage, a field of another type than it
should be, counts that cannot be, sound, a name that is not there exactly once) is read in the ordinary way.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from gateway.models.llm_models import Native, Reply, Usage
from gateway.providers.model_names import renamed


class _Message(Struct):
    role: str = "assistant"
    content: str | None = None
    refusal: str | None = None
    tool_calls: None = None
    function_call: None = None


class _Choice(Struct):
    message: _Message
    index: int = 0
    finish_reason: str | None = None


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


class _Usage(Struct):
    prompt_tokens: _Count
    completion_tokens: _Count
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None


class _Answer(Struct):
    id: str
    object: str
    created: int
    model: str
    choices: list[_Choice]
    usage: _Usage
    error: None = None


_ANSWER = msgspec.json.Decoder(_Answer)


def relayed(content: bytes, asked: str) -> Reply | None:
    """The answer for a caller who knows the model as ``asked``, its choices unread; ``None`` where it has to be
    read in the ordinary way."""
    try:
        read = _ANSWER.decode(content)
        if not content.isascii():
            content.decode()
    except (ValueError, RecursionError):
        return None
    if not read.choices or not read.id:
        return None
    own = renamed(content, read.model, asked)
    if own is None:
        return None
    told, inputs, outputs = read.usage, read.usage.prompt_tokens_details, read.usage.completion_tokens_details
    usage = Usage(
        told.prompt_tokens,
        told.completion_tokens,
        (inputs.cached_tokens or 0) if inputs is not None else 0,
        0,
        (outputs.reasoning_tokens or 0) if outputs is not None else 0,
        "provider",
    )
    return Reply(read.id, read.model, (), usage, read.created, Native("openai", None, own))
