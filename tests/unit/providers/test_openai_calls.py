"""Servers of OpenAI's dialect tell calls, their end, thinking and text in ways of their own: all mean the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.api.wire import anthropic
from gateway.models.llm_models import Chat, Delta, TextPart, ThinkingPart, ToolUsePart, Usage
from gateway.providers import openai_wire
from gateway.providers.http_models import OpenAIWire

F, G = '{"x":1}', '{"y":2}'


def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def call(name: str, arguments: str, **more: Any) -> dict[str, Any]:
    return {**more, "type": "function", "function": {"name": name, "arguments": arguments}}


def piece(arguments: str, **more: Any) -> dict[str, Any]:
    return {**more, "function": {"arguments": arguments}}


def streamed(*chunks: dict[str, Any]) -> list[Delta]:
    decode = OpenAIWire("m", official=False).decoder(Chat("m", ()))
    return [delta for raw in chunks for delta in decode(raw)]


@pytest.mark.parametrize(
    ("pieces", "ids"),
    [
        ([call("f", F, index=0, id="a"), call("g", G, index=1, id="b")], ["a", "b"]),
        ([call("f", F, index=0, id="a"), call("g", G, index=0, id="b")], ["a", "b"]),
        ([call("f", F, id="a"), call("g", G, id="b")], ["a", "b"]),
        ([call("f", F[:3], id="a"), piece(F[3:], id="a"), call("g", G[:3], id="b"), piece(G[3:])], ["a", "b"]),
        ([call("f", F[:3], index=0, id="a"), call("f", F[3:], index=0, id="a"), call("g", G, index=1, id="b")], "ab"),
        (
            [
                call("f", "", index=0, id="a"),
                call("g", "", index=1, id="b"),
                piece(F[:3], index=0),
                piece(G[:3], index=1),
                piece(F[3:], index=0),
                piece(G[3:], index=1),
            ],
            ["a", "b"],
        ),
        ([call("f", F), call("g", G)], ["call_0_0", "call_0_1"]),
    ],
    ids=["numbered", "all of one number", "no numbers", "ids again", "names again", "in turns", "no ids"],
)
def test_every_call_is_a_call_of_its_own(pieces: list[dict[str, Any]], ids: list[str]) -> None:
    deltas = streamed(*(chunk({"tool_calls": [item]}) for item in pieces), chunk({}, "tool_calls"))
    begun = [(delta.tool_index, delta.tool_id, delta.tool_name) for delta in deltas if delta.tool_id]
    assert begun == [(0, ids[0], "f"), (1, ids[1], "g")]
    for at, said in enumerate((F, G)):
        assert "".join(delta.arguments for delta in deltas if delta.tool_index == at) == said


@pytest.mark.parametrize(("reason", "finish"), [("stop", "tool_use"), ("tool_calls", "tool_use"), ("length", "length")])
def test_an_answer_that_calls_ends_for_its_calls(reason: str, finish: str) -> None:
    """OpenAI itself says ``stop`` where the call was forced by its name."""
    message = {"role": "assistant", "content": None, "tool_calls": [call("f", F, id="a")]}
    raw = {"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": reason}]}
    assert openai_wire.decode_reply(json.dumps(raw).encode()).choices[0].finish == finish
    deltas = streamed(chunk({"tool_calls": [call("f", F, index=0, id="a")]}), chunk({}, reason))
    assert deltas[-1].finish == finish
    assert streamed(chunk({"content": "Hi"}), chunk({}, "stop"))[-1].finish == "stop"


THOUGHT = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}


@pytest.mark.parametrize(
    "said",
    [
        {"reasoning_content": "hm", "content": "yes"},
        {"reasoning": "hm", "content": "yes"},
        {"content": [THOUGHT, {"type": "text", "text": "yes"}]},
    ],
    ids=["reasoning_content", "reasoning", "parts"],
)
def test_thinking_and_text(said: dict[str, Any]) -> None:
    raw = {"id": "c", "choices": [{"index": 0, "message": {"role": "assistant", **said}, "finish_reason": "stop"}]}
    reply = openai_wire.decode_reply(json.dumps(raw).encode())
    assert reply.choices[0].parts == (ThinkingPart("hm"), TextPart("yes"))
    (delta,) = streamed(chunk(said))
    assert (delta.thinking, delta.text) == ("hm", "yes")


def test_calls_without_ids_and_arguments_as_a_value() -> None:
    calls = [{"function": {"name": "f", "arguments": {"x": 1}}}, {"function": {"name": "g", "arguments": ""}}]
    raw = {"choices": [{"message": {"content": "", "tool_calls": calls}, "finish_reason": "stop"}]}
    found = openai_wire.decode_reply(json.dumps(raw).encode()).choices[0].parts
    assert found == (ToolUsePart("call_0_0", "f", F), ToolUsePart("call_0_1", "g", ""))


def test_a_refusal_is_told_apart_from_an_answer() -> None:
    """Anthropic's door has a word for it; at OpenAI's own it is a field of the message."""
    message = {"role": "assistant", "content": None, "refusal": "I cannot."}
    raw = {"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    reply = openai_wire.decode_reply(json.dumps(raw).encode())
    assert (reply.text(), reply.choices[0].finish) == ("I cannot.", "stop")
    assert anthropic.encode_reply(reply, "m", "msg")["stop_reason"] == "refusal"
    encoder = anthropic.EventEncoder("m", "msg")
    deltas = streamed(chunk({"refusal": "I "}), chunk({"refusal": "cannot."}), chunk({}, "stop"))
    events = [event for delta in deltas for event in encoder.encode(delta)] + encoder.end(Usage())
    assert [event["delta"]["stop_reason"] for event in events if event["type"] == "message_delta"] == ["refusal"]
    answered = {"role": "assistant", "content": "Yes.", "refusal": None}
    raw = {"id": "c", "choices": [{"index": 0, "message": answered, "finish_reason": "stop"}]}
    assert openai_wire.decode_reply(json.dumps(raw).encode()).choices[0].raw_finish == "stop"


@pytest.mark.parametrize("index", [{}, {"index": 0}, {"index": None}])
def test_the_events_that_go_on_number_their_calls(index: dict[str, Any]) -> None:
    chunks = [
        chunk({"tool_calls": [call("f", F, id="a", **index)]}),
        chunk({"tool_calls": [call("g", G, id="b", **index)]}),
    ]
    streamed(*chunks)
    told = [item["choices"][0]["delta"]["tool_calls"][0] for item in chunks]
    assert [(item["index"], item["id"], item["function"]["name"]) for item in told] == [(0, "a", "f"), (1, "b", "g")]


def test_calls_without_an_id_and_pieces_of_nothing_go_on_with_what_readers_expect() -> None:
    first, nothing = chunk({"tool_calls": [call("f", F)]}), chunk({})
    nothing["choices"][0]["delta"] = None
    pieces = streamed(first, nothing)
    assert first["choices"][0]["delta"]["tool_calls"][0]["id"] == pieces[0].tool_id != ""
    assert nothing["choices"][0]["delta"] == {}
    message = {"role": "assistant", "tool_calls": [call("f", F)]}
    whole = {"id": "c", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    reply = openai_wire.decode_reply(json.dumps(whole).encode())
    assert reply.native is not None
    assert reply.native.event is not None
    (part,) = reply.choices[0].parts
    assert isinstance(part, ToolUsePart)
    assert reply.native.event["choices"][0]["message"]["tool_calls"][0]["id"] == part.id != ""
