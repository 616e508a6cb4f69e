"""Events of a streamed answer as the lines that are sent, in each door's manner, and how one tells of a failure."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.api.errors import anthropic_error, openai_error
from gateway.errors import GatewayError

_ENCODER = msgspec.json.Encoder(decimal_format="number")


def openai_line(chunk: dict[str, Any]) -> bytes:
    return b"data: " + _ENCODER.encode(chunk) + b"\n\n"


def openai_failure(error: GatewayError, request_id: str) -> bytes:
    return b"data: " + _ENCODER.encode(openai_error(error, request_id)) + b"\n\n"


def anthropic_line(event: dict[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (event["type"].encode(), _ENCODER.encode(event))


def anthropic_failure(error: GatewayError, request_id: str) -> bytes:
    return b"event: error\ndata: " + _ENCODER.encode(anthropic_error(error, request_id)) + b"\n\n"


def responses_failure(error: GatewayError, request_id: str) -> bytes:
    """Of a response of which nothing was told yet."""
    told = openai_error(error, request_id)["error"]
    named = {name: told[name] for name in ("code", "message", "param")}
    return anthropic_line({"type": "error", **named, "sequence_number": 0})
