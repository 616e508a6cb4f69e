"""A caller's own tool may have the name of the one that stands for an answer to a schema; and an empty input is one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.errors import NotSupported
from gateway.models.llm_models import (
    ANSWER_TOOL,
    Chat,
    Delta,
    Message,
    ResponseFormat,
    TextPart,
    Tool,
    ToolResultPart,
    ToolUsePart,
)
from gateway.providers.http_models import AnthropicWire, BedrockWire, GeminiWire, Wire

ASKED = (Message("user", (TextPart("Q"),)),)
OWN = Chat("m", ASKED, tools=(Tool(ANSWER_TOOL, schema={"type": "object"}),))
HELD = Chat("m", ASKED, response_format=ResponseFormat("json_schema", schema={"type": "object"}))


def anthropic(given: dict[str, Any], pieces: list[str]) -> tuple[Wire, dict[str, Any], list[dict[str, Any]]]:
    block = {"type": "tool_use", "id": "t", "name": ANSWER_TOOL, "input": given}
    events: list[dict[str, Any]] = [
        {"type": "content_block_start", "index": 1, "content_block": {**block, "input": {}}},
        *(
            {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": text}}
            for text in pieces
        ),
        {"type": "content_block_stop", "index": 1},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
    ]
    return AnthropicWire("m", 9), {"content": [block], "stop_reason": "tool_use"}, events


def bedrock(given: dict[str, Any], pieces: list[str]) -> tuple[Wire, dict[str, Any], list[dict[str, Any]]]:
    use = {"toolUseId": "t", "name": ANSWER_TOOL}
    at = {"contentBlockIndex": 1}
    events: list[tuple[str, dict[str, Any]]] = [
        ("contentBlockStart", {**at, "start": {"toolUse": use}}),
        *(("contentBlockDelta", {**at, "delta": {"toolUse": {"input": text}}}) for text in pieces),
        ("contentBlockStop", at),
        ("messageStop", {"stopReason": "tool_use"}),
    ]
    content = [{"toolUse": {**use, "input": given}}]
    raw = {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": "tool_use"}
    return BedrockWire(), raw, [{"event": kind, "payload": payload} for kind, payload in events]


@pytest.mark.parametrize("pieces", [['{"x":', "1}"], ["", "{}"], ["", ""], []])
@pytest.mark.parametrize("said", [anthropic, bedrock])
def test_the_callers_own_tool_and_the_answers(said: Any, pieces: list[str]) -> None:
    given = "".join(pieces) or "{}"
    wire, whole, events = said(json.loads(given), pieces)
    own = wire.decode_reply(json.dumps(whole).encode(), OWN).choices[0]
    assert (own.parts, own.finish) == ((ToolUsePart("t", ANSWER_TOOL, given),), "tool_use")
    held = wire.decode_reply(json.dumps(whole).encode(), HELD).choices[0]
    assert (held.parts, held.finish) == ((TextPart(given),), "stop")

    def streamed(chat: Chat) -> list[Delta]:
        decode = wire.decoder(chat)
        return [delta for event in events for delta in decode(event)]

    deltas = streamed(OWN)
    assert (deltas[0].tool_id, deltas[0].tool_name) == ("t", ANSWER_TOOL)
    assert "".join(delta.arguments for delta in deltas) == given
    assert ("".join(delta.text for delta in deltas), deltas[-1].finish) == ("", "tool_use")
    deltas = streamed(HELD)
    assert ("".join(delta.text for delta in deltas), deltas[-1].finish) == (given, "stop")


def test_an_input_that_comes_with_the_beginning_of_its_block() -> None:
    decode = AnthropicWire("m", 9).decoder(OWN)
    block = {"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}}
    events = [
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_stop", "index": 0},
    ]
    assert "".join(delta.arguments for event in events for delta in decode(event)) == '{"x":1}'


@pytest.mark.parametrize("wire", [AnthropicWire("m", 9), BedrockWire(), GeminiWire()])
@pytest.mark.parametrize("arguments", ["[1]", "1", '{"x":'])
def test_what_no_provider_of_these_takes_is_refused_here(wire: Wire, arguments: str) -> None:
    used = (
        *ASKED,
        Message("assistant", (ToolUsePart("t", "f", arguments),)),
        Message("tool", (ToolResultPart("t", "r"),)),
    )
    with pytest.raises(NotSupported) as refused:
        wire.encode(Chat("m", used, tools=(Tool("f"),)), stream=False)
    assert refused.value.param == "messages"
    with pytest.raises(NotSupported, match="user's turn"):
        wire.encode(Chat("m", (Message("system", (TextPart("Be brief."),)),)), stream=False)
