"""Responses that are kept: gone on from, shown, listed, deleted; by their tenant only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from fixtures.house import ROOT_KEY, House, running_house
from fixtures.money_kit import ManualClock
from fixtures.upstream import answer, events, openai_answer, openai_chunks
from gateway.clock import SECOND
from gateway.store.response_store import KEEP_SECONDS, SqlResponseStore


@pytest.fixture
def client(house: House) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{house.url}/v1", api_key=ROOT_KEY, max_retries=0) as made:
        yield made


def test_a_conversation_goes_on(house: House, client: openai.OpenAI) -> None:
    house.upstream.play(answer(openai_answer("One.")), answer(openai_answer("Two.")), answer(openai_answer("Three.")))
    first = client.responses.create(model="gpt-4", instructions="Be brief.", input="a")
    second = client.responses.create(model="gpt-4", input="b", previous_response_id=first.id)
    third = client.responses.create(model="gpt-4", input="c", previous_response_id=second.id)
    assert third.previous_response_id == second.id
    assert [(turn["role"], turn["content"]) for turn in house.upstream.sent[2].body["messages"]] == [
        ("user", "a"),
        ("assistant", "One."),
        ("user", "b"),
        ("assistant", "Two."),
        ("user", "c"),
    ], "instructions are of one request, the rest is the whole conversation"
    assert client.responses.retrieve(third.id).to_dict() == third.to_dict()
    items = list(client.responses.input_items.list(third.id, order="asc", limit=2))
    told: list[Any] = [item.to_dict()["content"] for item in items]
    assert [content[0]["text"] for content in told] == ["a", "One.", "b", "Two.", "c"]
    assert next(iter(client.responses.input_items.list(third.id))).id == items[-1].id


def test_a_branch_is_its_own(house: House, client: openai.OpenAI) -> None:
    house.upstream.play(answer(openai_answer("x")))
    first = client.responses.create(model="gpt-4", input="a")
    for text in ("b", "c"):
        client.responses.create(model="gpt-4", input=text, previous_response_id=first.id)
    assert [len(sent.body["messages"]) for sent in house.upstream.sent] == [1, 3, 3]


def test_a_stream_is_kept_when_it_has_ended(house: House, client: openai.OpenAI) -> None:
    house.upstream.play(events(*openai_chunks("Hel", "lo")), answer(openai_answer()))
    with client.responses.create(model="gpt-4", input="a", stream=True) as stream:
        done = list(stream)[-1]
    assert done.type == "response.completed"
    assert client.responses.retrieve(done.response.id).output_text == "Hello"
    client.responses.create(model="gpt-4", input="b", previous_response_id=done.response.id)
    assert house.upstream.sent[1].body["messages"][1] == {"role": "assistant", "content": "Hello"}


def test_a_stream_that_broke_is_not(house: House, client: openai.OpenAI) -> None:
    house.upstream.play(events(*openai_chunks("Half", finish=None, usage=False), done=False))
    with client.responses.create(model="gpt-4", input="a", stream=True) as stream:
        failed = list(stream)[-1]
    assert failed.type == "response.failed"
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(failed.response.id)


def test_tools_go_on_by_reference(house: House, client: openai.OpenAI) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    asks = openai_answer(choices=[{"index": 0, "message": message, "finish_reason": "tool_calls"}])
    house.upstream.play(answer(asks), answer(openai_answer("Sun")))
    tool: Any = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": False}
    first = client.responses.create(model="gpt-4", input="Weather?", tools=[tool])
    result: Any = {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}
    found = client.responses.create(model="gpt-4", input=[result], tools=[tool], previous_response_id=first.id)
    assert found.output_text == "Sun"
    assert [turn["role"] for turn in house.upstream.sent[1].body["messages"]] == ["user", "assistant", "tool"]


def test_what_should_not_be_kept_is_not(house: House, client: openai.OpenAI) -> None:
    house.upstream.play(answer(openai_answer()))
    found = client.responses.create(model="gpt-4", input="a", store=False)
    assert found.to_dict()["store"] is False
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="gpt-4", input="b", previous_response_id=found.id)


def test_another_tenant_finds_nothing(house: House, client: openai.OpenAI) -> None:
    house.upstream.play(answer(openai_answer()))
    kept = client.responses.create(model="gpt-4", input="a")
    key = house.key("developer", principal="stranger")
    with openai.OpenAI(base_url=f"{house.url}/v1", api_key=key, max_retries=0) as stranger:
        with pytest.raises(openai.NotFoundError) as refused:
            stranger.responses.create(model="gpt-4", input="b", previous_response_id=kept.id)
        assert refused.value.param == "previous_response_id"
        for act in (stranger.responses.retrieve, stranger.responses.delete, stranger.responses.input_items.list):
            with pytest.raises(openai.NotFoundError):
                act(kept.id)
    assert client.responses.retrieve(kept.id).id == kept.id


def test_a_team_shares(house: House) -> None:
    house.upstream.play(answer(openai_answer()))
    keys = [house.key("developer", principal=name, team="blue") for name in ("ann", "bob")]
    first, second = (openai.OpenAI(base_url=f"{house.url}/v1", api_key=key) for key in keys)
    with first, second:
        kept = first.responses.create(model="gpt-4", input="a")
        assert second.responses.retrieve(kept.id).id == kept.id


def test_deleting_breaks_what_goes_on_from_it(house: House, client: openai.OpenAI) -> None:
    house.upstream.play(answer(openai_answer()))
    first = client.responses.create(model="gpt-4", input="a")
    second = client.responses.create(model="gpt-4", input="b", previous_response_id=first.id)
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first.id)
    with pytest.raises(openai.NotFoundError, match="no longer kept"):
        client.responses.create(model="gpt-4", input="c", previous_response_id=second.id)
    assert client.responses.retrieve(second.id).id == second.id


def test_a_month_later_it_is_gone(house: House, client: openai.OpenAI) -> None:
    house.upstream.play(answer(openai_answer()))
    kept = client.responses.create(model="gpt-4", input="a")
    later = ManualClock(house.core.clock.now() + (KEEP_SECONDS + 1) * SECOND)
    assert SqlResponseStore(house.core.database, later).sweep() >= 1
    assert house.ask("GET", f"/v1/responses/{kept.id}").status == 404


@pytest.mark.parametrize("field", [{"background": True}, {"conversation": "conv_1"}])
def test_what_is_not_built_is_named(house: House, field: dict[str, Any]) -> None:
    found = house.ask("POST", "/v1/responses", {"model": "gpt-4", "input": "a", **field})
    assert (found.status, found.body["error"]["param"]) == (501, next(iter(field)))


@pytest.mark.parametrize(
    ("word", "asked", "kept"), [("if_asked", None, False), ("if_asked", True, True), ("never", True, False)]
)
def test_the_operator_may_say_what_is_kept(
    tmp_path_factory: pytest.TempPathFactory, word: str, asked: bool | None, kept: bool
) -> None:
    with running_house(tmp_path_factory.mktemp("house"), GATEWAY_STORE_RESPONSES=word) as own:
        own.upstream.play(answer(openai_answer()))
        found = own.ask("POST", "/v1/responses", {"model": "gpt-4", "input": "a", "store": asked}).body
        assert found["store"] is kept
        assert (own.ask("GET", f"/v1/responses/{found['id']}").status == 200) is kept
