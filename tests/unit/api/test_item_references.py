"""``item_reference`` of the Responses API: an earlier item, named by its id alone, stands in its place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from fixtures.house import ROOT_KEY, House
from fixtures.upstream import answer, events, openai_answer, openai_chunks

TOOL: Any = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": False}


@pytest.fixture
def client(house: House) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{house.url}/v1", api_key=ROOT_KEY, max_retries=0) as made:
        yield made


def pointer(name: Any, **fields: Any) -> Any:
    return {"type": "item_reference", "id": name, **fields}


def test_the_item_stands_in_its_place(house: House, client: openai.OpenAI) -> None:
    house.upstream.play(answer(openai_answer("One.")), answer(openai_answer("Two.")), answer(openai_answer("Three.")))
    first = client.responses.create(model="gpt-4", input="a")
    asked = client.responses.input_items.list(first.id).data[0].id
    second = client.responses.create(
        model="gpt-4", input=[pointer(asked), {"id": str(first.output[0].id)}, {"role": "user", "content": "b"}]
    )
    turns = [("user", "a"), ("assistant", "One."), ("user", "b")]
    assert [(turn["role"], turn["content"]) for turn in house.upstream.sent[1].body["messages"]] == turns
    client.responses.create(model="gpt-4", input="c", previous_response_id=second.id)
    assert [turn["content"] for turn in house.upstream.sent[2].body["messages"]] == ["a", "One.", "b", "Two.", "c"]
    client.responses.delete(first.id)
    kept = client.responses.input_items.list(second.id, order="asc").data
    assert [item.id for item in kept[:2]] == [asked, first.output[0].id], "what was put in place is kept as it was"


def test_calls_of_tools_by_their_ids(house: House, client: openai.OpenAI) -> None:
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    chunks = openai_chunks(finish="tool_calls")
    chunks[0]["choices"][0]["delta"] = {"role": "assistant", "content": None, "tool_calls": [call]}
    house.upstream.play(events(*chunks), answer(openai_answer("Sun")))
    with client.responses.create(model="gpt-4", input="Weather?", tools=[TOOL], stream=True) as stream:
        (item,) = [event.item for event in stream if event.type == "response.output_item.done"]
    result: Any = {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}
    asked: Any = [{"role": "user", "content": "Weather?"}, pointer(item.id), result]
    assert client.responses.create(model="gpt-4", input=asked, tools=[TOOL]).output_text == "Sun"
    assert [turn["role"] for turn in house.upstream.sent[1].body["messages"]] == ["user", "assistant", "tool"]


@pytest.mark.parametrize("name", ["msg_1", "msg_01hv0000000000000000000000_0", "rs_é", "m" * 300])
def test_an_item_that_is_not_there_is_named(house: House, name: str) -> None:
    house.upstream.play(answer(openai_answer()))
    body = {"model": "gpt-4", "input": [{"role": "user", "content": "a"}, pointer(name)]}
    found = house.ask("POST", "/v1/responses", body)
    told = found.body["error"]
    assert (found.status, told["type"], told["param"]) == (404, "not_found_error", "input[1].id")
    assert name[:60] in told["message"]
    assert "store: false" in told["message"]
    assert not house.upstream.sent


def test_another_tenants_item_is_not_there(house: House, client: openai.OpenAI) -> None:
    house.upstream.play(answer(openai_answer()))
    kept = client.responses.create(model="gpt-4", input="a")
    body = {"model": "gpt-4", "input": [pointer(kept.output[0].id)]}
    stranger = house.key("developer", principal="a-stranger")
    assert house.ask("POST", "/v1/responses", body, key=stranger).status == 404
    assert house.ask("POST", "/v1/responses", body).status == 200


def test_neither_is_one_of_a_response_that_was_not_kept(house: House, client: openai.OpenAI) -> None:
    house.upstream.play(answer(openai_answer()))
    gone = client.responses.create(model="gpt-4", input="a", store=False)
    with pytest.raises(openai.NotFoundError, match="store: false"):
        client.responses.create(model="gpt-4", input=[pointer(gone.output[0].id)])


def test_an_item_stands_there_once(house: House, client: openai.OpenAI) -> None:
    house.upstream.play(answer(openai_answer()))
    kept = client.responses.create(model="gpt-4", input="a")
    name = kept.output[0].id
    for fields in ({"input": [pointer(name)] * 2}, {"input": [pointer(name)], "previous_response_id": kept.id}):
        found = house.ask("POST", "/v1/responses", {"model": "gpt-4", **fields})
        assert (found.status, found.body["error"]["code"]) == (400, "validation_failed")
        assert "twice" in found.body["error"]["message"]


@pytest.mark.parametrize("name", [None, 7, "", ["msg_1"]])
def test_an_id_is_a_text(house: House, name: Any) -> None:
    found = house.ask("POST", "/v1/responses", {"model": "gpt-4", "input": [pointer(name)]})
    assert (found.status, found.body["error"]["param"]) == (400, "input[0].id")
