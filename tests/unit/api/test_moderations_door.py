"""``/v1/moderations``: passed through where a backend has it, on the path of every call."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures.house import House
from fixtures.upstream import answer
from gateway.ledger.entry import UsageFilter

JUDGED = {"id": "modr-1", "model": "omni-moderation-2024-09-26", "results": [{"flagged": True, "categories": {}}]}
IMAGE = {"type": "image_url", "image_url": {"url": "https://images.test/a.png"}}


@pytest.mark.parametrize("given", ["bad", ["bad", "good"], [{"type": "text", "text": "bad"}, IMAGE]])
def test_the_judgement_is_the_providers(house: House, given: Any) -> None:
    house.upstream.play(answer(JUDGED))
    found = house.ask("POST", "/v1/moderations", {"input": given})
    assert found.status == 200
    assert found.body == {**JUDGED, "model": "omni-moderation-latest"}
    sent = house.upstream.sent[0]
    assert (sent.path, sent.body) == ("/v1/moderations", {"model": "omni-moderation-latest", "input": given})
    assert found.headers["x-gateway-cost-usd"] == "0"
    (entry, *_), _ = house.core.ledger.entries(UsageFilter(principal="admin"))
    assert (entry.model, entry.cost, entry.upstream_model) == (
        "omni-moderation-latest",
        0,
        "omni-moderation-2024-09-26",
    )


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({}, 400, "input"),
        ({"input": []}, 400, "input"),
        ({"input": [7]}, 400, "input[0]"),
        ({"input": "x", "zzz": 1}, 400, "zzz"),
        ({"input": "x", "model": "gpt-4"}, 400, "model"),
        ({"input": "x", "model": "nothing"}, 404, "model"),
    ],
)
def test_what_is_wrong_is_named(house: House, body: Any, status: int, param: str) -> None:
    found = house.ask("POST", "/v1/moderations", body)
    assert (found.status, found.body["error"]["param"]) == (status, param)


def test_a_moderation_model_does_not_chat_or_predict(house: House) -> None:
    model = "omni-moderation-latest"
    chat = {"model": model, "messages": [{"role": "user", "content": "x"}]}
    assert house.ask("POST", "/v1/chat/completions", chat).status == 400
    data = {"model_config": {"name": model}, "input_data": {"features": {"a": 1}}}
    assert house.ask("POST", "/execute/ml", data).status == 400
    assert house.ask("GET", f"/models/{model}").body["configured"] is True


def test_a_provider_that_fails_is_told(house: House) -> None:
    house.upstream.play(answer({"error": {"message": "no"}}, 400))
    assert house.ask("POST", "/v1/moderations", {"input": "x"}).body["error"]["code"] == "upstream_rejected"
