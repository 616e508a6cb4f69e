"""Providers' own counters of tokens: where each is asked, and in which words. Nothing is generated there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct

from gateway.errors import UpstreamError
from gateway.models.llm_models import Chat
from gateway.providers import anthropic_wire, gemini_wire
from gateway.providers.endpoints import Endpoint

#: What of a request Google counts.
_COUNTED = ("contents", "systemInstruction", "tools")


class Counter(Struct, frozen=True):
    """Where tokens are counted; ``encode`` asks, ``decode`` reads the count (``UpstreamError`` for none)."""

    endpoint: Endpoint
    encode: Callable[[Chat], bytes]
    decode: Callable[[bytes], int]


def anthropic_counter(endpoint: Endpoint, model: str) -> Counter:
    """Anthropic's ``count_tokens``, also of the embedded model's server."""
    return Counter(endpoint, partial(anthropic_wire.encode_count, upstream_model=model), anthropic_wire.decode_count)


def google_counter(endpoint: Endpoint, model: str = "") -> Counter:
    """``countTokens`` of Gemini, whose ``model`` is named in the request that is counted, and of Vertex AI."""

    def encode(chat: Chat) -> bytes:
        body: dict[str, Any] = msgspec.json.decode(gemini_wire.encode(chat, stream=False)[0])
        counted = {name: body[name] for name in _COUNTED if name in body}
        asked = {"generateContentRequest": {"model": f"models/{model}", **counted}} if model else counted
        return msgspec.json.encode(asked)

    return Counter(endpoint, encode, _google_count)


def _google_count(content: bytes) -> int:
    try:
        return int(msgspec.json.decode(content)["totalTokens"])
    except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
        raise UpstreamError("the provider's answer is not of the shape it should be", reached=True) from error
