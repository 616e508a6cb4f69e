"""The runs within a run over HTTP and in the terminal: each with its state and cost, however many there are."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures.house import House
from fixtures.upstream import answer, openai_answer
from gateway.cli.main import make_app

TOKENS = 11 + 3  # of each call, as the provider tells them


def define(house: House, name: str, *steps: dict[str, Any]) -> None:
    made = house.ask("POST", "/workflows", {"workflow_id": name, "name": name, "steps": list(steps)})
    assert made.status == 201, made.body


def begun(house: House, name: str, data: dict[str, Any], **fields: Any) -> dict[str, Any]:
    found = house.ask("POST", f"/workflows/{name}/runs", {"input": data, **fields})
    assert found.status == 202, found.body
    return house.ended(f"/runs/{found.body['run_id']}")


@pytest.fixture(scope="module")
def ended(house: House) -> dict[str, Any]:
    """A run with a run for each of five desks, the last of which fails, and one run by itself."""
    house.quiet()
    house.upstream.play(answer(openai_answer("Yes.")))
    asked = {"step_id": "ask", "task_type": "llm_analysis", "model_config": {"name": "gpt-4"}}
    define(house, "within_desk", {**asked, "input_mapping": {"prompt": "input.q"}})
    define(house, "within_two", {"step_id": "one", "workflow": "within_desk", "input_mapping": {"q": "input.q"}})
    each = {"for_each": {"in": "input.list", "concurrency": 2, "on_error": "continue"}, "input_mapping": {"q": "item"}}
    define(
        house,
        "within_around",
        {"step_id": "each", "workflow": "within_two", **each},
        {"step_id": "alone", "workflow": "within_desk", "input_mapping": {"q": {"value": "x"}}},
        {**asked, "step_id": "last", "input_mapping": {"prompt": {"value": "and?"}}, "dependencies": ["each", "alone"]},
    )
    return begun(house, "within_around", {"list": ["a", "b", "c", "d", {"no": "prompt"}]})


def page(house: House, run: dict[str, Any], query: str = "", **fields: Any) -> Any:
    return house.ask("GET", f"/runs/{run['run_id']}/children{query}", **fields)


def test_each_run_within_is_told_with_its_place_and_what_it_came_to(house: House, ended: dict[str, Any]) -> None:
    assert ended["status"] == "completed", ended["error"]
    assert [step.get("workflow") for step in ended["steps"]] == ["within_two", "within_desk", None]
    found = page(house, ended).body
    assert found["next_cursor"] is None
    runs = {(one["step_id"], one["item_index"]): one for one in found["children"]}
    assert set(runs) == {("each", at) for at in range(5)} | {("alone", None)}
    assert [runs["each", at]["status"] for at in range(5)] == ["completed"] * 4 + ["failed"]
    for one in runs.values():
        whole = house.ask("GET", f"/runs/{one['run_id']}").body
        told = ("workflow_id", "status", "progress", "cost", "created_at", "started_at", "completed_at")
        assert {name: one[name] for name in told} == {name: whole[name] for name in told}
    # What lies deeper counts too: each item's call is made by a run within its run.
    assert [runs["each", at]["tokens_used"] for at in range(5)] == [TOKENS] * 4 + [0]
    assert runs["alone", None]["tokens_used"] == TOKENS


def test_a_step_tells_how_many_runs_it_has_and_what_they_come_to(house: House, ended: dict[str, Any]) -> None:
    alone, each = page(house, ended, "?limit=1").body["steps"]
    assert (alone["step_id"], alone["runs"], alone["by_status"]) == ("alone", 1, {"completed": 1})
    assert (each["step_id"], each["runs"], each["by_status"]) == ("each", 5, {"completed": 4, "failed": 1})
    assert (alone["tokens_used"], each["tokens_used"]) == (TOKENS, 4 * TOKENS)
    costs = {step["step_id"]: step["cost"] for step in ended["steps"]}
    assert (alone["cost"], each["cost"]) == (costs["alone"], costs["each"])


def test_many_come_in_pages_and_are_narrowed_to_a_step_and_a_state(house: House, ended: dict[str, Any]) -> None:
    seen: list[str] = []
    cursor = ""
    while True:
        found = page(house, ended, f"?step_id=each&limit=2{cursor}").body
        assert len(found["children"]) <= 2
        seen += [one["run_id"] for one in found["children"]]
        if found["next_cursor"] is None:
            break
        cursor = f"&cursor={found['next_cursor']}"
    assert len(seen) == len(set(seen)) == 5
    assert seen == sorted(seen, reverse=True)
    (failed,) = page(house, ended, "?status=failed").body["children"]
    assert (failed["step_id"], failed["item_index"]) == ("each", 4)


def test_their_calls_have_the_tags_that_the_run_was_begun_with(house: House, ended: dict[str, Any]) -> None:
    del ended  # defines the workflows
    run = begun(house, "within_around", {"list": ["a", "b"]}, metadata={"tags": ["job=within"], "mine": 1})
    assert run["status"] == "completed", run["error"]
    found = house.ask("GET", "/usage?by=tag.job&tag=job=within").body
    assert (found["calls"], found["total_cost"]) == (4, run["cost"])
    (child, *_) = page(house, run).body["children"]
    assert house.ask("GET", f"/runs/{child['run_id']}").body["metadata"] == {"tags": ["job=within"]}


def test_a_run_without_any_has_none(house: House, ended: dict[str, Any]) -> None:
    (last,) = [step for step in ended["steps"] if step["step_id"] == "last"]
    assert last["status"] == "completed"
    run = begun(house, "within_desk", {"q": "x"})
    assert page(house, run).body == {"children": [], "steps": [], "next_cursor": None}


@pytest.mark.parametrize(
    ("query", "status", "param"),
    [
        ("?step_id=last", 422, "step_id"),
        ("?status=gone", 422, "status"),
        ("?limit=0", 422, "limit"),
        ("?cursor=garbage", 400, "cursor"),
        ("?state=failed", 422, "state"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    house: House, ended: dict[str, Any], query: str, status: int, param: str
) -> None:
    found = page(house, ended, query)
    assert (found.status, found.body["param"]) == (status, param)


def test_somebody_elses_are_not_told(house: House, ended: dict[str, Any]) -> None:
    assert page(house, ended, key=house.key("developer", principal="another")).status == 404


def test_the_command_shows_them_and_says_where_the_others_are(
    house: House, ended: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_URL", house.url)
    monkeypatch.setenv("GATEWAY_API_KEY", house.key("admin"))

    def told(*words: str) -> str:
        make_app(["runs"])(args=["runs", "show", ended["run_id"], *words], standalone_mode=False)
        return capsys.readouterr().out

    every = [one["run_id"] for one in page(house, ended).body["children"]]
    whole = told()
    assert all(run_id in whole for run_id in every)
    assert "each[4]" in whole
    assert f"{4 * TOKENS} tokens" in whole
    some = told("--runs", "2")
    assert sum(run_id in some for run_id in every) == 2
    assert "4 more" in some
    assert "each[4]" in told("--status", "failed")
    assert "each[3]" not in told("--status", "failed")
