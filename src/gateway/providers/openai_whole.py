"""Whole answers of OpenAI's dialect that can go on as they came: read for what the ledger needs, not rewritten.

As ``openai_blocks`` does for events: the bytes are the answer, and only the model's name in them becomes the
caller's. An answer that is anything more than plain (tool calls, no usage, a field of another type than it
should be, counts that cannot be, sound, a name that is not there exactly once) is read in the ordinary way.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from gateway.models.llm_models import Native, Reply
from gateway.providers.model_names import renamed
from gateway.providers.openai_counts import PlainUsage, usage_of


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


class _Answer(Struct):
    id: str
    object: str
    created: int
    model: str
    choices: list[_Choice]
    usage: PlainUsage
    service_tier: str | None = None
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
    return Reply(
        read.id, read.model, (), usage_of(read.usage, read.service_tier), read.created, Native("openai", None, own)
    )
