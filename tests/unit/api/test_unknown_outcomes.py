"""A worker is lost with a call on its way: whether it is made again is the step's policy, and the record says so."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures.house import House
from fixtures.upstream import Play, answer, openai_answer
from gateway.engine import advance
from gateway.engine.rows import StepRow

GOOD = answer(openai_answer("Again."))
#: Longer than any test: the call of the lost worker is never answered.
SILENT = Play(200, (), GOOD.headers, 60.0)


def begun(house: House, workflow: str, first: Play = SILENT, **fields: Any) -> str:
    """A run whose only step is with the provider; its id."""
    house.quiet()
    house.upstream.play(first, GOOD)
    step = {"step_id": "only", "task_type": "llm_analysis", "model_config": {"name": "gpt-4"}}
    steps = [{**step, "input_mapping": {"prompt": "input.q"}}]
    made = house.ask("POST", "/workflows", {"workflow_id": workflow, "steps": steps, **fields})
    assert made.status == 201, made.body
    run_id = house.ask("POST", f"/workflows/{workflow}/runs", {"input": {"q": "Why?"}}).body["run_id"]
    House.until(lambda: house.upstream.sent, bool)
    return str(run_id)


def lose(house: House, run_id: str, step_id: str = "only") -> StepRow:
    """What the sweep does when the lease of the run's step has run out: its worker is taken for dead."""
    with house.core.engine.begin() as tx:
        (step,) = tx.steps_named(run_id, [step_id])
        assert advance.lost(tx, step, house.core.clock.now())
    return step


def asks(house: House, run_id: str) -> dict[str, Any]:
    """The approval that the run waits for."""

    def look() -> list[dict[str, Any]]:
        found = house.ask("GET", "/approvals").body["approvals"]
        return [one for one in found if one["run_id"] == run_id]

    found: list[dict[str, Any]] = House.until(look, bool)
    return found[0]


def calls(house: House, run_id: str) -> list[tuple[bool, Any]]:
    """Of the step's calls in the lineage: whether it was answered, and what was done where it was not."""
    made_of = house.ask("GET", f"/runs/{run_id}/lineage").body
    return sorted((call["answered"], call.get("followed_by")) for call in made_of["steps"][0]["calls"])


def test_by_default_it_is_made_again_and_that_is_told(house: House) -> None:
    run_id = begun(house, "unknown_retry")
    held = lose(house, run_id)
    run = house.ended(f"/runs/{run_id}")
    assert (run["status"], len(house.upstream.sent)) == ("completed", 2)
    (told,) = run["steps"][0]["calls_made_again"]
    assert (told["followed_by"], told["model"], told["token"]) == ("retry", "gpt-4", held.token)
    assert calls(house, run_id) == [(False, "retry"), (True, None)]
    keys = [record["detail"].get("step_call") for record in house.ask("GET", "/audit?limit=50").body["records"]]
    assert told["key"] in keys, "the key is in the record of the call"


def test_the_step_fails_where_it_is_told_to(house: House) -> None:
    run_id = begun(house, "unknown_fail", on_unknown_outcome="fail")
    lose(house, run_id)
    run = house.ended(f"/runs/{run_id}")
    assert (run["status"], run["error"]["code"]) == ("failed", "call_outcome_unknown")
    assert len(house.upstream.sent) == 1, "nothing was asked, and paid, twice"
    assert calls(house, run_id) == [(False, "fail")]


@pytest.mark.parametrize("approved", [True, False])
def test_a_person_is_asked(house: House, approved: bool) -> None:
    run_id = begun(house, f"unknown_ask_{approved}".lower(), on_unknown_outcome="ask")
    lose(house, run_id)
    assert "may they be made again?" in asks(house, run_id)["message"]
    waiting = house.ask("GET", f"/runs/{run_id}").body["steps"][0]
    assert (waiting["status"], waiting["waits_for"], waiting["error"]["code"]) == (
        "waiting",
        "approval",
        "call_outcome_unknown",
    )
    assert len(house.upstream.sent) == 1
    word = {"step_id": "only", "approved": approved, "reason": "it is cheap"}
    assert house.ask("POST", f"/runs/{run_id}/approve", word, key=house.key("viewer")).status in (403, 404)
    assert house.ask("POST", f"/runs/{run_id}/approve", word).status == 200
    run = house.ended(f"/runs/{run_id}")
    step = run["steps"][0]
    assert (step["decision"]["reason"], step["decision"]["approved"]) == ("it is cheap", approved)
    action = "run.approve" if approved else "run.refuse"
    record = house.ask("GET", f"/audit?action={action}&limit=1").body["records"][0]
    assert (record["resource"], record["detail"]["reason"]) == (f"run:{run_id}/only", "it is cheap")
    if approved:
        assert (run["status"], len(house.upstream.sent)) == ("completed", 2)
        assert [told["followed_by"] for told in step["calls_made_again"]] == ["ask"]
        assert calls(house, run_id) == [(False, "ask"), (True, None)]
    else:
        assert (run["error"]["code"], len(house.upstream.sent)) == ("approval_refused", 1)
        assert calls(house, run_id) == [(False, None)]


def test_a_word_given_once_is_not_for_the_next_lost_worker(house: House) -> None:
    run_id = begun(house, "unknown_ask_twice", on_unknown_outcome="ask")
    lose(house, run_id)
    asks(house, run_id)
    house.upstream.play(SILENT, GOOD)
    house.ask("POST", f"/runs/{run_id}/approve", {"step_id": "only", "approved": True, "reason": "once"})
    House.until(lambda: house.upstream.sent, bool)
    lose(house, run_id)
    asks(house, run_id)
    assert len(house.upstream.sent) == 1
    house.ask("POST", f"/runs/{run_id}/approve", {"step_id": "only", "approved": True, "reason": "twice"})
    run = house.ended(f"/runs/{run_id}")
    assert [told["followed_by"] for told in run["steps"][0]["calls_made_again"]] == ["ask", "ask"]


def test_a_call_whose_end_is_known_asks_nobody(house: House) -> None:
    run_id = begun(house, "known_end", answer({"error": {"message": "busy"}}, 503), on_unknown_outcome="fail")
    run = house.ended(f"/runs/{run_id}")
    assert run["status"] == "completed", run["error"]
    assert calls(house, run_id) == [(True, None)]


def test_a_task_handed_in_alone_says_it_too(house: House) -> None:
    house.quiet()
    house.upstream.play(SILENT, GOOD)
    task = {"task_type": "llm_analysis", "model_config": {"name": "gpt-4"}, "input_data": {"prompt": "Why?"}}
    refused = house.ask("POST", "/tasks", {**task, "on_unknown_outcome": "hope"})
    assert (refused.status, refused.body["param"]) == (422, "on_unknown_outcome")
    made = house.ask("POST", "/tasks", {**task, "on_unknown_outcome": "fail"}).body
    House.until(lambda: house.upstream.sent, bool)
    lose(house, made["run_id"], "task")
    ended = house.ended(f"/tasks/{made['task_id']}")
    assert (ended["status"], ended["error"]["code"]) == ("failed", "call_outcome_unknown")
    assert len(house.upstream.sent) == 1


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"on_unknown_outcome": "hope"}, "on_unknown_outcome"), ({"on_unknown_outcome": None}, "on_unknown_outcome")],
)
def test_a_policy_that_is_none_is_refused(house: House, fields: dict[str, Any], param: str) -> None:
    steps = [{"step_id": "only", "task_type": "llm_analysis", "input_mapping": {"prompt": "input.q"}}]
    found = house.ask("POST", "/workflows", {"workflow_id": "hopes", "steps": steps, **fields})
    assert (found.status, found.body["param"]) == (422, param)
    found = house.ask("POST", "/workflows", {"workflow_id": "hopes", "steps": [{**steps[0], **fields}]})
    assert (found.status, found.body["param"]) == (422, f"steps[0].{param}")
