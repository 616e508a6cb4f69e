"""The Responses API's answers as values: the whole one, and the events of a streamed one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from fixtures.responses_kit import EVERYTHING, USED, asked
from gateway.api.wire.responses import ResponsesRequest, decode
from gateway.api.wire.responses_answer import EventEncoder, encode_reply
from gateway.models.llm_models import (
    Choice,
    Delta,
    FinishReason,
    Message,
    Native,
    Part,
    Reply,
    TextPart,
    ThinkingPart,
    ToolUsePart,
    Usage,
)
from gateway.serving.delta_flow import deltas_of

EVENTS: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def talk(*items: Any) -> tuple[Message, ...]:
    return asked(input=list(items)).chat.messages


def user(text: str) -> Message:
    return Message("user", (TextPart(text),))


def reply(parts: tuple[Part, ...], finish: FinishReason = "stop") -> Reply:
    return Reply("chatcmpl-1", "gpt-4-0613", (Choice(parts, finish),), USED)


def test_a_refusal_is_a_part_of_its_own() -> None:
    """The SDK's helpers for structured answers look for it before they read JSON."""
    refused = Reply("c", "gpt-4", (Choice((TextPart("I cannot."),), "stop", "refusal"),), USED)
    whole = encode_reply(refused, decode(EVERYTHING), "gpt-4", "resp_7", 1_700_000_000)
    Response.model_validate(whole)
    (message,) = whole["output"]
    assert (message["type"], message["status"]) == ("message", "completed")
    assert message["content"] == [{"type": "refusal", "refusal": "I cannot."}]
    pieces = [Delta(text="I ", refusal=True), Delta(text="cannot.", refusal=True), Delta(finish="stop", usage=USED)]
    for deltas in (pieces, list(deltas_of(refused))):
        encoder = EventEncoder(decode(EVERYTHING), "gpt-4", "resp_7", 1_700_000_000)
        events = [event for delta in deltas for event in encoder.encode(delta)] + encoder.end(USED)
        assert [EVENTS.validate_python(event).type for event in events if "content_index" in event] == [
            "response.content_part.added",
            *["response.refusal.delta"] * (len(deltas) - 1 if deltas is pieces else 1),
            "response.refusal.done",
            "response.content_part.done",
        ]
        assert events[-1]["response"]["output"] == whole["output"]
    assert talk(*whole["output"])[0] == Message("assistant", (TextPart("I cannot."),))


def test_the_whole_answer() -> None:
    parts = (ThinkingPart("hm"), TextPart("Hel"), TextPart("lo"), ToolUsePart("call_1", "weather", ""))
    found = encode_reply(reply(parts, "tool_use"), decode(EVERYTHING), "gpt-4", "resp_7", 1_700_000_000)
    Response.model_validate(found)
    assert found["output"] == [
        {
            "id": "rs_7_0",
            "type": "reasoning",
            "status": "completed",
            "summary": [{"type": "summary_text", "text": "hm"}],
        },
        {
            "id": "msg_7_1",
            "type": "message",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []}],
        },
        {
            "id": "fc_7_2",
            "type": "function_call",
            "status": "completed",
            "call_id": "call_1",
            "name": "weather",
            "arguments": "{}",
        },
    ]
    assert found["usage"] == {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 14,
    }
    expected = {
        "id": "resp_7",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "model": "gpt-4",
        "previous_response_id": "resp_0",
        "store": False,
        "background": False,
        "truncation": "disabled",
        **{name: EVERYTHING[name] for name in ("instructions", "max_output_tokens", "temperature", "top_p", "tools")},
        **{name: EVERYTHING[name] for name in ("tool_choice", "parallel_tool_calls", "text", "reasoning", "metadata")},
        **{name: EVERYTHING[name] for name in ("user", "service_tier", "safety_identifier", "prompt_cache_key")},
    }
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
def test_an_answer_that_broke_off(finish: FinishReason, reason: str) -> None:
    found = encode_reply(reply((ThinkingPart("hm"), TextPart("Hel")), finish), asked(), "gpt-4", "resp_1", 1)
    Response.model_validate(found)
    assert found["status"] == "incomplete"
    assert found["incomplete_details"] == {"reason": reason}
    assert [item["status"] for item in found["output"]] == ["completed", "incomplete"]


def test_an_answer_of_nothing_is_a_response_of_nothing() -> None:
    found = encode_reply(Reply("", "", (), Usage()), asked(), "gpt-4", "resp_1", 1)
    assert Response.model_validate(found).output_text == ""
    assert found["output"] == []
    assert found["text"] == {"format": {"type": "text"}}
    assert found["tool_choice"] == "auto"
    assert found["parallel_tool_calls"] is True


def streamed(deltas: list[Delta], request: ResponsesRequest) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Every event, checked against OpenAI's own types, and the final response."""
    encoder = EventEncoder(request, "gpt-4", "resp_1", 1)
    events = [event for delta in deltas for event in encoder.encode(delta)] + encoder.end(USED)
    for event in events:
        EVENTS.validate_python(event)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[-1]["response"] == encoder.response()
    return events, encoder.response()


def test_the_events_of_a_streamed_answer() -> None:
    deltas = [
        Delta(thinking="h"),
        Delta(thinking="m", signature="sig"),
        Delta(text="Hel"),
        Delta(choice=1, text="another answer"),
        Delta(text="lo"),
        Delta(tool_index=0, tool_id="call_1", tool_name="weather"),
        Delta(tool_index=1, tool_id="call_2", tool_name="weather"),
        Delta(tool_index=0, arguments='{"city":'),
        Delta(tool_index=0, arguments='"Bonn"}'),
        Delta(finish="tool_use"),
        Delta(usage=USED, native=Native("openai", None)),
    ]
    events, final = streamed(deltas, asked())
    assert [event["type"].removeprefix("response.") for event in events] == [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    parts = (
        ThinkingPart("hm", "sig"),
        TextPart("Hello"),
        ToolUsePart("call_1", "weather", '{"city":"Bonn"}'),
        ToolUsePart("call_2", "weather", ""),
    )
    assert final == encode_reply(reply(parts, "tool_use"), asked(), "gpt-4", "resp_1", 1)
    assert events[0]["response"]["status"] == "in_progress"
    assert events[0]["response"]["output"] == []
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert done == final["output"]


def test_a_provider_that_numbers_every_call_alike() -> None:
    deltas = [
        Delta(tool_index=0, tool_id="call_1", tool_name="a", arguments="{}"),
        Delta(tool_index=0, tool_id="call_2", tool_name="b", arguments='{"x":1}'),
        Delta(finish="tool_use"),
    ]
    _, final = streamed(deltas, asked())
    assert [(item["call_id"], item["arguments"]) for item in final["output"]] == [
        ("call_1", "{}"),
        ("call_2", '{"x":1}'),
    ]


def test_a_stream_that_breaks_off_in_the_middle() -> None:
    encoder = EventEncoder(asked(), "gpt-4", "resp_1", 1)
    events = encoder.encode(Delta(text="Hel"))
    assert encoder.response()["status"] == "in_progress"
    event = encoder.failed("The provider is limiting our requests.", "upstream_rate_limited")
    EVENTS.validate_python(event)
    assert event["type"] == "response.failed"
    assert event["sequence_number"] == len(events)
    assert event["response"]["error"] == {
        "code": "rate_limit_exceeded",
        "message": "The provider is limiting our requests.",
        "type": "upstream_rate_limited",
    }
    assert event["response"]["status"] == "failed"
    assert event["response"]["output"][0]["status"] == "incomplete"
    assert encoder.response() == event["response"]
    other = EventEncoder(asked(), "gpt-4", "resp_1", 1).failed("No.", "stream_incomplete")
    assert other["response"]["error"]["code"] == "server_error"


PIECES = st.lists(st.text(max_size=4), max_size=3)
SAID = st.tuples(st.sampled_from(["text", "thinking", "tool"]), PIECES)


@given(st.lists(SAID, max_size=6), st.sampled_from(["stop", "length", "tool_use", "content_filter"]), st.booleans())
def test_a_streamed_answer_is_the_whole_one(
    said: list[tuple[str, list[str]]], finish: FinishReason, counted: bool
) -> None:
    parts: list[Part] = []
    deltas: list[Delta] = []
    for at, (kind, pieces) in enumerate(said):
        whole = "".join(pieces)
        if kind == "text":
            parts.append(TextPart(whole))
            deltas += [Delta(text=piece) for piece in pieces]
        elif kind == "thinking":
            parts.append(ThinkingPart(whole, "sig"))
            deltas += [*(Delta(thinking=piece) for piece in pieces), Delta(signature="sig")]
        else:
            parts.append(ToolUsePart(f"call_{at}", "weather", whole))
            deltas.append(Delta(tool_index=at, tool_id=f"call_{at}", tool_name="weather"))
            deltas += [Delta(tool_index=at, arguments=piece) for piece in pieces]
    deltas.append(Delta(finish=finish, usage=USED if counted else None))
    request = decode(EVERYTHING)
    events, final = streamed(deltas, request)
    assert final == encode_reply(reply(tuple(parts), finish), request, "gpt-4", "resp_1", 1)
    Response.model_validate(final)
    for kind, name in (("message", "output_text.delta"), ("function_call", "function_call_arguments.delta")):
        for item in final["output"]:
            if item["type"] == kind:
                heard = "".join(
                    event["delta"]
                    for event in events
                    if event["type"] == f"response.{name}" and event["item_id"] == item["id"]
                )
                assert heard == (item["content"][0]["text"] if kind == "message" else item["arguments"])
