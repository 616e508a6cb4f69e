"""P9, by every route to a model: nobody is answered from another tenant's question, exact or alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fixtures.cache_kit import add_models
from fixtures.guard_kit import DOORS, STREAMING, pieces, whole
from fixtures.house import Answer, House
from fixtures.upstream import Play, answer
from gateway.providers.local_embedding import weights

FIRST, AGAIN = "What is the debt of Acme?", "What's the debt of Acme?"
Ask = Callable[[House, str, str, str], Answer]


def _door(path: str, body: Callable[[str, str], dict[str, Any]], **more: Any) -> Ask:
    return lambda house, key, model, text: house.ask("POST", path, body(model, text) | more, key=key)


def _task(house: House, key: str, model: str, text: str) -> Answer:
    body = {"task_type": "llm_analysis", "model_config": {"name": model}, "input_data": {"prompt": text}}
    return house.ask("POST", "/tasks", body, key=key, headers={"prefer": "wait=20"})


ROUTES: dict[str, tuple[Ask, Callable[[str], Play]]] = {
    **{door.name: (_door(door.path, door.body), lambda text: whole("", text)) for door in DOORS},
    **{
        f"{door.name}, streamed": (_door(door.path, door.body, stream=True), lambda text: pieces("", text))
        for door in STREAMING
    },
    "tasks": (_task, lambda text: whole("", text)),
}


@pytest.fixture(autouse=True)
def models(house: House) -> None:
    add_models(house)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    ("model", "second"),
    [
        ("c-exact", FIRST),
        pytest.param(
            "c-alike", AGAIN, marks=pytest.mark.skipif(weights() is None, reason="the weights are not installed")
        ),
    ],
    ids=["exact", "semantic"],
)
def test_no_answer_crosses_a_tenant(house: House, route: str, model: str, second: str) -> None:
    ask, play = ROUTES[route]
    keys = [
        house.key("developer", team="ours"),
        house.key("developer", team="theirs"),
        house.key("developer", principal="loner"),
        house.key("developer", principal="ours"),  # a person whose name is our team's
    ]
    ours, *others = keys
    question = f" ({route}, {model})".replace(",", "")
    secret = f"Ours alone {route} {model}."
    house.upstream.play(play(secret))
    assert secret.encode() in ask(house, ours, model, FIRST[:-1] + question + "?").raw
    sent = len(house.upstream.sent)
    house.upstream.play(play("Another answer."))
    for other in others:
        for text in (FIRST, second):
            found = ask(house, other, model, text[:-1] + question + "?").raw
            assert secret.encode() not in found
            assert b"Another answer." in found
    assert sent == 1
    assert len(house.upstream.sent) >= len(others), "each tenant asked for itself"
    again = ask(house, ours, model, second[:-1] + question + "?")
    assert secret.encode() in again.raw, "it was kept all the same"


def test_vectors_do_not_cross_a_tenant(house: House) -> None:
    def vectors(number: float) -> Play:
        data = [{"index": 0, "embedding": [number]}]
        return answer({"data": data, "model": "text-embedding-3-small", "usage": {"prompt_tokens": 2}})

    ours, theirs = house.key("developer", team="ours"), house.key("developer", team="theirs")
    mate = house.key("developer", team="ours")

    def ask(key: str) -> tuple[float, str]:
        found = house.ask("POST", "/v1/embeddings", {"model": "c-kept-embed", "input": "debt of Acme"}, key=key)
        return found.body["data"][0]["embedding"][0], found.headers["x-gateway-cache"]

    house.upstream.play(vectors(1.0))
    assert [ask(ours), ask(mate)] == [(1.0, "miss"), (1.0, "hit")]
    house.upstream.play(vectors(2.0))
    assert [ask(theirs), ask(ours)] == [(2.0, "miss"), (1.0, "hit")]
