"""Requests that ask for the usual, checked and read in one go; whatever is not plain is for ``openai_request``.

The rules are the same ones: what is taken here is what is taken there, and nothing is refused here, so that each
refusal has one place. Most requests are plain: turns of text, a bound, a temperature, streamed or not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from gateway.api.wire.openai_request import OpenAIRequest
from gateway.api.wire.request_headers import of_openai
from gateway.models.llm_models import Body, Chat, Message, TextPart

_Text = Annotated[str, Meta(min_length=1)]
_Bound = Annotated[int, Meta(ge=1, le=10**7)]


class _Turn(Struct, forbid_unknown_fields=True):
    role: Literal["system", "user", "assistant"]
    content: _Text


class _Options(Struct, forbid_unknown_fields=True):
    include_usage: bool


class _Asked(Struct, forbid_unknown_fields=True):
    model: _Text
    messages: Annotated[tuple[_Turn, ...], Meta(min_length=1)]
    max_tokens: _Bound | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    stream: bool | None = None
    stream_options: _Options | None = None


_READER = msgspec.json.Decoder(_Asked)
#: The end of a name that stands apart from its colon.
_SPACED = re.compile(rb'"[ \t\n\r]+:')


def read_plain(body: bytes, headers: Mapping[str, str]) -> OpenAIRequest | None:
    """The request, ``None`` where it has to be read in the ordinary way. The caller's body stays with it as it
    came (``Body.raw``)."""
    try:
        asked = _READER.decode(body)
    except (ValueError, RecursionError):
        return None
    options = asked.stream_options
    names = 2 + 2 * len(asked.messages) + (0 if options is None else 2)
    names += (asked.max_tokens is not None) + (asked.temperature is not None) + (asked.top_p is not None)
    names += asked.stream is not None
    # As many names as were read: none is there twice, and none says null.
    if body.count(b'":') != names or b"\\u0000" in body:
        return None
    # Where there are no more colons than those, none stands apart from its name.
    if body.count(b":") != names and _SPACED.search(body):
        return None
    native = Body(msgspec.json.decode(body))
    native.raw = body
    chat = Chat(  # in the order of its fields: thus it is made several times as quickly as from names
        asked.model,
        tuple([Message(turn.role, (TextPart(turn.content),)) for turn in asked.messages]),
        asked.max_tokens,
        asked.temperature,
        asked.top_p,
        (),
        None,
        1,
        None,
        None,
        (),
        None,
        None,
        "",
        "",
        "openai",
        {},
        native,
        (),
        (),
        None,
        of_openai(headers) if "openai-beta" in headers else {},
        True,
    )
    return OpenAIRequest(chat, bool(asked.stream), options is not None and options.include_usage)
