"""The official SDKs, unchanged but for address and key: the embedded model, and providers over the wire."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast

import anthropic
import openai
import pytest

from fixtures.gateway_process import GatewayProcess
from fixtures.house import ROOT_KEY, House, running_house
from fixtures.upstream import (
    answer,
    anthropic_answer,
    anthropic_events,
    events,
    openai_answer,
    openai_chunks,
)

ASKED: Any = [{"role": "user", "content": "What is a bond? Answer in one sentence."}]
QUESTION = "What is a bond? Answer in one sentence."
TOOL: dict[str, object] = {"type": "object", "properties": {"asset": {"type": "string"}}, "required": ["asset"]}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_house(tmp_path_factory.mktemp("house")) as running:
        yield running


@pytest.fixture
def openai_local(gateway: GatewayProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0) as client:
        yield client


@pytest.fixture
def anthropic_local(gateway: GatewayProcess) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=gateway.url, api_key=gateway.key, max_retries=0) as client:
        yield client


@pytest.fixture
def openai_far(house: House) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{house.url}/v1", api_key=ROOT_KEY) as client:
        yield client


@pytest.fixture
def anthropic_far(house: House) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=house.url, api_key=ROOT_KEY) as client:
        yield client


def test_openai_against_the_embedded_model(openai_local: openai.OpenAI) -> None:
    assert "smollm2" in [model.id for model in openai_local.models.list()]
    found = openai_local.chat.completions.create(model="smollm2", messages=ASKED, max_tokens=40)
    assert (found.choices[0].message.content or "").strip()
    assert found.usage is not None
    assert found.usage.completion_tokens > 0
    stream = openai_local.chat.completions.create(
        model="smollm2", messages=ASKED, max_tokens=40, stream=True, stream_options={"include_usage": True}
    )
    pieces = list(stream)
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
    assert text.strip()
    assert pieces[-1].usage is not None
    assert pieces[-1].usage.total_tokens > 0


def test_openai_goes_on_with_a_text_at_the_embedded_model(openai_local: openai.OpenAI) -> None:
    asked: dict[str, Any] = {
        "model": "smollm2",
        "prompt": "Once upon a time",
        "max_tokens": 12,
        "temperature": 0,
        "seed": 1,
    }
    whole = openai_local.completions.create(**asked)
    assert whole.choices[0].text
    assert whole.usage is not None
    assert (whole.choices[0].finish_reason, whole.usage.completion_tokens) == ("length", 12)
    pieces = list(openai_local.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    assert "".join(choice.text for piece in pieces for choice in piece.choices) == whole.choices[0].text
    told = pieces[-1].usage
    assert told is not None
    assert (told.prompt_tokens, told.completion_tokens) == (whole.usage.prompt_tokens, 12)
    end = whole.choices[0].text[4:7]
    cut = openai_local.completions.create(**asked, stop=end)
    assert cut.choices[0].text == whole.choices[0].text.partition(end)[0]
    assert cut.choices[0].finish_reason == "stop"
    with pytest.raises(openai.BadRequestError, match="takes no echo"):
        openai_local.completions.create(**asked, echo=True)


def test_what_the_embedded_model_cannot_do_is_told_before_it_is_asked(openai_local: openai.OpenAI) -> None:
    raw = openai_local.chat.completions.with_raw_response.create(
        model="smollm2", messages=ASKED, max_tokens=5, store=True, reasoning_effort="low", logprobs=True
    )
    assert raw.headers["x-gateway-dropped-params"] == "reasoning_effort,store"
    logprobs = raw.parse().choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content
    tool: Any = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    with pytest.raises(openai.BadRequestError) as refused:
        openai_local.chat.completions.create(model="smollm2", messages=ASKED, tools=[tool], tool_choice="required")
    assert refused.value.param == "tools"


def test_anthropic_against_the_embedded_model(anthropic_local: anthropic.Anthropic) -> None:
    found = anthropic_local.messages.create(
        model="smollm2", max_tokens=40, messages=[{"role": "user", "content": QUESTION}]
    )
    assert found.content[0].type == "text"
    assert found.content[0].text.strip()
    assert found.usage.output_tokens > 0
    with anthropic_local.messages.stream(
        model="smollm2", max_tokens=40, messages=[{"role": "user", "content": QUESTION}]
    ) as stream:
        assert "".join(stream.text_stream).strip()
        assert stream.get_final_message().stop_reason in ("end_turn", "max_tokens")


def test_openai_streams_tool_calls(house: House, openai_far: openai.OpenAI) -> None:
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "price", "arguments": ""}}
    pieces = openai_chunks(finish=None, usage=False)
    for delta in (
        {"tool_calls": [call]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"asset":'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '"JPM"}'}}]},
    ):
        pieces.append({"id": "c", "model": "gpt-4", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
    pieces.append({"id": "c", "model": "gpt-4", "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    house.upstream.play(events(*pieces))
    stream = openai_far.chat.completions.create(
        model="gpt-4",
        messages=[{"role": "user", "content": "price?"}],
        tools=[{"type": "function", "function": {"name": "price", "parameters": TOOL}}],
        stream=True,
    )
    arguments, finish = "", ""
    for chunk in cast(openai.Stream[Any], stream):
        for piece in chunk.choices[0].delta.tool_calls or []:
            arguments += (piece.function.arguments or "") if piece.function else ""
        finish = chunk.choices[0].finish_reason or finish
    assert (json.loads(arguments), finish) == ({"asset": "JPM"}, "tool_calls")


def test_anthropic_streams_from_an_openai_backend(house: House, anthropic_far: anthropic.Anthropic) -> None:
    house.upstream.play(events(*openai_chunks("Hel", "lo")))
    with anthropic_far.messages.stream(
        model="gpt-4", max_tokens=9, messages=[{"role": "user", "content": "Hi"}]
    ) as stream:
        assert "".join(stream.text_stream) == "Hello"
        final = stream.get_final_message()
    assert (final.stop_reason, final.usage.output_tokens) == ("end_turn", 3)


def test_openai_reads_an_anthropic_backend(house: House, openai_far: openai.OpenAI) -> None:
    house.upstream.play(answer(anthropic_answer("Bonjour")))
    found = openai_far.chat.completions.create(
        model="claude-3-sonnet", messages=[{"role": "user", "content": "Hi"}], max_tokens=9
    )
    assert found.choices[0].message.content == "Bonjour"
    house.upstream.play(events(*anthropic_events("Bon", "jour"), named=True))
    stream = openai_far.chat.completions.create(
        model="claude-3-sonnet", messages=[{"role": "user", "content": "Hi"}], max_tokens=9, stream=True
    )
    assert "".join(piece.choices[0].delta.content or "" for piece in stream if piece.choices) == "Bonjour"


def test_sdks_raise_their_own_errors(
    house: House, openai_far: openai.OpenAI, anthropic_far: anthropic.Anthropic
) -> None:
    house.upstream.play(answer(openai_answer()))
    with pytest.raises(openai.NotFoundError) as missing:
        openai_far.chat.completions.create(model="gpt-9", messages=[{"role": "user", "content": "Hi"}])
    assert missing.value.code == "model_not_found"
    with (
        openai.OpenAI(base_url=f"{house.url}/v1", api_key="gw-wrong") as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.models.list()
    with pytest.raises(anthropic.NotFoundError):
        anthropic_far.messages.create(model="claude-9", max_tokens=9, messages=[{"role": "user", "content": "Hi"}])
    with (
        anthropic.Anthropic(base_url=house.url, api_key="gw-wrong") as nobody,
        pytest.raises(anthropic.AuthenticationError),
    ):
        nobody.messages.create(model="gpt-4", max_tokens=9, messages=[{"role": "user", "content": "Hi"}])


def test_sdks_do_not_repeat_what_a_repeat_cannot_mend(house: House) -> None:
    house.ask("POST", "/budgets", {"scope": "user", "subject": "spent", "limit_usd": "0.000001", "window": "day"})
    key = house.key("developer", principal="spent")
    house.upstream.play(answer(openai_answer()))
    with (
        openai.OpenAI(base_url=f"{house.url}/v1", api_key=key, max_retries=3) as client,
        pytest.raises(openai.APIStatusError) as refused,
    ):
        client.chat.completions.create(model="gpt-4", messages=[{"role": "user", "content": "Hi"}])
    assert refused.value.status_code == 402
    page = house.core.metrics.render(lambda: {"tasks": {}, "queue_depth": {}}).decode()
    refusals = [
        line for line in page.split("\n") if line.startswith("gateway_requests_total") and 'status="402"' in line
    ]
    assert [float(line.rsplit(" ", 1)[1]) for line in refusals] == [1.0]
    assert house.upstream.sent == []
