"""``auto`` by the doors: chosen within the caller's limits, explained, recorded, learned from feedback."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures.house import Answer, House
from fixtures.upstream import Play, answer, openai_answer

HELLO = [{"role": "user", "content": "Hello"}]
FIXED = {"x-gateway-deterministic": "1"}
TOOL = {"type": "function", "function": {"name": "t", "parameters": {"type": "object"}}}


def ask(
    house: House, model: str = "t-auto", key: str | None = None, limits: dict[str, str] = FIXED, **fields: Any
) -> Answer:
    body = {"model": model, "messages": HELLO, **fields}
    return house.ask("POST", "/v1/chat/completions", body, key=key or house.key("developer"), headers=limits)


def asked(house: House) -> list[str]:
    return [sent.body["model"] for sent in house.upstream.sent]


def record(house: House, found: Answer) -> dict[str, Any]:
    path = f"/audit?action=llm.call&request_id={found.headers['x-request-id']}"
    kept: dict[str, Any] = house.ask("GET", path).body["records"][0]["detail"]
    return kept


def test_the_choice_is_told_and_recorded(house: House) -> None:
    house.upstream.play(answer(openai_answer()))
    found = ask(house)
    assert asked(house) == ["good"]
    assert found.headers["x-gateway-model"] == "t-good"
    assert "of t-auto, score" in found.headers["x-gateway-route"]
    assert "quality 0.90" in found.headers["x-gateway-route"]
    kept = record(house, found)
    assert kept["selection"]["chosen"] == "t-good"
    assert set(kept["selection"]["candidates"]) == {"t-good", "t-plain"}
    assert kept["config"] == found.headers["x-gateway-config"]


@pytest.mark.parametrize(
    ("limits", "fields", "expected"),
    [
        ({"x-gateway-max-cost-usd": "0.01"}, {}, "plain"),
        ({"x-gateway-max-cost-usd": "0.01"}, {"max_tokens": 100}, "good"),
        ({"x-gateway-min-quality": "0.8"}, {}, "good"),
        ({"x-gateway-max-cost-usd": "0"}, {}, "plain"),
        ({}, {"tools": [TOOL]}, "good"),
        ({"x-gateway-needs": "structured_output"}, {}, "good"),
        ({"x-gateway-max-cost-usd": "0.5"}, {"messages": [{"role": "user", "content": "word " * 900}]}, "good"),
    ],
)
def test_limits_and_needs_decide(house: House, limits: dict[str, str], fields: dict[str, Any], expected: str) -> None:
    house.upstream.play(answer(openai_answer()))
    assert ask(house, limits=FIXED | limits, **fields).status == 200
    assert asked(house) == [expected]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses"])
def test_where_nothing_fits_each_candidate_is_named_with_its_reason(house: House, path: str) -> None:
    house.upstream.play(answer(openai_answer()))
    body = {"model": "t-auto", "max_tokens": 800, "max_output_tokens": 800, "messages": HELLO, "input": "Hello"}
    wanted = {"/v1/responses": ("model", "input", "max_output_tokens")}.get(path, ("model", "messages", "max_tokens"))
    limits = {"x-gateway-min-quality": "0.8", "x-gateway-max-cost-usd": "0.001"}
    found = house.ask("POST", path, {name: body[name] for name in wanted}, headers=limits)
    assert found.status == 400
    assert found.body["error"]["code"] == "no_model_fits"
    message = found.body["error"]["message"]
    assert "t-plain: its quality is 0.50" in message
    assert "t-good: its worst case is 0.02" in message
    assert found.headers["x-should-retry"] == "false"
    assert not house.upstream.sent
    kept = record(house, found)
    assert set(kept["selection"]["ruled_out"]) == {"t-plain", "t-good"}
    assert kept["selection"]["limits"] == {"max_cost_usd": "0.001", "min_quality": 0.8}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max-cost-usd", "cheap"),
        ("max-cost-usd", "-1"),
        ("max-cost-usd", "NaN"),
        ("max-latency-ms", "0"),
        ("min-quality", "1.1"),
        ("needs", "telepathy"),
        ("deterministic", "maybe"),
    ],
)
def test_a_wrong_limit_is_refused_by_name(house: House, name: str, value: str) -> None:
    header = f"x-gateway-{name}"
    found = ask(house, limits={header: value})
    assert (found.status, found.body["error"]["param"]) == (400, header)
    rest: dict[str, Any] = {"model_config": {"name": "t-auto"}, "input_data": {"prompt": "Hello"}}
    assert house.ask("POST", "/execute/llm", rest, headers={header: value}).body["param"] == header
    field = f"model_config.selection.{name.replace('-', '_')}"
    rest["model_config"]["selection"] = {name.replace("-", "_"): value}
    assert house.ask("POST", "/execute/llm", rest).body["param"] == field
    task = house.ask("POST", "/tasks", {"task_type": "llm_analysis", **rest})
    assert (task.status, task.body["param"]) == (422, field)


def test_limits_come_with_tasks_and_direct_calls_too(house: House) -> None:
    house.upstream.play(answer(openai_answer()))
    limits = {"max_cost_usd": "0.01", "deterministic": True}
    body = {"model_config": {"name": "t-auto", "selection": limits}, "input_data": {"prompt": "Hello"}}
    assert house.ask("POST", "/execute/llm", body).body["model"] == "t-plain"
    made = house.ask("POST", "/tasks", {"task_type": "llm_analysis", **body})
    done = house.ended(f"/tasks/{made.body['task_id']}")
    assert done["result"]["model"] == "t-plain"
    unknown = {"name": "t-auto", "selection": {"max_price": 1}}
    assert house.ask("POST", "/execute/llm", {**body, "model_config": unknown}).status == 422


def test_limits_for_a_model_that_is_named_are_refused_not_dropped(house: House) -> None:
    house.upstream.play(answer(openai_answer()))
    limits = {"x-gateway-max-cost-usd": "1"}
    found = ask(house, "t-plain", limits=limits)
    assert (found.status, found.body["error"]["param"]) == (400, "selection")
    vectors = {"model": "t-embed", "input": "x"}
    assert house.ask("POST", "/v1/embeddings", vectors, headers=limits).status == 400
    assert not house.upstream.sent
    assert ask(house, "t-plain", limits=FIXED).status == 200, "nothing is left to chance anyway"


def test_the_built_in_auto_is_over_what_the_key_may_use(house: House) -> None:
    house.upstream.play(answer(openai_answer()))
    both = house.key("developer", models=("auto", "t-plain"))
    assert ask(house, "auto", both).status == 200
    assert asked(house) == ["plain"]
    told = ask(house, "auto", both, {"x-gateway-min-quality": "0.95"}).body["error"]["message"]
    assert "t-plain: " in told
    assert "gpt-4o" not in told, "models of others are not named"
    assert ask(house, "auto", house.key("developer", models=("auto",))).status == 404
    assert ask(house, "auto", house.key("developer", models=("t-plain",))).status == 404
    listed = house.ask("GET", "/v1/models", key=both).body["data"]
    assert [row["id"] for row in listed] == ["t-plain", "auto"]


def test_another_takes_over_and_what_a_wire_cannot_carry_is_ruled_out(house: House) -> None:
    house.upstream.play(Play(401, [b"{}"]), answer(openai_answer()))
    assert ask(house).headers["x-gateway-model"] == "t-plain"
    assert asked(house) == ["good", "plain"]
    house.upstream.play(answer(openai_answer()))
    key = house.key("developer", models=("auto", "claude-3-haiku", "t-plain"))
    limits = FIXED | {"x-gateway-strict": "1"}
    found = ask(house, "auto", key, limits, logprobs=True, top_logprobs=2)
    assert asked(house) == ["plain"], found.body
    assert "claude-3-haiku" in record(house, found)["selection"]["ruled_out"]


def test_a_kept_answer_is_none_for_other_limits(house: House) -> None:
    house.upstream.play(answer(openai_answer()))
    key = house.key("developer")
    cached = FIXED | {"x-gateway-cache": "60"}
    for limits in ({"x-gateway-max-cost-usd": "0.01"}, {"x-gateway-min-quality": "0.8"}):
        ask(house, key=key, limits=cached | limits)
    assert asked(house) == ["plain", "good"]
    again = ask(house, key=key, limits=cached | {"x-gateway-min-quality": "0.8"})
    assert again.headers["x-gateway-cache"] == "hit"


def test_it_is_explained_without_a_call(house: House) -> None:
    house.upstream.play(answer(openai_answer()))
    found = house.ask("GET", "/models/t-auto/route?deterministic=1&needs=tools&max_cost_usd=0.5").body
    assert [step["model"] for step in found["plan"]] == ["t-good"]
    assert found["selection"]["ruled_out"] == {"t-plain": "does not declare tools"}
    found = house.ask("GET", "/models/t-auto/route?deterministic=1&input_tokens=2000").body
    assert [step["model"] for step in found["plan"]] == ["t-good"], "the smaller window does not fit"
    assert house.ask("GET", "/models/t-auto/route?needs=x").status == 422
    assert house.ask("GET", "/models/t-route/route?min_quality=0.5").status == 422
    assert not house.upstream.sent


def test_a_seed_leaves_nothing_to_chance(house: House) -> None:
    house.upstream.play(answer(openai_answer()))
    for _ in range(40):
        assert ask(house, limits={}, seed=7).status == 200
    assert set(asked(house)) == {"good"}


def test_feedback_is_ones_own_the_last_counts_and_the_choice_learns(house: House) -> None:
    house.upstream.play(answer(openai_answer()))
    key, other = house.key("developer", principal="ann"), house.key("developer", principal="ben")
    calls = [ask(house, key=key).headers["x-request-id"] for _ in range(20)]

    def rate(body: dict[str, Any], by: str = key) -> Answer:
        return house.ask("POST", "/feedback", body, key=by)

    for call in calls:
        assert rate({"request_id": call, "thumbs": "down"}).status == 201
    house.core.learner.exchange()
    assert ask(house).headers["x-gateway-model"] == "t-plain", "twenty bad answers outweigh what was declared"
    assert rate({"request_id": calls[0], "score": 1}, other).status == 404
    given = rate({"request_id": calls[0], "score": 1, "comment": "On second thought."})
    assert given.body["model"] == "t-good"
    for call in calls[1:]:
        rate({"request_id": call, "score": 1})
    house.core.learner.exchange()
    assert house.core.learner.standings()["t-good"].ratings == pytest.approx(20, rel=0.1), "the last word on each"
    assert ask(house).headers["x-gateway-model"] == "t-good"
    assert rate({"entry_id": given.body["entry_id"], "score": 0.9}).status == 201
    kept = house.ask("GET", f"/audit?resource=entry:{given.body['entry_id']}").body["records"]
    assert [(item["actor"], item["detail"]["score"]) for item in kept] == [("ann", 0.9), ("ann", 1.0), ("ann", 0.0)]


def test_feedback_finds_a_call_whose_entry_is_still_on_its_way(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where another process answered: nobody here can bring its entry in."""
    house.upstream.play(answer(openai_answer()))
    key = house.key("developer", principal="hasty")
    call = ask(house, key=key).headers["x-request-id"]
    look, looks = house.core.ledger.entries, list[int]()

    def late(*given: Any, **named: Any) -> Any:
        looks.append(1)
        return look(*given, **named) if len(looks) > 2 else ([], None)

    monkeypatch.setattr(house.core.ledger, "entries", late)
    assert house.ask("POST", "/feedback", {"request_id": call, "thumbs": "up"}, key=key).status == 201
    assert len(looks) == 3


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"score": 1}, "request_id"),
        ({"request_id": "a", "entry_id": "b", "score": 1}, "request_id"),
        ({"request_id": "a"}, "score"),
        ({"request_id": "a", "score": 1, "thumbs": "up"}, "score"),
        ({"request_id": "a", "score": 1.5}, "score"),
        ({"request_id": "a", "score": True}, "score"),
        ({"request_id": "a", "thumbs": "sideways"}, "thumbs"),
        ({"request_id": "a", "score": 1, "stars": 5}, "stars"),
    ],
)
def test_wrong_feedback_is_refused_by_name(house: House, body: dict[str, Any], param: str) -> None:
    found = house.ask("POST", "/feedback", body)
    assert (found.status, found.body["param"]) == (422, param)
