"""Stored prompts in use: splits and their results, one-off calls, tasks and runs."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures.house import House
from fixtures.prompt_door_kit import USER, made, noted, point
from fixtures.upstream import answer, openai_answer


def test_a_split_keeps_a_conversation_on_its_version_and_counts_results(house: House) -> None:
    made(house, "ab", template="one {{ x }}")
    made(house, "ab", template="two {{ x }}")
    split = [{"version": 1, "weight": 1}, {"version": 2, "weight": 1}]
    assert point(house, "ab", split=split).status == 200
    house.upstream.play(answer(openai_answer()))
    prompt = {"id": "ab", "variables": {"x": 1}}

    def asked(headers: dict[str, str], **fields: Any) -> str:
        body = {"model": "gpt-4", "prompt": prompt, **fields}
        return house.ask("POST", "/v1/chat/completions", body, headers=headers).headers["x-gateway-prompt"]

    by_session = {f"s{number}": asked({"x-gateway-session": f"s{number}"}) for number in range(12)}
    assert set(by_session.values()) == {"ab@1", "ab@2"}
    data = {"template": "ab", "variables": {"x": 1}}
    execute = {"model_config": {"name": "gpt-4"}, "input_data": data}
    for session, version in by_session.items():
        assert asked({"x-gateway-session": session}) == version
        found = house.ask("POST", "/execute/llm", execute, headers={"x-gateway-session": session})
        assert found.headers["x-gateway-prompt"] == version
        assert found.body["prompt"] == {"id": "ab", "version": int(version[-1])}
    assert asked({}, user="s3") == by_session["s3"]
    assert asked({"x-request-id": "s4"}) == by_session["s4"]
    note = noted(house, "s4")
    assert note["split"] == {"weights": {"1": 1, "2": 1}, "by": "request"}
    assert note["label"] == "production"
    house.upstream.play(answer({"error": {"message": "no"}}, 400))
    refused = house.ask("POST", "/v1/chat/completions", {"model": "gpt-4", "prompt": {**prompt, "version": 2}})
    assert refused.status == 400
    rows = house.ask("GET", "/prompts/ab/results?days=2").body["results"]
    figures = {(row["version"], row["label"]): row for row in rows}
    assert sum(row["calls"] for row in rows) == 12 + 24 + 2 + 1
    assert (figures[2, None]["calls"], figures[2, None]["failures"]) == (1, 1)
    first = figures[1, "production"]
    assert first["cost"] == pytest.approx(first["calls"] * first["cost_per_call"])
    assert first["latency_seconds"]["p50"] > 0
    assert first["feedback"] == {"count": 0, "mean": None}
    assert house.ask("GET", "/prompts/ab/results?days=9999").body["param"] == "days"


def test_a_model_that_the_key_may_not_use_stays_closed(house: House) -> None:
    made(house, "wish", template="x", defaults={"model": "gpt-4"})
    key = house.key("developer", models=("claude-*",))
    found = house.ask("POST", "/v1/chat/completions", {"prompt": {"id": "wish"}}, key=key)
    assert (found.status, found.body["error"]["code"]) == (404, "model_not_found")
    found = house.ask("POST", "/execute/llm", {"input_data": {"template": "wish"}}, key=key)
    assert (found.status, found.body["code"]) == (404, "model_not_found")


def test_execute_and_tasks_take_a_stored_prompt(house: House) -> None:
    made(house, "work", defaults={"model": "gpt-4", "parameters": {"temperature": 0.1}})
    point(house, "work", "staging", version=1)
    house.upstream.play(answer(openai_answer("Fine.")))
    data = {"template": "work", "label": "staging", "variables": {"facts": "VaR"}, "messages": USER}
    found = house.ask("POST", "/execute/llm", {"input_data": data})
    assert (found.status, found.body["response"], found.headers["x-gateway-prompt"]) == (200, "Fine.", "work@1")
    sent = house.upstream.sent[0].body
    assert [turn["content"] for turn in sent["messages"]] == ["Be brief.", "Sum up VaR.", "And?"]
    assert (sent["model"], sent["temperature"]) == ("gpt-4", 0.1)
    body = {"task_type": "llm_analysis", "input_data": {"template": "work@1", "variables": {"facts": "VaR"}}}
    task = house.ended(f"/tasks/{house.ask('POST', '/tasks', body).body['task_id']}")
    assert (task["status"], task["result"]["prompt"]) == ("completed", {"id": "work", "version": 1})
    body["input_data"] = {"template": "work@nowhere", "variables": {"facts": "VaR"}}
    failed = house.ended(f"/tasks/{house.ask('POST', '/tasks', body).body['task_id']}")
    assert (failed["status"], failed["error"]["code"]) == ("failed", "not_found")


def test_every_step_of_a_run_asks_one_version(house: House) -> None:
    for text in ("one", "two"):
        made(house, "steps", template=text)
    point(house, "steps", split=[{"version": 1, "weight": 1}, {"version": 2, "weight": 1}])
    mapping = {"template": {"value": "steps"}}
    steps = [
        {"step_id": f"s{at}", "task_type": "llm_analysis", "model_config": {"name": "gpt-4"}, "input_mapping": mapping}
        for at in range(3)
    ]
    assert house.ask("POST", "/workflows", {"workflow_id": "prompted", "steps": steps}).status == 201
    house.upstream.play(answer(openai_answer()))
    for _ in range(4):
        run = house.ask("POST", "/workflows/prompted/runs", {"input": {}}).body
        house.ended(f"/runs/{run['run_id']}")
        found = house.ask("GET", f"/runs/{run['run_id']}").body
        tasks = [house.ask("GET", f"/tasks/{step['task_id']}").body for step in found["steps"]]
        versions = {task["result"]["prompt"]["version"] for task in tasks}
        assert len(versions) == 1
