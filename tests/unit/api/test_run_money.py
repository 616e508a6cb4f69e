"""What a run will cost, and what it may: estimates before it, and budgets that it stops or degrades at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from fixtures.house import House, running_house
from fixtures.upstream import answer, openai_answer
from gateway.cli.main import make_app
from gateway.ledger.pricing import card_for_llm, cost_llm
from gateway.models.llm_models import Usage
from gateway.money import usd
from gateway.store.run_budgets import RunBudgetEnds


def step(name: str, *after: str, model: str = "gpt-4") -> dict[str, Any]:
    return {
        "step_id": name,
        "task_type": "llm_analysis",
        "model_config": {"name": model, "parameters": {"max_tokens": 10}},
        "input_mapping": {"prompt": "input.prompt"},
        "dependencies": list(after),
        "retry": {"max_attempts": 1},
    }


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_house(tmp_path_factory.mktemp("house")) as running:
        for name in ("pair", "fresh", "learned"):
            body = {"workflow_id": name, "name": name, "steps": [step("first"), step("second", "first")]}
            found = running.ask("POST", "/workflows", body)
            assert found.status == 201, found.body
        running.upstream.play(answer(openai_answer()))
        yield running


def run(house: House, workflow: str, prompt: str = "hello", **fields: Any) -> dict[str, Any]:
    found = house.ask("POST", f"/workflows/{workflow}/runs", {"input": {"prompt": prompt}, **fields})
    assert found.status == 202, found.body
    return house.ended(f"/runs/{found.body['run_id']}")


def card(house: House, model: str) -> Any:
    spec = house.core.catalogue.current.models[model]
    return card_for_llm(model, "openai", spec.upstream_model, spec.price, house.core.clock.now())


def estimate(house: House, workflow: str, prompt: str = "hello") -> dict[str, Any]:
    found = house.ask("POST", f"/workflows/{workflow}/estimate", {"input": {"prompt": prompt}})
    assert found.status == 200, found.body
    body: dict[str, Any] = found.body
    return body


def test_before_any_run_the_bounds_are_told(house: House) -> None:
    found = estimate(house, "fresh")
    assert (found["basis"], found["runs"], found["nominal_coverage"]) == ("bounds", 0, None)
    assert 0 < found["low_usd"] < found["expected_usd"]
    first, second = found["steps"]
    assert (first["model"], second["model"]) == ("gpt-4", "gpt-4")
    assert first["most_usd"] > first["expected_usd"]
    longer = estimate(house, "fresh", "word " * 300)
    assert longer["low_usd"] > found["low_usd"]


def test_runs_teach_it_and_the_estimate_is_what_the_next_costs(
    house: House, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(9):
        assert run(house, "learned")["status"] == "completed"
    found = estimate(house, "learned")
    assert (found["basis"], found["runs"], found["nominal_coverage"]) == ("history", 9, 0.8)
    ended = run(house, "learned")
    assert ended["cost"] == found["expected_usd"] == found["low_usd"] == found["high_usd"]
    each = cost_llm(card(house, "gpt-4"), Usage(11, 3))
    assert found["expected_usd"] == float(usd(2 * each))
    assert estimate(house, "learned", "word " * 200)["expected_usd"] > found["expected_usd"]
    monkeypatch.setenv("GATEWAY_URL", house.url)
    monkeypatch.setenv("GATEWAY_API_KEY", house.key("admin"))
    words = ["workflows", "estimate", "learned", "--data", '{"prompt": "hello"}']
    make_app(["workflows"])(args=words, standalone_mode=False)
    assert "80 % of 10 runs" in capsys.readouterr().out


def test_a_step_costs_what_its_items_and_the_runs_within_it_cost(house: House) -> None:
    """The sum of a run is that of its steps, and of all that it began."""
    each = {**step("each"), "for_each": {"in": "input.list"}, "input_mapping": {"prompt": "item"}}
    inner = {"step_id": "inner", "workflow": "costly", "input_mapping": {"list": "input.list"}}
    for name, steps in (("costly", [each]), ("around", [inner, step("after", "inner")])):
        found = house.ask("POST", "/workflows", {"workflow_id": name, "name": name, "steps": steps})
        assert found.status == 201, found.body
    once = float(usd(cost_llm(card(house, "gpt-4"), Usage(11, 3))))
    found = house.ask("POST", "/workflows/around/runs", {"input": {"prompt": "x", "list": ["a", "b", "c"]}})
    ended = house.ended(f"/runs/{found.body['run_id']}")
    assert ended["status"] == "completed", ended
    assert [item["cost"] for item in ended["steps"]] == [pytest.approx(3 * once), pytest.approx(once)]
    assert ended["cost"] == pytest.approx(4 * once)
    listed = house.ask("GET", "/runs?limit=5").body["runs"]
    costs = {item["run_id"]: item["cost"] for item in listed}
    assert costs[ended["run_id"]] == ended["cost"]
    child = next(item for item in listed if item["workflow_id"] == "costly")
    assert child["cost"] == pytest.approx(3 * once)
    tasks = house.ask("GET", f"/tasks?run_id={child['run_id']}").body["tasks"]
    told = sorted((item["step_id"], item["cost"]) for item in tasks)
    assert [cost for _, cost in told] == [pytest.approx(3 * once), *[pytest.approx(once)] * 3]
    (shown,) = [item for item in tasks if item["step_id"] == "each"]
    assert house.ask("GET", f"/tasks/{shown['task_id']}").body["cost"] == pytest.approx(3 * once)


def test_only_who_may_run_it_and_use_its_models(house: House) -> None:
    body = {"input": {"prompt": "x"}}
    assert house.ask("POST", "/workflows/nothing/estimate", body).status == 404
    assert house.ask("POST", "/workflows/pair/estimate", body, key=house.key("viewer")).status == 403
    narrow = house.key("developer", models=("claude-*",))
    assert house.ask("POST", "/workflows/pair/estimate", body, key=narrow).status == 404
    assert house.ask("POST", "/workflows/pair/estimate", {"input": 3}).status == 422
    assert house.ask("POST", "/workflows/pair/estimate", {"inputs": {}}).status == 422


def worst(house: House, model: str = "gpt-4") -> float:
    """The reservation of one call, as a refused one tells it."""
    ended = run(house, "pair", budget={"limit_usd": "0"})
    (failed,) = [item for item in ended["steps"] if item["status"] == "failed"]
    return float(failed["error"]["details"]["requested"])


def test_a_run_stops_at_its_budget_and_keeps_what_is_done(house: House) -> None:
    each = float(usd(cost_llm(card(house, "gpt-4"), Usage(11, 3))))
    limit = each + worst(house) * 0.5  # enough for the first step's reservation, not for both
    assert limit < each + worst(house)
    limit = max(limit, worst(house))
    ended = run(house, "pair", budget={"limit_usd": f"{limit:.10f}"}, metadata={"mine": 1})
    first, second = ended["steps"]
    assert (ended["status"], first["status"], second["status"]) == ("failed", "completed", "failed")
    assert first["result"]["response"]
    assert second["error"]["code"] == "budget_exceeded"
    assert second["error"]["details"]["scope"] == "run"
    assert ended["cost"] == each <= limit
    assert ended["metadata"] == {"mine": 1, "budget": {"limit_usd": f"{limit:.10f}", "at_limit": "stop"}}


def test_a_run_goes_on_with_a_cheaper_model_at_its_budget(house: House) -> None:
    limit = max(float(usd(cost_llm(card(house, "gpt-4"), Usage(11, 3)))), worst(house))
    budget = {"limit_usd": f"{limit:.10f}", "at_limit": "degrade", "degrade_to": "t-plain"}
    ended = run(house, "pair", budget=budget)
    assert ended["status"] == "completed", ended
    first, second = ended["steps"]
    assert (first["result"]["model"], second["result"]["model"]) == ("gpt-4", "t-plain")
    page = house.ask("GET", f"/usage/entries?run_id={ended['run_id']}").body["entries"]
    assert sorted(entry["model"] for entry in page) == ["gpt-4", "t-plain"]
    records = house.ask("GET", "/audit?limit=50").body
    assert "degraded" in str(records)


def test_the_budgets_of_ended_runs_end(house: House) -> None:
    ended = run(house, "pair", budget={"limit_usd": "5"})
    from_run = f"/budgets?scope=run&subject={ended['run_id']}"
    assert len(house.ask("GET", from_run).body["budgets"]) == 1
    assert RunBudgetEnds(house.core.database).sweep() >= 1
    assert house.ask("GET", from_run).body["budgets"] == []


@pytest.mark.parametrize(
    ("budget", "named"),
    [
        ("5", "budget"),
        ({}, "budget.limit_usd"),
        ({"limit_usd": "-1"}, "limit_usd"),
        ({"limit_usd": "much"}, "limit_usd"),
        ({"limit_usd": True}, "budget.limit_usd"),
        ({"limit_usd": "1", "at_limit": "panic"}, "budget.at_limit"),
        ({"limit_usd": "1", "at_limit": "degrade"}, "budget.degrade_to"),
        ({"limit_usd": "1", "degrade_to": "gpt-4"}, "budget.degrade_to"),
        ({"limit_usd": "1", "at_limit": "degrade", "degrade_to": "no-such-model"}, "model"),
        ({"limit_usd": "1", "more": 1}, "budget.more"),
    ],
)
def test_bad_budgets_are_refused_by_name(house: House, budget: Any, named: str) -> None:
    before = len(house.ask("GET", "/budgets?scope=run").body["budgets"])
    found = house.ask("POST", "/workflows/pair/runs", {"input": {"prompt": "x"}, "budget": budget})
    assert found.status in (404, 422)
    assert named in str(found.body)
    assert len(house.ask("GET", "/budgets?scope=run").body["budgets"]) == before


def test_a_run_that_cannot_begin_leaves_no_budget(house: House) -> None:
    before = len(house.ask("GET", "/budgets?scope=run").body["budgets"])
    found = house.ask(
        "POST", "/workflows/pair/runs", {"input": {}, "budget": {"limit_usd": "1"}, "webhook_url": "ftp://x"}
    )
    assert found.status == 422
    assert len(house.ask("GET", "/budgets?scope=run").body["budgets"]) == before
