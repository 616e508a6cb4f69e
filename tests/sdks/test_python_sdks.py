"""The official Python SDKs: each does chat, stream, tools and structured output with models of two providers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from anthropic import beta_tool
from pydantic import BaseModel

from fixtures.gateway_process import GatewayProcess

BACKENDS = pytest.mark.parametrize(
    ("model", "name"), [("gpt-4o", "OpenAI-style"), ("gpt-5", "OpenAI-style"), ("claude-sonnet-5", "Anthropic-style")]
)
QUESTION = "How are you?"
ASKED: Any = [{"role": "user", "content": QUESTION}]
TWO: Any = [{"role": "user", "content": "The weather in two cities?"}]
CITY: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


class Day(BaseModel):
    day: str
    rain: bool


class Weather(BaseModel):
    city: str
    celsius: float
    days: list[Day]


WEATHER = Weather(city="Paris", celsius=21.5, days=[Day(day="Paris", rain=True)])


def told(name: str, *cities: str) -> str:
    return f"The {name} provider was told: {'; '.join(f'21 degrees in {city}' for city in cities)}."


@pytest.fixture(scope="module")
def by_openai(gateway: GatewayProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def by_anthropic(gateway: GatewayProcess) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=gateway.url, api_key=gateway.key, max_retries=0) as client:
        yield client


@BACKENDS
def test_openai_chat_and_stream(by_openai: openai.OpenAI, model: str, name: str) -> None:
    found = by_openai.chat.completions.create(model=model, messages=ASKED, max_completion_tokens=50)
    assert found.choices[0].message.content == f"The {name} provider heard: {QUESTION}"
    with by_openai.chat.completions.stream(model=model, messages=ASKED) as stream:
        pieces = [event.delta for event in stream if event.type == "content.delta"]
        assert stream.get_final_completion().choices[0].finish_reason == "stop"
    assert "".join(pieces) == found.choices[0].message.content


@BACKENDS
def test_openai_tools(by_openai: openai.OpenAI, model: str, name: str) -> None:
    tools: Any = [{"type": "function", "function": {"name": "weather", "parameters": CITY, "strict": True}}]
    with by_openai.chat.completions.stream(model=model, messages=TWO, tools=tools) as stream:
        message = stream.get_final_completion().choices[0].message
    turns = [*TWO, message.model_dump(exclude_none=True, include={"role", "tool_calls"})]
    for call in message.tool_calls or []:
        content = f"21 degrees in {json.loads(call.function.arguments)['city']}"
        turns.append({"role": "tool", "tool_call_id": call.id, "content": content})
    for turn in turns[1]["tool_calls"]:
        turn["function"].pop("parsed_arguments", None)
    found = by_openai.chat.completions.create(model=model, messages=turns, tools=tools)
    assert found.choices[0].message.content == told(name, "Paris", "Rome")


@BACKENDS
def test_openai_structured_output(by_openai: openai.OpenAI, model: str, name: str) -> None:
    found = by_openai.chat.completions.parse(model=model, messages=ASKED, response_format=Weather)
    assert found.choices[0].message.parsed == WEATHER
    with by_openai.chat.completions.stream(model=model, messages=ASKED, response_format=Weather) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == WEATHER


@BACKENDS
def test_openai_responses(by_openai: openai.OpenAI, model: str, name: str) -> None:
    assert by_openai.responses.create(model=model, input=QUESTION).output_text.endswith(QUESTION)
    tools: Any = [{"type": "function", "name": "weather", "parameters": CITY, "strict": True}]
    with by_openai.responses.stream(model=model, input=TWO, tools=tools) as stream:
        first = stream.get_final_response()
    items: Any = [*TWO, *(item.model_dump(exclude={"parsed_arguments"}) for item in first.output)]
    for item in first.output:
        assert item.type == "function_call"
        city = json.loads(item.arguments)["city"]
        items.append({"type": "function_call_output", "call_id": item.call_id, "output": f"21 degrees in {city}"})
    assert by_openai.responses.create(model=model, input=items, tools=tools).output_text == told(name, "Paris", "Rome")
    assert by_openai.responses.parse(model=model, input=QUESTION, text_format=Weather).output_parsed == WEATHER


@BACKENDS
def test_anthropic_chat_and_stream(by_anthropic: anthropic.Anthropic, model: str, name: str) -> None:
    found = by_anthropic.messages.create(model=model, max_tokens=50, messages=ASKED)
    assert [block.text for block in found.content if block.type == "text"] == [f"The {name} provider heard: {QUESTION}"]
    with by_anthropic.messages.stream(model=model, max_tokens=50, messages=ASKED) as stream:
        assert "".join(stream.text_stream) == f"The {name} provider heard: {QUESTION}"
        final = stream.get_final_message()
    assert (final.stop_reason, final.usage.output_tokens) == ("end_turn", 12)


@BACKENDS
def test_anthropic_tools(by_anthropic: anthropic.Anthropic, model: str, name: str) -> None:
    tools: Any = [{"name": "weather", "input_schema": CITY}]
    with by_anthropic.messages.stream(model=model, max_tokens=50, messages=TWO, tools=tools) as stream:
        used = stream.get_final_message()
    results: Any = [
        {"type": "tool_result", "tool_use_id": block.id, "content": f"21 degrees in {block.input['city']}"}
        for block in used.content
        if block.type == "tool_use" and isinstance(block.input, dict)
    ]
    turns: Any = [*TWO, {"role": "assistant", "content": used.content}, {"role": "user", "content": results}]
    found = by_anthropic.messages.create(model=model, max_tokens=50, messages=turns, tools=tools)
    assert [block.text for block in found.content if block.type == "text"] == [told(name, "Paris", "Rome")]


@BACKENDS
def test_anthropic_runs_tools_itself(by_anthropic: anthropic.Anthropic, model: str, name: str) -> None:
    @beta_tool
    def weather(city: str) -> str:
        """The weather in a city."""
        return f"21 degrees in {city}"

    runner = by_anthropic.beta.messages.tool_runner(model=model, max_tokens=50, messages=ASKED, tools=[weather])
    final = runner.until_done()
    assert [block.text for block in final.content if block.type == "text"] == [told(name, "Paris")]


@BACKENDS
def test_anthropic_structured_output(by_anthropic: anthropic.Anthropic, model: str, name: str) -> None:
    found = by_anthropic.messages.parse(model=model, max_tokens=50, messages=ASKED, output_format=Weather)
    assert found.parsed_output == WEATHER
    with by_anthropic.messages.stream(model=model, max_tokens=50, messages=ASKED, output_format=Weather) as stream:
        assert stream.get_final_message().parsed_output == WEATHER
