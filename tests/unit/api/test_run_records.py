"""What runs are made of: kept results, large values, lineage, replay, dead letters, schedules, runs within runs."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select
from typer.testing import CliRunner

from fixtures.house import House
from fixtures.money_kit import SECOND, ManualClock
from fixtures.upstream import answer, openai_answer
from gateway.cli.runs import make_app
from gateway.store.run_reader import SqlRunReader
from gateway.store.schedule_store import SqlScheduleStore
from gateway.store.tables import artifact, step
from gateway.tasks.schedules import Schedules


def ask(name: str, mapping: dict[str, Any], **fields: Any) -> dict[str, Any]:
    work = {"step_id": name, "task_type": "llm_analysis", "model_config": {"name": "gpt-4"}, "input_mapping": mapping}
    return {**work, **fields}


TWO = [ask("first", {"prompt": "input.q"}), ask("second", {"prompt": "step.first.response"})]


def run_of(house: House, workflow: str, steps: list[dict[str, Any]], data: Any = None) -> dict[str, Any]:
    """A run of a new workflow, once it has ended."""
    made = house.ask("POST", "/workflows", {"workflow_id": workflow, "steps": steps})
    assert made.status == 201, made.body
    found = house.ask("POST", f"/workflows/{workflow}/runs", {"input": data or {}})
    assert found.status == 202, found.body
    return house.ended(f"/runs/{found.body['run_id']}")


def test_an_equal_step_takes_the_result_that_was_kept(house: House) -> None:
    house.quiet()
    house.upstream.play(answer(openai_answer("Once.")))
    steps = [ask("only", {"prompt": "input.q"}, cache={"ttl": 600})]
    first = run_of(house, "cached", steps, {"q": "Same?"})
    again = run_of(house, "cached", steps, {"q": "Same?"})
    assert len(house.upstream.sent) == 1
    assert again["steps"][0]["cached"] == first["steps"][0]["task_id"]
    assert (again["steps"][0]["result"]["response"], again["cost"]) == ("Once.", 0)
    run_of(house, "cached", steps, {"q": "Other?"})
    assert len(house.upstream.sent) == 2
    stranger = house.key("developer")
    found = house.ask("POST", "/workflows/cached/runs", {"input": {"q": "Same?"}}, key=stranger)
    house.ended(f"/runs/{found.body['run_id']}", key=stranger)
    assert len(house.upstream.sent) == 3, "another tenant's results are not taken"


def test_a_large_value_is_an_artifact_and_comes_back_whole(house: House) -> None:
    house.quiet()
    text = "a" * 70_000
    house.upstream.play(answer(openai_answer(text)))
    run = run_of(house, "large", TWO, {"q": "b" * 66_000})
    assert run["status"] == "completed", run["error"]
    assert run["output"]["first"]["response"] == text
    assert house.upstream.sent[1].body["messages"][-1]["content"] == text
    with house.core.database.read() as connection:
        query = select(step.c.output).where(step.c.task_id == run["steps"][0]["task_id"])
        assert len(str(connection.scalar(query))) < 200
        assert (connection.scalar(select(func.count()).select_from(artifact)) or 0) > 0
    events = house.ask("GET", f"/runs/{run['run_id']}/events").raw.decode()
    assert text in events


def test_what_looks_like_a_claim_check_is_only_what_it_says(house: House) -> None:
    house.upstream.play(answer(openai_answer("Fine.")))
    claim = {"$large": {"sha256": "0" * 64, "size": 1}}
    made = house.ask("POST", "/workflows", {"workflow_id": "claims", "steps": TWO[:1]})
    assert made.status == 201
    found = house.ask("POST", "/workflows/claims/runs", {"input": {"$large": claim["$large"], "q": "Hm?"}})
    assert house.ended(f"/runs/{found.body['run_id']}")["status"] == "completed"


def test_a_run_says_what_it_was_made_of_and_comes_out_equal_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.quiet()
    house.upstream.play(answer(openai_answer("One")), answer(openai_answer("Two")))
    run = run_of(house, "lineage", TWO, {"q": "What?"})
    made_of = house.ask("GET", f"/runs/{run['run_id']}/lineage").body
    assert made_of["definition"] == run["definition_hash"]
    first = made_of["steps"][0]
    assert first["versions"].keys() >= {"ai-gateway", "python", "numpy"}
    assert [call["model"] for call in first["calls"]] == ["gpt-4"]
    assert first["entries"][0]["cost"] == first["entries"][0]["cost"] > 0
    assert all(len(value) == 64 for value in (made_of["input"], first["input"], first["output"]))
    house.upstream.play(answer(openai_answer("Never asked")))
    begun = house.ask("POST", f"/runs/{run['run_id']}/replay", {})
    assert begun.status == 202, begun.body
    again = house.ended(f"/runs/{begun.body['run_id']}")
    assert (again["status"], again["cost"], house.upstream.sent) == ("completed", 0, [])
    told = house.ask("GET", f"/runs/{again['run_id']}/lineage").body
    assert (told["replay_of"], told["equal"], told["differing_steps"]) == (run["run_id"], True, [])
    assert told["changed_versions"] == {}
    monkeypatch.setenv("GATEWAY_URL", house.url)
    monkeypatch.setenv("GATEWAY_API_KEY", house.key("admin"))
    shown = CliRunner().invoke(make_app(), ["lineage", again["run_id"]])
    assert shown.exit_code == 0, shown.output
    for text in (
        made_of["definition"][:12],
        first["input"][:12],
        "gpt-4",
        f"replay of {run['run_id']}",
        "came out equal",
    ):
        assert text in shown.output
    shown = CliRunner().invoke(make_app(), ["lineage", run["run_id"]])
    assert first["entries"][0]["entry_id"] in shown.output, shown.output
    assert first["entries"][0]["price_card"] in shown.output
    assert house.ask("GET", f"/runs/{run['run_id']}/lineage", key=house.key("developer")).status == 404


def test_a_poison_step_lies_where_people_find_it_and_is_done_again(house: House) -> None:
    house.quiet()
    house.upstream.play(answer(openai_answer("One")), answer({"error": {"message": "busy"}}, 503))
    steps = [TWO[0], {**TWO[1], "retry": {"max_attempts": 1}}]
    run = run_of(house, "poison", steps, {"q": "What?"})
    assert run["status"] == "failed"
    task_id = run["steps"][1]["task_id"]
    letters = house.ask("GET", "/dead-letters").body["dead_letters"]
    (letter,) = [one for one in letters if one["task_id"] == task_id]
    assert (letter["run_id"], letter["step_id"], letter["attempts"]) == (run["run_id"], "second", 1)
    assert house.ask("POST", f"/dead-letters/{task_id}/replay", {}, key=house.key("developer")).status == 404
    house.upstream.play(answer(openai_answer("Two")))
    begun = house.ask("POST", f"/dead-letters/{task_id}/replay", {})
    assert house.ended(f"/runs/{begun.body['run_id']}")["status"] == "completed"
    assert len(house.upstream.sent) == 1
    assert house.ask("POST", f"/dead-letters/{task_id}/replay", {}).status == 404
    assert house.ask("DELETE", f"/dead-letters/{task_id}").status == 404


def test_a_workflow_within_a_workflow(house: House) -> None:
    house.quiet()
    house.upstream.play(answer(openai_answer("Inner.")))
    house.ask("POST", "/workflows", {"workflow_id": "inner_one", "steps": TWO[:1]})
    inner = {"step_id": "inner", "workflow": "inner_one", "input_mapping": {"q": "input.q"}}
    run = run_of(house, "outer_one", [inner, ask("end", {"prompt": "step.inner.first.response"})], {"q": "Deep?"})
    assert run["status"] == "completed", run["error"]
    assert [sent.body["messages"][-1]["content"] for sent in house.upstream.sent] == ["Deep?", "Inner."]
    child = house.ask("GET", f"/runs/{run['steps'][0]['run']}").body
    assert child["origin"] == {"how": "step", "run_id": run["run_id"], "step_id": "inner"}
    wrong = {"workflow_id": "outer_two", "steps": [{"step_id": "inner", "workflow": "nowhere"}]}
    assert house.ask("POST", "/workflows", wrong).body["param"] == "steps[0].workflow"
    circle = {"workflow_id": "inner_one", "steps": [{"step_id": "x", "workflow": "outer_one"}]}
    assert "outer_one" in house.ask("POST", "/workflows", circle).body["detail"]


def test_a_workflow_for_each_item_of_a_list(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.quiet()
    house.upstream.play(*[answer(openai_answer("Said."))] * 3)
    house.ask("POST", "/workflows", {"workflow_id": "inner_each", "steps": TWO[:1]})
    each = {"in": "input.questions", "concurrency": 1}
    many = {"step_id": "many", "workflow": "inner_each", "for_each": each, "input_mapping": {"q": "item.q"}}
    data = {"questions": [{"q": "One?"}, {"q": "Two?"}, {"q": "Three?"}]}
    run = run_of(house, "outer_each", [many], data)
    assert run["status"] == "completed", run["error"]
    asked = [sent.body["messages"][-1]["content"] for sent in house.upstream.sent]
    assert asked == ["One?", "Two?", "Three?"], "one at once, in order"
    given = run["steps"][0]["result"]
    assert [one["first"]["response"] for one in given["results"]] == ["Said."] * 3
    (told,) = house.ask("GET", f"/runs/{run['run_id']}/lineage").body["steps"]
    assert told["runs"] == [one["run_id"] for one in given["results"]]
    child = house.ask("GET", f"/runs/{told['runs'][1]}").body
    assert child["origin"] == {"how": "step", "run_id": run["run_id"], "step_id": "many[1]"}
    monkeypatch.setenv("GATEWAY_URL", house.url)
    monkeypatch.setenv("GATEWAY_API_KEY", house.key("admin"))
    shown = CliRunner().invoke(make_app(), ["lineage", run["run_id"]])
    assert "is 3 runs" in shown.output, shown.output


def later(house: House, seconds: float) -> Schedules:
    """The sweep of an orchestrator whose clock is that much ahead."""
    clock = ManualClock(house.core.clock.now() + int(seconds * SECOND))
    database = house.core.database
    return Schedules(house.services.desk.maker, SqlScheduleStore(database), SqlRunReader(database), clock)


def test_a_schedule_begins_a_run_once_for_each_of_its_times(house: House) -> None:
    house.quiet()
    house.upstream.play(answer(openai_answer("Morning.")))
    house.ask("POST", "/workflows", {"workflow_id": "nightly", "steps": [ask("a", {"prompt": "input.scheduled_at"})]})
    body = {"workflow_id": "nightly", "cron": "0 * * * *", "timezone": "Europe/Zurich", "run": {"priority": 7}}
    made = house.ask("POST", "/schedules", body)
    assert made.status == 201, made.body
    path = f"/schedules/{made.body['schedule_id']}"
    assert house.ask("GET", path, key=house.key("developer")).status == 404
    orchestrators = [later(house, 2 * 3600) for _ in range(2)]
    assert sum(one.sweep() for one in orchestrators) == 1, "the last missed time, once"
    kept = house.ask("GET", path).body
    run = house.ended(f"/runs/{kept['last_run_id']}")
    assert (run["status"], run["priority"]) == ("completed", 7)
    assert run["origin"]["schedule_id"] == made.body["schedule_id"]
    assert house.upstream.sent[0].body["messages"][-1]["content"] == run["origin"]["scheduled_at"]
    assert house.ask("POST", f"{path}/pause", {}).body["next_at"] is None
    assert later(house, 9 * 3600).sweep() == 0
    assert house.ask("POST", f"{path}/resume", {}).body["active"] is True
    assert house.ask("DELETE", path).status == 204
    assert house.ask("GET", path).status == 404


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"cron": "every day"}, "cron"),
        ({"timezone": "Mars"}, "timezone"),
        ({"catch_up": "some"}, "catch_up"),
        ({"workflow_id": "nothing"}, "workflow_id"),
        ({"run": {"inputs": {}}}, "inputs"),
        ({"colour": 1}, "colour"),
    ],
)
def test_a_wrong_schedule_is_refused_with_the_place(house: House, change: dict[str, Any], param: str) -> None:
    found = house.ask("POST", "/schedules", {"workflow_id": "risk_analysis", "cron": "0 6 * * *", **change})
    assert found.status in (404, 422), found.body
    assert found.body["param"] == param


def test_a_range_that_is_past_is_filled(house: House) -> None:
    house.quiet()
    house.upstream.play(answer(openai_answer("Then.")))
    house.ask("POST", "/workflows", {"workflow_id": "filled", "steps": [ask("a", {"prompt": "input.scheduled_at"})]})
    body = {"cron": "0 0 * * *", "from": "2026-01-01T00:00:00Z", "to": "2026-01-05T00:00:00Z", "concurrency": 2}
    begun = house.ask("POST", "/workflows/filled/backfill", body)
    assert begun.status == 202, begun.body
    runs = [house.ended(f"/runs/{run_id}") for run_id in begun.body["runs"]]
    assert [run["origin"]["scheduled_at"][:10] for run in runs] == [f"2026-01-0{day}" for day in range(1, 6)]
    assert {run["status"] for run in runs} == {"completed"}
    assert (
        house.ask("POST", "/workflows/filled/backfill", {**body, "to": "2030-01-01T00:00:00Z"}).body["param"] == "from"
    )
