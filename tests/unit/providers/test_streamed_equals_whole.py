"""A streamed answer is the unstreamed one, for any answer, any pieces of it and any cutting of the bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from fixtures.aws import event as aws_event
from gateway.models.llm_models import Chat, Delta, Reply, ThinkingPart, ToolUsePart, Usage
from gateway.providers.http_models import AnthropicWire, BedrockWire, GeminiWire, OpenAIWire, Wire

Draw = Callable[[st.SearchStrategy[Any]], Any]
TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
JSON = st.dictionaries(TEXT, st.one_of(st.integers(-99, 99), TEXT, st.booleans(), st.none()), max_size=3)
#: Without a single token there is no usage at all.
COUNT = st.integers(1, 999)


class Call(Struct, frozen=True):
    id: str
    name: str
    arguments: dict[str, Any]


class Answer(Struct, frozen=True):
    """What a model says, in nobody's dialect."""

    thinking: str
    text: str
    calls: tuple[Call, ...]
    full: bool
    fresh: int
    cached: int
    output: int


@st.composite
def answers(draw: Draw) -> Answer:
    calls = draw(st.lists(st.builds(Call, st.just(""), st.sampled_from(["weather", "stock"]), JSON), max_size=3))
    numbered = tuple(Call(f"call_{at}", call.name, call.arguments) for at, call in enumerate(calls))
    return Answer(draw(TEXT), draw(TEXT), numbered, draw(st.booleans()), draw(COUNT), draw(COUNT), draw(COUNT))


def pieces(draw: Draw, text: str) -> list[str]:
    """The text in pieces, none of them empty."""
    cuts = draw(st.lists(st.integers(0, len(text)), max_size=4))
    cut = [text[start:end] for start, end in pairwise([0, *sorted(cuts), len(text)])]
    return [piece for piece in cut if piece]


def dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def sse(draw: Draw, items: list[Any], *, named: bool = False, done: bool = False) -> bytes:
    """The events as servers write them: with names, comments, other ends of lines, or none at the very end."""
    end = draw(st.sampled_from(["\n", "\r\n"]))
    space = draw(st.sampled_from(["", " "]))
    told = "\ufeff" if draw(st.booleans()) else ""
    for item in items:
        told += draw(st.sampled_from(["", f": ping{end}{end}", f"id: 7{end}", end]))
        told += f"event:{space}{item['type']}{end}" if named else ""
        told += f"data:{space}{dumped(item)}{end}{end}"
    if done:
        return (told + f"data:{space}[DONE]{end}{end}").encode()
    return (told if draw(st.booleans()) else told.removesuffix(end)).encode()


# -- the dialects ------------------------------------------------------------------------------------


def openai(draw: Draw, said: Answer) -> tuple[dict[str, Any], bytes]:
    finish = "length" if said.full else "tool_calls" if said.calls else "stop"
    usage = {"prompt_tokens": said.fresh + said.cached, "completion_tokens": said.output,
             "prompt_tokens_details": {"cached_tokens": said.cached}}  # fmt: skip
    message: dict[str, Any] = {"role": "assistant", "content": said.text or None, "reasoning_content": said.thinking}
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": dumped(call.arguments)}}
        for call in said.calls
    ]
    message |= {"tool_calls": calls} if calls else {}
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"reasoning_content": piece} for piece in pieces(draw, said.thinking)]
    deltas += [{"content": piece} for piece in pieces(draw, said.text)]
    for at, call in enumerate(calls):
        function = call["function"]
        assert isinstance(function, dict)
        deltas.append({"tool_calls": [{**call, "index": at, "function": {**function, "arguments": ""}}]})
        for piece in pieces(draw, function["arguments"]):
            deltas.append({"tool_calls": [{"index": at, "function": {"arguments": piece}}]})
    chunks: list[dict[str, Any]] = [
        {"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas
    ]
    chunks.append({"id": "c", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    chunks.append({"id": "c", "model": "m", "choices": [], "usage": usage})
    whole = {"id": "c", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": finish}]}
    return {**whole, "usage": usage}, sse(draw, chunks, done=True)


def anthropic(draw: Draw, said: Answer) -> tuple[dict[str, Any], bytes]:
    stop = "max_tokens" if said.full else "tool_use" if said.calls else "end_turn"
    usage = {"input_tokens": said.fresh, "cache_read_input_tokens": said.cached, "output_tokens": said.output}
    blocks: list[dict[str, Any]] = []
    streamed: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    if said.thinking:
        blocks.append({"type": "thinking", "thinking": said.thinking, "signature": "sig"})
        told = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(draw, said.thinking)]
        begun = {"type": "thinking", "thinking": "", "signature": ""}
        streamed.append((begun, [*told, {"type": "signature_delta", "signature": "sig"}]))
    if said.text:
        blocks.append({"type": "text", "text": said.text})
        told = [{"type": "text_delta", "text": piece} for piece in pieces(draw, said.text)]
        streamed.append(({"type": "text", "text": ""}, told))
    for call in said.calls:
        block = {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}
        blocks.append(block)
        told = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces(draw, dumped(call.arguments))]
        streamed.append(({**block, "input": {}}, told))
    message: dict[str, Any] = {"id": "c", "type": "message", "role": "assistant", "model": "m", "content": []}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**message, "usage": {**usage, "output_tokens": 1}}}
    ]
    for at, (block, told) in enumerate(streamed):
        events.append({"type": "content_block_start", "index": at, "content_block": block})
        events += [{"type": "content_block_delta", "index": at, "delta": delta} for delta in told]
        events.append({"type": "content_block_stop", "index": at})
    ended = {"delta": {"stop_reason": stop, "stop_sequence": None}, "usage": {"output_tokens": said.output}}
    events += [{"type": "message_delta", **ended}, {"type": "message_stop"}]
    return {**message, "content": blocks, "stop_reason": stop, "usage": usage}, sse(draw, events, named=True)


def gemini(draw: Draw, said: Answer) -> tuple[dict[str, Any], bytes]:
    own_ids = draw(st.booleans())
    calls = [
        {"functionCall": {**({"id": call.id} if own_ids else {}), "name": call.name, "args": call.arguments}}
        for call in said.calls
    ]
    if calls:
        calls[0]["thoughtSignature"] = "sig"  # type: ignore[assignment]
    parts = [{"text": said.thinking, "thought": True}] if said.thinking else []
    parts += [{"text": said.text}] if said.text else []
    told: list[dict[str, Any]] = [{"text": piece, "thought": True} for piece in pieces(draw, said.thinking)]
    told += [{"text": piece} for piece in pieces(draw, said.text)]
    finish = {"finishReason": "MAX_TOKENS" if said.full else "STOP"}
    usage = {"promptTokenCount": said.fresh + said.cached, "cachedContentTokenCount": said.cached,
             "candidatesTokenCount": said.output}  # fmt: skip
    head = {"responseId": "r", "modelVersion": "m"}
    chunks: list[dict[str, Any]] = [
        {**head, "candidates": [{"content": {"role": "model", "parts": [part]}}]} for part in [*told, *calls]
    ]
    chunks.append({**head, "candidates": [{"content": {"parts": []}, **finish}], "usageMetadata": usage})
    whole = {**head, "candidates": [{"content": {"role": "model", "parts": [*parts, *calls]}, **finish}]}
    return {**whole, "usageMetadata": usage}, sse(draw, chunks)


def bedrock(draw: Draw, said: Answer) -> tuple[dict[str, Any], bytes]:
    stop = "max_tokens" if said.full else "tool_use" if said.calls else "end_turn"
    usage = {"inputTokens": said.fresh, "cacheReadInputTokens": said.cached, "outputTokens": said.output}
    blocks: list[dict[str, Any]] = []
    frames = [aws_event("messageStart", {"role": "assistant"})]

    def add(block: dict[str, Any], deltas: list[dict[str, Any]], start: dict[str, Any] | None = None) -> None:
        at = len(blocks)
        blocks.append(block)
        if start is not None:
            frames.append(aws_event("contentBlockStart", {"contentBlockIndex": at, "start": start}))
        frames.extend(aws_event("contentBlockDelta", {"contentBlockIndex": at, "delta": delta}) for delta in deltas)
        frames.append(aws_event("contentBlockStop", {"contentBlockIndex": at}))

    if said.thinking:
        told = [{"reasoningContent": {"text": piece}} for piece in pieces(draw, said.thinking)]
        whole = {"reasoningContent": {"reasoningText": {"text": said.thinking, "signature": "sig"}}}
        add(whole, [*told, {"reasoningContent": {"signature": "sig"}}])
    if said.text:
        add({"text": said.text}, [{"text": piece} for piece in pieces(draw, said.text)])
    for call in said.calls:
        use = {"toolUseId": call.id, "name": call.name}
        told_use = [{"toolUse": {"input": piece}} for piece in pieces(draw, dumped(call.arguments))]
        add({"toolUse": {**use, "input": call.arguments}}, told_use, {"toolUse": use})
    frames += [aws_event("messageStop", {"stopReason": stop}), aws_event("metadata", {"usage": usage})]
    answer = {"output": {"message": {"role": "assistant", "content": blocks}}, "stopReason": stop, "usage": usage}
    return answer, b"".join(frames)


# -- the comparison ----------------------------------------------------------------------------------


def of_reply(reply: Reply) -> dict[str, Any]:
    (choice,) = reply.choices
    return {
        "id": reply.id,
        "model": reply.model,
        "text": choice.text(),
        "thinking": "".join(part.text for part in choice.parts if isinstance(part, ThinkingPart)),
        "signature": "".join(part.signature for part in choice.parts if isinstance(part, ThinkingPart)),
        "calls": [
            (part.id, part.name, json.loads(part.arguments or "{}"), part.signature)
            for part in choice.parts
            if isinstance(part, ToolUsePart)
        ],
        "finish": (choice.finish, choice.raw_finish),
        "usage": reply.usage,
    }


def of_deltas(deltas: list[Delta]) -> dict[str, Any]:
    calls: dict[int, list[str]] = {}
    for delta in deltas:
        if delta.tool_index is not None:
            call = calls.setdefault(delta.tool_index, ["", "", "", ""])
            for at, piece in enumerate((delta.tool_id, delta.tool_name, delta.arguments, delta.signature)):
                call[at] += piece
    spoken = [delta for delta in deltas if delta.tool_index is None]
    return {
        "id": next((delta.id for delta in deltas if delta.id), ""),
        "model": next((delta.model for delta in deltas if delta.model), ""),
        "text": "".join(delta.text for delta in deltas),
        "thinking": "".join(delta.thinking for delta in deltas),
        "signature": "".join(delta.signature for delta in spoken),
        "calls": [(call[0], call[1], json.loads(call[2] or "{}"), call[3]) for _, call in sorted(calls.items())],
        "finish": next((delta.finish, delta.raw_finish) for delta in deltas if delta.finish is not None),
        "usage": [delta.usage for delta in deltas if delta.usage is not None][-1],
    }


def read(wire: Wire, stream: bytes, cuts: list[int]) -> list[Delta]:
    frames, decode = wire.frames(Chat("m", ())), wire.decoder()
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    found = [raw for start, end in pairwise(places) for raw in frames.feed(stream[start:end])]
    return [delta for raw in [*found, *frames.end()] if isinstance(raw, dict) for delta in decode(raw)]


@pytest.mark.parametrize(
    ("wire", "dialect"),
    [
        (OpenAIWire("m", official=True), openai),
        (AnthropicWire("m", 99), anthropic),
        (GeminiWire(), gemini),
        (BedrockWire(), bedrock),
    ],
    ids=["openai", "anthropic", "gemini", "bedrock"],
)
@given(data=st.data())
def test_a_stream_joined_is_the_whole_answer(wire: Wire, dialect: Any, data: st.DataObject) -> None:
    said = data.draw(answers())
    whole, stream = dialect(data.draw, said)
    found = of_reply(wire.decode_reply(dumped(whole).encode()))
    for cuts in (range(len(stream)), data.draw(st.lists(st.integers(0, 2000), max_size=10)), ()):
        assert of_deltas(read(wire, stream, list(cuts))) == found
    assert (found["text"], found["thinking"]) == (said.text, said.thinking)
    assert [call[1:3] for call in found["calls"]] == [(call.name, call.arguments) for call in said.calls]
    assert found["usage"] == Usage(said.fresh + said.cached, said.output, said.cached, 0, 0, "provider")
    assert (found["finish"][0] == "length") == said.full
