"""Answers of Google's generateContent, whole and streamed: read whole, or refused as broken."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import UpstreamError
from gateway.models.llm_models import (
    Chat,
    Choice,
    Delta,
    Message,
    Part,
    TextPart,
    ThinkingPart,
    ToolResultPart,
    ToolUsePart,
    Usage,
)
from gateway.providers import gemini_wire

HELLO = (Message("user", (TextPart("Hi"),)),)


def chat(**fields: Any) -> Chat:
    return Chat(**{"model": "any", "messages": HELLO, **fields})


def sent(given_chat: Chat) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(gemini_wire.encode(given_chat, stream=False)[0])
    return body


def answer(*candidates: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A GenerateContentResponse."""
    return {
        "candidates": list(candidates),
        "usageMetadata": {
            "promptTokenCount": 11,
            "candidatesTokenCount": 3,
            "totalTokenCount": 21,
            "cachedContentTokenCount": 4,
            "toolUsePromptTokenCount": 2,
            "thoughtsTokenCount": 5,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 11}],
        },
        "modelVersion": "gemini-2.5-flash",
        "responseId": "mAitaLmk",
        **fields,
    }


def candidate(*parts: dict[str, Any], finish: str | None = "STOP", index: int = 0) -> dict[str, Any]:
    made: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": index}
    return made | ({"finishReason": finish} if finish else {})


def read(raw: Any) -> Any:
    return gemini_wire.decode_reply(json.dumps(raw).encode())


def streamed(*chunks: dict[str, Any]) -> list[Delta]:
    decoder = gemini_wire.StreamDecoder()
    return [delta for chunk in chunks for delta in decoder.decode(chunk)]


def joined(deltas: list[Delta], choice: int = 0) -> Choice:
    """The choice that the pieces make: thinking, then text, then calls."""
    mine = [delta for delta in deltas if delta.choice == choice]
    thinking, text = "".join(delta.thinking for delta in mine), "".join(delta.text for delta in mine)
    parts: list[Part] = []
    if thinking:
        parts.append(ThinkingPart(thinking, "".join(delta.signature for delta in mine if delta.tool_index is None)))
    if text:
        parts.append(TextPart(text))
    for place in range(1 + max((delta.tool_index for delta in mine if delta.tool_index is not None), default=-1)):
        calls = [delta for delta in mine if delta.tool_index == place]
        arguments, signature = "".join(call.arguments for call in calls), "".join(call.signature for call in calls)
        parts.append(ToolUsePart(calls[0].tool_id, calls[0].tool_name, arguments, signature))
    (end,) = [delta for delta in mine if delta.finish]
    assert end.finish is not None
    return Choice(tuple(parts), end.finish, end.raw_finish)


THOUGHT = {"text": "They ask for Rome.", "thought": True, "thoughtSignature": "c2ln"}
CALL = {"functionCall": {"name": "weather", "args": {"city": "Rome"}}, "thoughtSignature": "b3Ro"}


def test_an_answer_with_a_thought_text_and_calls() -> None:
    reply = read(answer(candidate(THOUGHT, {"text": "I look."}, CALL, {"functionCall": {"id": "f7", "name": "now"}})))
    assert (reply.id, reply.model, reply.text()) == ("mAitaLmk", "gemini-2.5-flash", "I look.")
    assert reply.choices == (
        Choice(
            (
                ThinkingPart("They ask for Rome.", "c2ln"),
                TextPart("I look."),
                ToolUsePart("call_mAitaLmk_0_0", "weather", '{"city":"Rome"}', "b3Ro"),
                ToolUsePart("f7", "now", "{}"),
            ),
            "tool_use",
            "STOP",
        ),
    )
    assert reply.usage == Usage(input_tokens=13, output_tokens=8, cached_tokens=4, reasoning_tokens=5, basis="provider")


def test_calls_of_several_answers_have_ids_of_their_own() -> None:
    raw = answer(candidate(CALL, CALL), candidate(CALL, index=1))
    ids = [part.id for choice in read(raw).choices for part in choice.parts]
    assert ids == ["call_mAitaLmk_0_0", "call_mAitaLmk_0_1", "call_mAitaLmk_1_0"]
    del raw["responseId"], raw["usageMetadata"]
    reply = read(raw)
    assert reply.choices[1].parts == (ToolUsePart("call_1_0", "weather", '{"city":"Rome"}', "b3Ro"),)
    assert reply.usage == Usage()


def test_a_call_goes_back_as_it_came() -> None:
    (choice,) = read(answer(candidate(CALL))).choices
    (call,) = choice.parts
    assert isinstance(call, ToolUsePart)
    result = Message("tool", (ToolResultPart(call.id, "sunny"),))
    contents = sent(chat(messages=(*HELLO, Message("assistant", choice.parts), result)))["contents"]
    sent_back = {"name": "weather", "args": {"city": "Rome"}, "id": call.id}
    assert contents[1]["parts"] == [{"functionCall": sent_back, "thoughtSignature": "b3Ro"}]
    assert contents[2]["parts"][0]["functionResponse"]["name"] == "weather"


@pytest.mark.parametrize(("reason", "finish"), [
    ("STOP", "stop"),
    ("MAX_TOKENS", "length"),
    ("SAFETY", "content_filter"),
    ("RECITATION", "content_filter"),
    ("BLOCKLIST", "content_filter"),
    ("PROHIBITED_CONTENT", "content_filter"),
    ("SPII", "content_filter"),
    ("IMAGE_SAFETY", "content_filter"),
    ("OTHER", "stop"),
])  # fmt: skip
def test_how_an_answer_ends(reason: str, finish: str) -> None:
    raw = answer({"finishReason": reason, "index": 0})
    assert read(raw).choices == (Choice((), finish, reason),)  # type: ignore[arg-type]
    assert joined(streamed(raw)) == Choice((), finish, reason)  # type: ignore[arg-type]


def test_a_call_that_is_cut_off_is_not_asked_for() -> None:
    assert read(answer(candidate(CALL, finish="MAX_TOKENS"))).choices[0].finish == "length"


def test_a_blocked_prompt_is_a_filtered_answer() -> None:
    raw = {
        "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
        "usageMetadata": {"promptTokenCount": 9, "totalTokenCount": 9},
        "modelVersion": "gemini-2.5-flash",
    }
    reply = read(raw)
    assert reply.choices == (Choice((), "content_filter", "PROHIBITED_CONTENT"),)
    assert reply.usage == Usage(9, 0, 0, 0, 0, "provider")
    deltas = streamed(raw)
    assert joined(deltas) == reply.choices[0]
    assert deltas[-1].usage == reply.usage


@pytest.mark.parametrize("reason", ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL"])
def test_an_answer_that_broke_off_is_an_error(reason: str) -> None:
    raw = answer({"finishReason": reason, "finishMessage": "Malformed function call: x(", "index": 0})
    for attempt in (read, streamed):
        with pytest.raises(UpstreamError, match=reason) as failed:
            attempt(raw)
        assert failed.value.details["reached"] is True


MALFORMED: list[Any] = [
    [],
    3,
    {},
    {"candidates": []},
    {"candidates": [1]},
    {"candidates": 3},
    {"candidates": [{"content": 3}]},
    {"candidates": [{"content": {"parts": [1]}}]},
    {"candidates": [{"content": {"parts": [{"text": 3}]}}]},
    {"candidates": [{"content": {"parts": [{"functionCall": {}}]}}]},
    {"candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "args": [1]}}]}}]},
    {"candidates": [{"index": "x"}]},
    {"candidates": [{"finishReason": 1}]},
    {"promptFeedback": 3},
    {"promptFeedback": {"blockReason": 3}},
]


@pytest.mark.parametrize("content", [b"", b"<", *(json.dumps(raw).encode() for raw in MALFORMED)])
def test_an_answer_of_another_shape_is_an_error(content: bytes) -> None:
    with pytest.raises(UpstreamError, match="shape") as failed:
        gemini_wire.decode_reply(content)
    assert failed.value.details["reached"] is True


@pytest.mark.parametrize("raw", MALFORMED[4:])
def test_a_chunk_of_another_shape_is_passed_over(raw: dict[str, Any]) -> None:
    decoder = gemini_wire.StreamDecoder()
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):  # a client leaves such an event out
        decoder.decode(raw)
    rest = decoder.decode(answer(candidate(CALL), usageMetadata={"candidatesTokenCount": 3}))
    assert [delta.tool_index for delta in rest if delta.tool_index is not None] == [0]
    assert [delta.usage.output_tokens for delta in rest if delta.usage is not None] == [3]
    assert rest[-2].finish == "tool_use"


def test_a_stream_joined_is_the_answer() -> None:
    whole = answer(candidate(THOUGHT, {"text": "I look twice."}, CALL, CALL))
    chunks = [
        answer(candidate({"text": "They ask ", "thought": True}, finish=None), usageMetadata={"promptTokenCount": 11}),
        answer(
            candidate(
                {"text": "for Rome.", "thought": True, "thoughtSignature": "c2ln"}, {"text": "I look"}, finish=None
            ),
            usageMetadata={"promptTokenCount": 11, "thoughtsTokenCount": 5},
        ),
        answer(candidate({"text": " twice."}, CALL, finish=None), usageMetadata={"candidatesTokenCount": 2}),
        answer(candidate(CALL, finish=None)),
        answer(candidate({"text": ""})),
    ]
    deltas, reply = streamed(*chunks), read(whole)
    assert joined(deltas) == reply.choices[0]
    usages = [delta.usage for delta in deltas if delta.usage is not None]
    assert usages[0] == Usage(11, 0, 0, 0, 0, "provider")
    assert usages[2] == Usage(11, 7, 0, 0, 5, "provider")
    assert usages[-1] == reply.usage
    assert {(delta.id, delta.model) for delta in deltas} == {(reply.id, reply.model)}
    assert [delta.finish for delta in deltas if delta.finish] == ["tool_use"]


def test_a_stream_of_two_answers_numbers_the_calls_of_each() -> None:
    deltas = streamed(
        answer(candidate({"text": "a"}, finish=None), candidate(CALL, finish=None, index=1)),
        answer(candidate(CALL, CALL, index=1)),
        answer(candidate({"text": "b"})),
    )
    whole = read(answer(candidate({"text": "ab"}), candidate(CALL, CALL, CALL, index=1)))
    assert (joined(deltas, 0), joined(deltas, 1)) == whole.choices


def test_a_chunk_that_says_nothing_is_no_piece() -> None:
    assert streamed({}, {"candidates": [{"content": {"role": "model"}}]}) == []


@given(st.text(min_size=1), st.lists(st.integers(0, 40), max_size=12))
def test_any_cutting_of_a_text_gives_the_same_text(text: str, cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[start:end] for start, end in pairwise(places)]
    chunks = [answer(candidate({"text": piece}, finish=None)) for piece in pieces]
    deltas = streamed(*chunks, answer(candidate()))
    assert joined(deltas) == read(answer(candidate({"text": text}))).choices[0]
