"""Routes over deployments, by the door: who is asked, who takes over, and what it costs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fixtures.house import Answer, House
from fixtures.upstream import Play, answer, events, openai_answer, openai_chunks

PATH = "/v1/chat/completions"


def ask(house: House, model: str, **fields: Any) -> Answer:
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], **fields}
    return house.ask("POST", PATH, body, key=house.key("developer"))


def asked(house: House) -> list[str]:
    """The upstream models that were called, in order."""
    return [sent.body["model"] for sent in house.upstream.sent]


TOO_LONG = {"error": {"code": "context_length_exceeded", "message": "maximum context length is 100 tokens"}}
REFUSED = {"error": {"code": "content_filter", "message": "The response was filtered: content_filter"}}


def test_the_first_deployment_answers_and_says_why(house: House) -> None:
    house.upstream.play(answer(openai_answer()))
    found = ask(house, "t-route")
    assert asked(house) == ["small"]
    assert found.headers["x-gateway-model"] == "t-small"
    assert found.headers["x-gateway-route"] == "t-small: asked for, of t-route, priority 1"
    assert found.body["model"] == "t-route", "the name that the caller knows"


def test_another_deployment_takes_over(house: House) -> None:
    house.upstream.play(Play(401, [b"{}"]), answer(openai_answer("From the other.")))
    found = ask(house, "t-route")
    assert asked(house) == ["small", "large"]
    assert found.body["choices"][0]["message"]["content"] == "From the other."
    assert found.headers["x-gateway-attempts"] == "2"
    assert "priority 2" in found.headers["x-gateway-route"]


def test_too_long_goes_only_to_a_larger_window(house: House) -> None:
    house.upstream.play(answer(TOO_LONG, 400), answer(openai_answer()))
    assert ask(house, "t-window").status == 200
    assert asked(house) == ["small", "large"], "exactly one attempt where it did not fit, none where less fits"


def test_refused_content_goes_nowhere_unless_a_model_is_named(house: House) -> None:
    house.upstream.play(answer(REFUSED, 400))
    assert ask(house, "t-route").status == 400
    assert asked(house) == ["small"]
    house.upstream.play(answer(REFUSED, 400), answer(openai_answer()))
    assert ask(house, "t-strictly").status == 200
    assert asked(house) == ["small", "large"]


def test_an_atomic_stream_is_taken_over_in_the_middle(house: House) -> None:
    broken = events(*openai_chunks("Half of", finish=None, usage=False), break_off=True, done=False)
    whole = events(*openai_chunks("All ", "of it"))
    house.upstream.play(broken, broken, whole)
    found = ask(house, "t-atomic", stream=True)
    assert asked(house) == ["small", "small", "large"]
    lines = [line[6:] for line in found.raw.decode().splitlines() if line.startswith("data: {")]
    texts = [choice["delta"].get("content") or "" for line in lines for choice in json.loads(line)["choices"]]
    assert "".join(texts) == "All of it", "nothing of the broken answer was seen"


def test_a_silent_deployment_is_raced_and_hung_up_on(house: House) -> None:
    slow = answer(openai_answer("Late."))
    slow.hang, slow.chunks = 5.0, []
    house.upstream.play(slow, answer(openai_answer("In time.")))
    found = ask(house, "t-hedged")
    assert found.body["choices"][0]["message"]["content"] == "In time."
    assert asked(house) == ["small", "large"]
    assert house.upstream.hung_up.wait(5), "the slower one was cancelled"
    page = house.ask("GET", "/usage/entries?limit=2").body
    assert {entry["model"] for entry in page["entries"]} == {"t-small", "t-large"}, "both are in the ledger"


def test_the_plan_is_explained_and_can_be_repeated(house: House) -> None:
    found = house.ask("GET", "/models/t-route/route?draw=0.5").body
    assert [step["model"] for step in found["plan"]] == ["t-small", "t-large"]
    assert found["strategy"] == "priority"
    assert found["plan"][0]["reason"] == "asked for, of t-route, priority 1"
    assert house.ask("GET", "/models/t-route/route?draw=2").status == 422
    assert house.ask("GET", "/models/risk-classifier/route").status == 400


@pytest.mark.parametrize("model", ["t-small", "t-route"])
def test_a_key_of_other_models_may_not(house: House, model: str) -> None:
    house.upstream.play(answer(openai_answer()))
    key = house.key("developer", models=("gpt-4",))
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
    assert house.ask("POST", PATH, body, key=key).status in (403, 404)
    assert not house.upstream.sent


def test_who_may_use_a_route_may_use_its_deployments(house: House) -> None:
    house.upstream.play(answer(openai_answer()))
    key = house.key("developer", models=("t-route",))
    body = {"model": "t-route", "messages": [{"role": "user", "content": "Hello"}]}
    assert house.ask("POST", PATH, body, key=key).status == 200
