"""Providers' own counters of tokens: where each is asked, and in which words. Nothing is generated there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct

from gateway.errors import UpstreamMalformed
from gateway.models.llm_models import Chat
from gateway.providers import anthropic_wire, bedrock_wire, gemini_wire, responses_input
from gateway.providers.endpoints import Endpoint

#: What of a request Google counts, and Bedrock.
_COUNTED = ("contents", "systemInstruction", "tools")
_CONVERSED = ("messages", "system", "toolConfig")
#: What the names of Bedrock's profiles over several regions begin with; it counts for the model itself alone.
_REGIONS = ("us.", "eu.", "apac.", "global.", "jp.", "au.", "ca.", "us-gov.")


class Counter(Struct, frozen=True):
    """Where tokens are counted; ``encode`` asks (``None``: of this chat not), ``decode`` reads the count
    (``UpstreamError`` for none).

    ``optional``: not every model or account has it, so that a refusal says no more than that.
    """

    endpoint: Endpoint
    encode: Callable[[Chat], bytes | None]
    decode: Callable[[bytes], int]
    optional: bool = False


def anthropic_counter(endpoint: Endpoint, model: str) -> Counter:
    """Anthropic's ``count_tokens``, also of the embedded model's server."""
    return Counter(endpoint, partial(anthropic_wire.encode_count, upstream_model=model), anthropic_wire.decode_count)


def google_counter(endpoint: Endpoint, model: str = "", *, signed: bool = False) -> Counter:
    """``countTokens`` of Gemini, whose ``model`` is named in the request that is counted, and of Vertex AI.
    ``signed`` see ``gemini_wire.encode``."""

    def encode(chat: Chat) -> bytes:
        body: dict[str, Any] = msgspec.json.decode(gemini_wire.encode(chat, stream=False, signed=signed)[0])
        counted = {name: body[name] for name in _COUNTED if name in body}
        asked = {"generateContentRequest": {"model": f"models/{model}", **counted}} if model else counted
        return msgspec.json.encode(asked)

    return Counter(endpoint, encode, partial(_count, "totalTokens"))


def bedrock_counter(endpoint: Endpoint, *, native_schema: bool = False) -> Counter:
    """Bedrock's ``CountTokens``, of Anthropic's models there; it takes no ``outputConfig``.

    https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_CountTokens.html
    """

    def encode(chat: Chat) -> bytes | None:
        body: dict[str, Any] = msgspec.json.decode(bedrock_wire.encode(chat, native_schema=native_schema)[0])
        if "outputConfig" in body:
            return None
        return msgspec.json.encode({"input": {"converse": {name: body[name] for name in _CONVERSED if name in body}}})

    return Counter(endpoint, encode, partial(_count, "inputTokens"), optional=True)


def bedrock_counted(model: str) -> str:
    """The name that Bedrock counts ``model`` by."""
    return next((model.removeprefix(region) for region in _REGIONS if model.startswith(region)), model)


def openai_counter(endpoint: Endpoint, model: str) -> Counter:
    """The counter of OpenAI's Responses API."""
    encode = partial(responses_input.encode, upstream_model=model)
    return Counter(endpoint, encode, partial(_count, "input_tokens"), optional=True)


def _count(name: str, content: bytes) -> int:
    try:
        return int(msgspec.json.decode(content)[name])
    except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
        raise UpstreamMalformed("the provider's answer is not of the shape it should be", reached=True) from error
