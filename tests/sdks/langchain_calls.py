"""LangChain against the gateway, run by ``test_official_sdks.py`` in an environment of its own."""

from __future__ import annotations

import os
import unittest
from collections.abc import Callable, Iterator

from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, SecretStr

URL, KEY = os.environ["SDK_GATEWAY_URL"], os.environ["SDK_GATEWAY_KEY"]
BACKENDS = {"gpt-4o": "OpenAI-style", "gpt-5": "OpenAI-style", "claude-sonnet-5": "Anthropic-style"}
QUESTION = "How are you?"


class Day(BaseModel):
    """One day."""

    day: str
    rain: bool


class Weather(BaseModel):
    """The weather."""

    city: str
    celsius: float
    days: list[Day]


@tool  # type: ignore[untyped-decorator]  # LangChain is not installed where types are checked
def weather(city: str) -> str:
    """The weather in a city."""
    return f"21 degrees in {city}"


def clients(model: str) -> Iterator[tuple[str, BaseChatModel]]:
    """Each of LangChain's ways to a model of the gateway."""
    key = SecretStr(KEY)
    yield "chat completions", ChatOpenAI(model=model, base_url=f"{URL}/v1", api_key=key, max_retries=0)
    yield "responses", ChatOpenAI(model=model, base_url=f"{URL}/v1", api_key=key, max_retries=0, use_responses_api=True)
    yield "messages", ChatAnthropic(model_name=model, base_url=URL, api_key=key, max_retries=0, timeout=60, stop=None)


class Calls(unittest.TestCase):
    """What applications do with a chat model."""

    def each(self, check: Callable[[str, BaseChatModel], None]) -> None:
        """Tries every client with every model; ``check`` is told what the provider behind it calls itself."""
        for model, name in BACKENDS.items():
            for door, client in clients(model):
                with self.subTest(door=door, model=model):
                    check(name, client)

    def test_chat(self) -> None:
        def check(name: str, client: BaseChatModel) -> None:
            found = client.invoke([("system", "Be short."), ("human", QUESTION)])
            assert found.text == f"The {name} provider heard: {QUESTION}"
            usage = found.usage_metadata or UsageMetadata(input_tokens=0, output_tokens=0, total_tokens=0)
            assert (usage["input_tokens"], usage["output_tokens"]) == (30, 12)

        self.each(check)

    def test_stream(self) -> None:
        def check(name: str, client: BaseChatModel) -> None:
            pieces = list(client.stream(QUESTION))
            assert len(pieces) > 2
            assert "".join(piece.text for piece in pieces) == f"The {name} provider heard: {QUESTION}"

        self.each(check)

    def test_tools(self) -> None:
        def check(name: str, client: BaseChatModel) -> None:
            bound = client.bind_tools([weather])
            for streamed in (False, True):
                turns: list[BaseMessage] = [HumanMessage("The weather in two cities?")]
                called = _summed(bound.stream(turns)) if streamed else bound.invoke(turns)
                assert [call["args"] for call in called.tool_calls] == [{"city": "Paris"}, {"city": "Rome"}]
                turns += [called, *(weather.invoke(call) for call in called.tool_calls)]
                told = f"The {name} provider was told: 21 degrees in Paris; 21 degrees in Rome."
                assert bound.invoke(turns).text == told

        self.each(check)

    def test_forced_tool(self) -> None:
        def check(_name: str, client: BaseChatModel) -> None:
            found = client.bind_tools([weather], tool_choice="weather").invoke(QUESTION)
            assert [call["name"] for call in found.tool_calls] == ["weather"]

        self.each(check)

    def test_structured_output(self) -> None:
        expected = Weather(city="Paris", celsius=21.5, days=[Day(day="Paris", rain=True)])

        def check(_name: str, client: BaseChatModel) -> None:
            for method in ("json_schema", "function_calling"):
                with self.subTest(method=method):
                    found = client.with_structured_output(Weather, method=method).invoke(QUESTION)
                    assert found == expected

        self.each(check)


def _summed(chunks: Iterator[AIMessageChunk]) -> AIMessageChunk:
    """The pieces of a stream as one message."""
    first = next(chunks)
    for chunk in chunks:
        first = first + chunk
    return first


if __name__ == "__main__":
    unittest.main()
