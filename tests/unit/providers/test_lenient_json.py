"""Half a character at the end of a piece loses nothing of what was said around it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from fixtures.aws import event as aws_event
from gateway.models.llm_models import Chat
from gateway.providers.http_models import AnthropicWire, BedrockWire, GeminiWire, OpenAIWire, Wire
from gateway.providers.lenient_json import loads

HALF, TOLD = "Hi \ud83d", "Hi \ufffd"


def sse(raw: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(raw).encode() + b"\n\n"


@pytest.mark.parametrize(
    ("wire", "whole", "piece"),
    [
        (
            OpenAIWire("m", official=True),
            {"choices": [{"message": {"content": HALF}, "finish_reason": "length"}]},
            sse({"choices": [{"index": 0, "delta": {"content": HALF}}]}),
        ),
        (
            AnthropicWire("m", 9),
            {"content": [{"type": "text", "text": HALF}], "stop_reason": "max_tokens"},
            sse({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": HALF}}),
        ),
        (
            GeminiWire(),
            {"candidates": [{"content": {"parts": [{"text": HALF}]}, "finishReason": "MAX_TOKENS"}]},
            sse({"candidates": [{"content": {"parts": [{"text": HALF}]}}]}),
        ),
        (
            BedrockWire(),
            {"output": {"message": {"content": [{"text": HALF}]}}, "stopReason": "max_tokens"},
            aws_event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": HALF}}),
        ),
    ],
)
def test_every_provider(wire: Wire, whole: dict[str, Any], piece: bytes) -> None:
    assert wire.decode_reply(json.dumps(whole).encode()).text() == TOLD
    decode = wire.decoder()
    events = wire.frames(Chat("m", ())).feed(piece)
    assert "".join(delta.text for raw in events if isinstance(raw, dict) for delta in decode(raw)) == TOLD


def test_what_is_whole_stays_and_what_is_no_json_is_none() -> None:
    assert loads(b'{"a": "\\ud83d\\ude00", "b\\ud83d": ["\\ude00x"]}') == {"a": "\U0001f600", "b\ufffd": ["\ufffdx"]}
    for broken in (b'{"a": "\\ud83d"', b'{"a": NaN, "b": "\\ud83d"}', b"", b"{"):
        with pytest.raises(msgspec.DecodeError):
            loads(broken)
