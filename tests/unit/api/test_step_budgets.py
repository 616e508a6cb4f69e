"""Budgets of steps: they bind all attempts and items, and the runs that a step is done as; what is done is kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from fixtures.house import House, running_house
from fixtures.upstream import answer, openai_answer
from gateway.ledger.pricing import card_for_llm, cost_llm
from gateway.models.llm_models import Usage
from gateway.money import usd
from gateway.store.run_budgets import RunBudgetEnds


def ask(name: str, prompt: str = "input.prompt", **fields: Any) -> dict[str, Any]:
    return {
        "step_id": name,
        "task_type": "llm_analysis",
        "model_config": {"name": "gpt-4", "parameters": {"max_tokens": 10}},
        "input_mapping": {"prompt": prompt},
        "retry": {"max_attempts": 1},
        **fields,
    }


ONE_BY_ONE = {"in": "input.list", "concurrency": 1, "on_error": "continue"}
LIST = {"list": ["hello", "hello", "hello", "hello"]}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_house(tmp_path_factory.mktemp("house")) as running:
        running.upstream.play(answer(openai_answer()))
        yield running


def define(house: House, name: str, *steps: dict[str, Any]) -> None:
    found = house.ask("POST", "/workflows", {"workflow_id": name, "steps": list(steps)})
    assert found.status == 201, found.body


def run(house: House, name: str, data: dict[str, Any], **fields: Any) -> dict[str, Any]:
    found = house.ask("POST", f"/workflows/{name}/runs", {"input": data, **fields})
    assert found.status == 202, found.body
    return house.ended(f"/runs/{found.body['run_id']}")


def cost(house: House) -> float:
    """Of one call, as it is answered here."""
    spec = house.core.catalogue.current.models["gpt-4"]
    card = card_for_llm("gpt-4", "openai", spec.upstream_model, spec.price, house.core.clock.now())
    return float(usd(cost_llm(card, Usage(11, 3))))


@pytest.fixture(scope="module")
def enough_for_two(house: House) -> str:
    """What covers the worst case of a second call after a first, and of no third."""
    define(house, "worst", ask("only", budget={"limit_usd": "0"}, retry={"max_attempts": 2, "on": ["budget_exceeded"]}))
    ended = run(house, "worst", {"prompt": "hello"})
    (failed,) = ended["steps"]
    assert (ended["status"], failed["attempts"]) == ("failed", 2), "its own policy says whether it is tried again"
    error = failed["error"]
    assert (error["code"], error["details"]["scope"]) == ("budget_exceeded", "step")
    assert error["details"]["subject"] == f"{ended['run_id']}/only"
    assert ended["cost"] == 0
    return f"{float(error['details']['requested']) + cost(house):.10f}"


def test_the_items_of_a_step_stay_under_its_budget_and_what_is_done_is_kept(house: House, enough_for_two: str) -> None:
    many = ask("many", "item", for_each=ONE_BY_ONE, budget={"limit_usd": enough_for_two})
    define(house, "listed", many, ask("after", dependencies=["many"]))
    ended = run(house, "listed", {**LIST, "prompt": "hello"})
    many, after = ended["steps"]
    assert (ended["status"], after["status"]) == ("completed", "completed"), "other steps are not bound by it"
    given = many["result"]
    assert [one is not None for one in given["results"]] == [True, True, False, False]
    assert [error["code"] for error in given["errors"]] == ["budget_exceeded"] * 2
    found = house.ask("GET", f"/budgets?parent={ended['run_id']}&scope=step").body["budgets"]
    assert [(one["subject"], one["limit_usd"]) for one in found] == [(f"{ended['run_id']}/many", float(enough_for_two))]
    assert found[0]["spent_usd"] == pytest.approx(2 * cost(house))
    assert RunBudgetEnds(house.core.database).sweep() >= 1
    assert house.ask("GET", f"/budgets?parent={ended['run_id']}").body["budgets"] == []
    over = house.ask("GET", f"/budgets/budget_of_{ended['run_id']}.many").body
    assert (over["active"], over["spent_usd"]) == (False, found[0]["spent_usd"])


def test_a_step_goes_on_with_a_cheaper_model_at_its_budget(house: House, enough_for_two: str) -> None:
    budget = {"limit_usd": enough_for_two, "at_limit": "degrade", "degrade_to": "t-plain"}
    define(house, "degraded", ask("many", "item", for_each=ONE_BY_ONE, budget=budget))
    ended = run(house, "degraded", LIST)
    models = [one["model"] for one in ended["steps"][0]["result"]["results"]]
    assert models == ["gpt-4", "gpt-4", "t-plain", "t-plain"]
    assert "step_budget" in str(house.ask("GET", "/audit?limit=20").body)
    shown = house.ask("GET", "/workflows/degraded").body["steps"][0]
    assert shown["budget"] == budget


def test_only_who_may_use_the_cheaper_model_begins_such_a_run(house: House) -> None:
    budget = {"limit_usd": "1", "at_limit": "degrade", "degrade_to": "t-plain"}
    define(house, "narrowed", ask("only", budget=budget))
    narrow = house.key("developer", models=("gpt-*",))
    assert house.ask("POST", "/workflows/narrowed/runs", {"input": {"prompt": "x"}}, key=narrow).status in (403, 404)


def test_runs_that_a_step_is_done_as_are_within_its_budget(house: House, enough_for_two: str) -> None:
    define(house, "inner", ask("only"))
    each = {"step_id": "each", "workflow": "inner", "for_each": ONE_BY_ONE, "input_mapping": {"prompt": "item"}}
    define(house, "bounded", {**each, "budget": {"limit_usd": enough_for_two}})
    ended = run(house, "bounded", LIST)
    given = ended["steps"][0]["result"]
    assert [one is not None for one in given["results"]] == [True, True, False, False]
    assert {error["code"] for error in given["errors"]} == {"budget_exceeded"}
    assert given["errors"][0]["details"]["subject"] == f"{ended['run_id']}/each"


def test_runs_within_a_run_are_within_its_budget_and_go_on_as_it_says(house: House, enough_for_two: str) -> None:
    define(house, "inner", ask("only"))
    each = {"step_id": "each", "workflow": "inner", "for_each": ONE_BY_ONE, "input_mapping": {"prompt": "item"}}
    define(house, "outer", each)
    stopped = run(house, "outer", LIST, budget={"limit_usd": enough_for_two})
    errors = stopped["steps"][0]["result"]["errors"]
    assert [(one["code"], one["details"]["subject"]) for one in errors] == [("budget_exceeded", stopped["run_id"])] * 2
    budget = {"limit_usd": enough_for_two, "at_limit": "degrade", "degrade_to": "t-plain"}
    given = run(house, "outer", LIST, budget=budget)["steps"][0]["result"]
    assert [one["only"]["model"] for one in given["results"]] == ["gpt-4", "gpt-4", "t-plain", "t-plain"]


def test_a_run_begun_again_has_new_budgets_for_what_is_done_again(house: House, enough_for_two: str) -> None:
    define(house, "again", ask("first"), ask("last", budget={"limit_usd": "0"}, dependencies=["first"]))
    ended = run(house, "again", {"prompt": "hello"})
    assert ended["status"] == "failed"
    found = house.ask("POST", f"/runs/{ended['run_id']}/retry", {})
    again = house.ended(f"/runs/{found.body['run_id']}")
    error = again["steps"][1]["error"]
    assert (again["cost"], error["details"]["subject"]) == (0, f"{again['run_id']}/last")


@pytest.mark.parametrize(
    ("budget", "place"),
    [
        ("5", "budget"),
        ({}, "budget.limit_usd"),
        ({"limit_usd": "-1"}, "budget.limit_usd"),
        ({"limit_usd": "0.00000000001"}, "budget.limit_usd"),
        ({"limit_usd": "much"}, "budget.limit_usd"),
        ({"limit_usd": "1", "at_limit": "panic"}, "budget.at_limit"),
        ({"limit_usd": "1", "at_limit": "degrade"}, "budget.degrade_to"),
        ({"limit_usd": "1", "at_limit": "degrade", "degrade_to": "no-such-model"}, "budget.degrade_to"),
        ({"limit_usd": "1", "more": 1}, "budget.more"),
    ],
)
def test_bad_budgets_are_refused_by_place(house: House, budget: Any, place: str) -> None:
    found = house.ask("POST", "/workflows", {"workflow_id": "bad", "steps": [ask("only", budget=budget)]})
    assert (found.status, found.body["param"]) == (422, f"steps[0].{place}")


def test_a_step_that_only_waits_has_none(house: House) -> None:
    wait = {"step_id": "wait", "signal": "go", "budget": {"limit_usd": "1"}}
    found = house.ask("POST", "/workflows", {"workflow_id": "bad", "steps": [wait]})
    assert (found.status, found.body["param"]) == (422, "steps[0].budget")
