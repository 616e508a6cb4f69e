"""``/v1/responses`` with OpenAI's own SDK: whole, streamed, tools, errors; whichever provider answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from fixtures.house import ROOT_KEY, House
from fixtures.upstream import Play, answer, anthropic_answer, anthropic_events, events, openai_answer, openai_chunks

WEATHER: Any = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": False}


@pytest.fixture
def client(house: House) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{house.url}/v1", api_key=ROOT_KEY, max_retries=0) as made:
        yield made


def test_an_answer(house: House, client: openai.OpenAI) -> None:
    house.upstream.play(answer(openai_answer("Hello.")))
    found = client.responses.create(model="gpt-4", instructions="Be brief.", input="Hello", max_output_tokens=20)
    assert (found.output_text, found.status, found.model) == ("Hello.", "completed", "gpt-4")
    assert found.usage is not None
    assert (found.usage.input_tokens, found.usage.input_tokens_details.cached_tokens) == (11, 4)
    assert found.to_dict()["store"] is True
    assert house.upstream.sent[0].body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
    ]


@pytest.mark.parametrize(
    ("model", "play"),
    [
        ("gpt-4", events(*openai_chunks("Hel", "lo"))),
        ("claude-3-haiku", events(*anthropic_events("Hel", "lo"), named=True)),
    ],
)
def test_a_stream(house: House, client: openai.OpenAI, model: str, play: Play) -> None:
    house.upstream.play(play)
    with client.responses.create(model=model, input="Hello", stream=True) as stream:
        told = list(stream)
    assert "".join(event.delta for event in told if event.type == "response.output_text.delta") == "Hello"
    assert [told[0].type, told[-1].type] == ["response.created", "response.completed"]
    assert [event.sequence_number for event in told] == list(range(len(told)))


def test_a_tool_there_and_back(house: House, client: openai.OpenAI) -> None:
    use = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Rome"}}
    house.upstream.play(
        answer(anthropic_answer(content=[use], stop_reason="tool_use")), answer(anthropic_answer("Sun"))
    )
    question: Any = {"role": "user", "content": "Weather?"}
    first = client.responses.create(model="claude-3-haiku", input=[question], tools=[WEATHER])
    (call,) = first.output
    assert call.type == "function_call"
    assert (call.name, call.arguments) == ("weather", '{"city":"Rome"}')
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    talk: Any = [question, call.to_dict(), result]
    assert client.responses.create(model="claude-3-haiku", input=talk, tools=[WEATHER]).output_text == "Sun"
    turns = house.upstream.sent[1].body["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert turns[2]["content"] == [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "sunny"}]


def test_what_is_not_there_is_told(house: House, client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="no response"):
        client.responses.create(model="gpt-4", input="x", previous_response_id="resp_1")
    with pytest.raises(openai.APIStatusError, match="web_search"):
        client.responses.create(model="gpt-4", input="x", tools=[{"type": "web_search"}])
    house.upstream.play(events(*openai_chunks("Half", finish=None, usage=False), done=False))
    with client.responses.create(model="gpt-4", input="Hello", stream=True) as stream:
        assert list(stream)[-1].type == "response.failed"
