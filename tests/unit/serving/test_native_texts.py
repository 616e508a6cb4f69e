"""Placeholders in pieces of tool calls, as a provider wrote them, whatever way the pieces are cut."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.governance.placeholders import Restorer
from gateway.serving.native_texts import NativeFlow

VALUE = 'a "b"'


def chunk(kind: str, field: str, at: int, text: str) -> dict[str, Any]:
    call = {"index": at, kind: {field: text}}
    return {"choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}]}


@pytest.mark.parametrize(
    ("kind", "field", "told"), [("function", "arguments", '{"x":"a \\"b\\""}'), ("custom", "input", '{"x":"a "b""}')]
)
def test_calls_in_turns(kind: str, field: str, told: str) -> None:
    """What a function gets is JSON; what a custom tool gets is any text."""
    flow = NativeFlow("openai", Restorer({"[NAME_1]": VALUE}))
    pieces = ['{"x":"[NA', "ME_", '1]"}']
    events = [event for piece in pieces for at in (0, 1) for event in flow.feed(chunk(kind, field, at, piece))]
    events += flow.feed({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    said = ["", ""]
    for event in events:
        for call in event["choices"][0]["delta"].get("tool_calls", ()):
            said[call["index"]] += call[kind][field]
    assert said == [told, told]
