"""What is done to a run over HTTP: branches and lists seen whole, people asked, paused, begun again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fixtures.house import House
from fixtures.upstream import answer, openai_answer
from gateway.engine.definition import parse_definition
from gateway.security.access import caller_for


def ask(name: str, mapping: dict[str, Any], **fields: Any) -> dict[str, Any]:
    step = {"step_id": name, "task_type": "llm_analysis", "model_config": {"name": "gpt-4"}, "input_mapping": mapping}
    return {**step, **fields}


def begin(house: House, workflow: str, steps: list[dict[str, Any]], data: Any = None, **fields: Any) -> str:
    """A run of a new workflow; its id."""
    output = {"output": fields.pop("output")} if "output" in fields else {}
    made = house.ask("POST", "/workflows", {"workflow_id": workflow, "steps": steps, **output})
    assert made.status == 201, made.body
    found = house.ask("POST", f"/workflows/{workflow}/runs", {"input": data or {}, **fields})
    assert found.status == 202, found.body
    return str(found.body["run_id"])


def steps_of(run: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {step["step_id"]: step for step in run["steps"]}


def test_a_question_for_each_item_and_a_result_of_ones_own(house: House) -> None:
    house.quiet()
    house.upstream.play(answer(openai_answer("Yes.")))
    steps = [
        ask("each", {"prompt": "item.q"}, for_each={"in": "input.questions", "concurrency": 2}),
        ask("never", {"prompt": "input.other"}, when="input.other != null"),
    ]
    shape = {"first": "step.each.results.0.response", "count": "step.each.count"}
    questions = [{"q": f"Question {number}?"} for number in range(4)]
    run = house.ended(f"/runs/{begin(house, 'for_each', steps, {'questions': questions}, output=shape)}")
    assert run["status"] == "completed", run["error"]
    assert run["output"] == {"first": "Yes.", "count": 4}
    found = steps_of(run)
    assert (found["each"]["items_ended"], found["each"]["items"], found["never"]["status"]) == (4, 4, "skipped")
    assert "input.other" in found["never"]["skipped"]
    asked = sorted(sent.body["messages"][-1]["content"] for sent in house.upstream.sent)
    assert asked == [question["q"] for question in questions]
    tasks = house.ask("GET", f"/tasks?run_id={run['run_id']}").body["tasks"]
    assert sorted(task["item_index"] for task in tasks if "item_of" in task) == [0, 1, 2, 3]


def test_an_input_that_is_no_list_is_refused_before_it_begins(house: House) -> None:
    steps = [ask("each", {"prompt": "item"}, for_each="input.questions")]
    house.ask("POST", "/workflows", {"workflow_id": "lists", "steps": steps})
    for data in ({}, {"questions": "one"}, {"questions": ["one"] * 10_001}):
        found = house.ask("POST", "/workflows/lists/runs", {"input": data})
        assert (found.status, found.body["param"]) == (422, "input.questions")


def test_a_person_is_asked_and_it_is_on_record_who_and_why(house: House) -> None:
    house.upstream.play(answer(openai_answer("Done.")))
    mine = house.key("developer", principal="dora")
    steps = [ask("act", {"prompt": "input.q"}, approval={"message": "Really?", "not_owner": True, "expires": 600})]
    house.ask("POST", "/workflows", {"workflow_id": "asking", "steps": steps})
    run_id = house.ask("POST", "/workflows/asking/runs", {"input": {"q": "Go?"}}, key=mine).body["run_id"]
    run = house.ask("GET", f"/runs/{run_id}", key=mine).body
    assert (run["steps"][0]["status"], run["steps"][0]["waits_for"]) == ("waiting", "approval")
    path, word = f"/runs/{run_id}/approve", {"step_id": "act", "reason": "seen with the desk"}
    assert house.ask("POST", path, word, key=mine).status == 403
    analyst = house.key("analyst", principal="ana")
    assert house.ask("POST", path, word, key=analyst).status == 404, "it is not hers to see"
    operator = house.key("operator", principal="olga")
    (asked,) = [
        one for one in house.ask("GET", "/approvals", key=operator).body["approvals"] if one["run_id"] == run_id
    ]
    assert (asked["message"], asked["owner"]) == ("Really?", "dora")
    assert house.ask("POST", path, {**word, "step_id": "no"}, key=operator).status == 404
    assert house.ask("POST", path, {"step_id": "act", "approved": False}, key=operator).body["param"] == "reason"
    assert house.ask("POST", path, word, key=operator).status == 200
    assert house.ask("POST", path, word, key=operator).status == 409
    run = house.ended(f"/runs/{run_id}", key=mine)
    assert run["status"] == "completed"
    assert run["steps"][0]["decision"]["by"] == "olga"
    found = house.ask("GET", f"/audit?resource=run:{run_id}/act").body["records"]
    (kept, *_) = [one for one in found if one["action"] == "run.approve"]
    assert kept["actor"] == "olga"
    assert "seen with the desk" in json.dumps(kept["detail"])


def test_a_refusal_fails_the_run_and_says_why(house: House) -> None:
    run_id = begin(house, "refused", [{"step_id": "sure", "approval": {}}])
    word = {"step_id": "sure", "approved": False, "reason": "not today"}
    assert house.ask("POST", f"/runs/{run_id}/approve", word).status == 200
    run = house.ended(f"/runs/{run_id}")
    assert run["error"]["code"] == "approval_refused"
    assert "not today" in run["error"]["message"]


def test_a_signal_from_outside_wakes_the_step(house: House) -> None:
    house.upstream.play(answer(openai_answer("Hello.")))
    steps = [{"step_id": "wait", "signal": "go"}, ask("then", {"prompt": "step.wait.payload.q"})]
    run_id = begin(house, "signalled", steps)
    wrong = house.ask("POST", f"/runs/{run_id}/signals/no%20good", {})
    assert (wrong.status, wrong.body["code"], wrong.body["param"]) == (422, "validation_failed", "name")
    stranger = house.key("developer")
    assert house.ask("POST", f"/runs/{run_id}/signals/go", {}, key=stranger).status == 404
    told = house.ask("POST", f"/runs/{run_id}/signals/go", {"payload": {"q": "Now?"}})
    assert (told.status, told.body["heard"]) == (202, True)
    assert house.ended(f"/runs/{run_id}")["status"] == "completed"
    assert house.upstream.sent[-1].body["messages"][-1]["content"] == "Now?"
    assert house.ask("POST", f"/runs/{run_id}/signals/go", {}).status == 409


def test_a_run_is_paused_and_goes_on(house: House) -> None:
    house.upstream.play(answer(openai_answer("One.")))
    steps = [{"step_id": "wait", "signal": "go"}, ask("then", {"prompt": "input.q"}, dependencies=["wait"])]
    run_id = begin(house, "pausing", steps, {"q": "What?"})
    assert house.ask("POST", f"/runs/{run_id}/resume", {}).status == 409
    assert house.ask("POST", f"/runs/{run_id}/pause", {}).body["status"] == "paused"
    assert run_id in json.dumps(house.ask("GET", "/runs?status=paused").body)
    house.ask("POST", f"/runs/{run_id}/signals/go", {})
    assert steps_of(house.ask("GET", f"/runs/{run_id}").body)["then"]["status"] == "pending"
    assert house.ask("POST", f"/runs/{run_id}/resume", {}).status == 200
    assert house.ended(f"/runs/{run_id}")["status"] == "completed"


TWO = [ask("first", {"prompt": "input.q"}), ask("second", {"prompt": "step.first.response"}, retry={"max_attempts": 1})]


def test_a_run_that_failed_is_begun_again_without_paying_twice(house: House) -> None:
    house.quiet()
    house.upstream.play(answer(openai_answer("One")), answer({"error": {"message": "no"}}, 400))
    failed = house.ended(f"/runs/{begin(house, 'again', TWO, {'q': 'What?'})}")
    assert (failed["status"], failed["partial"]) == ("failed", True)
    assert failed["output"]["first"]["response"] == "One"
    house.upstream.play(answer(openai_answer("Two")))
    again = house.ask("POST", f"/runs/{failed['run_id']}/retry", {})
    assert again.status == 202, again.body
    run = house.ended(f"/runs/{again.body['run_id']}")
    assert run["status"] == "completed"
    assert run["origin"] == {"how": "retry", "run_id": failed["run_id"]}
    assert run["definition_hash"] == failed["definition_hash"]
    found = steps_of(run)
    assert found["first"]["reused"] == steps_of(failed)["first"]["task_id"]
    assert (found["first"]["cost"], found["first"]["result"]["response"]) == (0, "One")
    assert [sent.body["messages"][-1]["content"] for sent in house.upstream.sent] == ["One"]


def test_what_if_another_model_had_been_asked(house: House) -> None:
    house.quiet()
    house.upstream.play(answer(openai_answer("One")))
    first = house.ended(f"/runs/{begin(house, 'what_if', TWO, {'q': 'What?'}, metadata={'tags': ['desk=rates']})}")
    change = {"model_config": {"second": {"name": "gpt-3.5-turbo"}}}
    house.upstream.play(answer(openai_answer("Cheaper")))
    other = house.ask("POST", f"/runs/{first['run_id']}/retry", change)
    run = house.ended(f"/runs/{other.body['run_id']}")
    assert (run["status"], run["origin"]["how"]) == ("completed", "what_if")
    assert [sent.body["model"] for sent in house.upstream.sent] == ["gpt-3.5-turbo"]
    assert run["metadata"] == {"tags": ["desk=rates"]}
    wish = {"input": {"q": "Else?"}, "metadata": {"tags": ["desk=fx"]}}
    other = house.ask("POST", f"/runs/{first['run_id']}/retry", wish)
    run = house.ended(f"/runs/{other.body['run_id']}")
    assert run["metadata"] == {"tags": ["desk=fx"]}
    assert not any("reused" in step for step in run["steps"]), "both depend on the question"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"from_step": "third"}, "from_step"),
        ({"from_step": 3}, "from_step"),
        ({"model_config": {"third": {"name": "gpt-4"}}}, "from_step"),
        ({"model_config": {"first": {"name": "gpt-9"}}}, "model_config.first.name"),
        ({"model_config": {"first": 7}}, "model_config.first"),
        ({"inputs": {}}, "inputs"),
        ({"delay": -1}, "delay"),
        ({"start_at": "tomorrow"}, "start_at"),
    ],
)
def test_a_wrong_wish_is_refused_with_the_place(house: House, change: dict[str, Any], param: str) -> None:
    house.upstream.play(answer(openai_answer("One")))
    ended = house.ended(f"/runs/{begin(house, 'wishes', TWO, {'q': 'What?'})}")
    found = house.ask("POST", f"/runs/{ended['run_id']}/retry", change)
    assert found.status in (404, 422), found.body
    assert found.body["param"] == param


def test_a_task_and_a_run_may_begin_later(house: House) -> None:
    house.upstream.play(answer(openai_answer("Later.")))
    run_id = begin(house, "later", TWO[:1], {"q": "When?"}, delay=3600)
    run = house.ask("GET", f"/runs/{run_id}").body
    assert (run["status"], bool(run["starts_at"])) == ("pending", True)
    assert house.upstream.sent == []
    assert house.ask("POST", f"/runs/{run_id}/cancel", {}).body["status"] == "cancelled"
    task = {"task_type": "llm_analysis", "model_config": {"name": "gpt-4"}, "input_data": {"prompt": "When?"}}
    found = house.ask("POST", "/tasks", {**task, "start_at": "2020-01-01T00:00:00Z"})
    assert house.ended(f"/tasks/{found.body['task_id']}")["status"] == "completed"


@pytest.mark.parametrize(
    ("config", "place"),
    [
        ({"name": "risk-classifier"}, "name"),
        ({"name": "minilm"}, "name"),
        ({"name": "gpt-4", "provider": "anthropic"}, "provider"),
        ({"name": "gpt-4", "parameters": {"temperature": 99}}, "parameters.temperature"),
    ],
)
def test_a_model_that_cannot_do_a_step_is_refused_with_the_definition(
    house: House, config: dict[str, Any], place: str
) -> None:
    steps = [ask("first", {"prompt": "input.q"}), ask("wrong", {"prompt": "input.q"}, model_config=config)]
    found = house.ask("POST", "/workflows", {"workflow_id": "unfit", "steps": steps})
    assert (found.status, found.body["code"]) == (422, "definition_invalid")
    assert found.body["param"] == f"steps[1].model_config.{place}"
    assert "step 'wrong'" in found.body["detail"]


def test_a_step_that_the_caller_may_not_do_is_named(house: House) -> None:
    steps = [ask("first", {"prompt": "input.q"})]
    house.ask("POST", "/workflows", {"workflow_id": "narrow", "steps": steps})
    house.ask("POST", "/workflows", {"workflow_id": "around", "steps": [{"step_id": "in", "workflow": "narrow"}]})
    narrow = house.key("analyst", models=["smollm2"])
    for workflow in ("narrow", "around"):
        found = house.ask("POST", f"/workflows/{workflow}/runs", {"input": {"q": "?"}}, key=narrow)
        assert (found.status, found.body["code"]) == (404, "model_not_found")
        assert "(step 'first' of 'narrow')" in found.body["detail"]
        assert found.body["param"] == "steps[0].model_config.name"


def test_a_default_model_that_the_caller_may_not_use_is_told_before_a_run_begins(house: House) -> None:
    default = house.services.catalogue.current.default_model("llm_analysis")
    step = {"step_id": "second", "task_type": "llm_analysis", "input_mapping": {"prompt": "input.q"}}
    steps = [ask("first", {"prompt": "input.q"}), step]
    house.ask("POST", "/workflows", {"workflow_id": "by_default", "steps": steps})
    house.ask(
        "POST", "/workflows", {"workflow_id": "around_it", "steps": [{"step_id": "in", "workflow": "by_default"}]}
    )
    narrow = house.key("analyst", models=["gpt-4"])
    for workflow in ("by_default", "around_it"):
        found = house.ask("POST", f"/workflows/{workflow}/runs", {"input": {"q": "?"}}, key=narrow)
        assert (found.status, found.body["code"]) == (404, "model_not_found")
        assert f"{default!r}, the default of llm_analysis, is not open to this key" in found.body["detail"]
        assert "(step 'second' of 'by_default')" in found.body["detail"]
        assert found.body["param"] == "steps[1].model_config.name"
        assert "model_config.name" in found.body["mend"]
    task: dict[str, Any] = {"task_type": "llm_analysis", "input_data": {"prompt": "?"}}
    alone = house.ask("POST", "/tasks", task, key=narrow)
    assert (alone.status, alone.body["param"]) == (404, "model_config.name")
    assert house.ask("POST", "/tasks", {**task, "model_config": {"name": "gpt-4"}}, key=narrow).status == 202


def test_a_stored_prompt_may_bring_a_model_of_its_own(house: House) -> None:
    narrow = house.key("analyst", models=["gpt-4"])
    task = {"task_type": "llm_analysis", "input_data": {"template": "brings_one"}}
    assert house.ask("POST", "/tasks", task, key=narrow).status == 202


def test_a_limit_by_model_binds_a_step_that_leaves_it_to_the_default(house: House) -> None:
    limits = [{"key": key, "concurrency": 1} for key in ("model", "provider")]
    step = {"step_id": "ask", "task_type": "llm_analysis", "input_mapping": {"prompt": "input.q"}, "limits": limits}
    desk = house.services.desk
    definition = parse_definition({"workflow_id": "limited", "steps": [step]}, desk.task_types)
    name = house.services.catalogue.current.default_model("llm_analysis")
    provider = house.services.catalogue.current.models[str(name)].provider
    found = desk.maker.limits(caller_for("alice", "analyst"), "limited", definition.steps[0])
    assert [limit.key for limit in found] == [f"model:{name}", f"provider:{provider}"]


def test_a_limit_by_a_default_model_or_its_provider_binds_the_runs_within_too(house: House) -> None:
    fields: dict[str, Any] = {
        "limits": [{"key": key, "concurrency": 9} for key in ("model", "provider")],
        "approval": {},
        "input_mapping": {"prompt": {"value": "?"}},
    }
    default = {"step_id": "default", "task_type": "llm_analysis", **fields}
    for name, steps in (
        ("limits_leaf", [{**default, "step_id": "named", "model_config": {"name": "gpt-4"}}, default]),
        ("limits_middle", [{"step_id": "in", "workflow": "limits_leaf"}]),
        ("limits_outer", [{"step_id": "in", "workflow": "limits_middle"}]),
    ):
        made = house.ask("POST", "/workflows", {"workflow_id": name, "steps": steps})
        assert made.status == 201, made.body
    outer = house.ask("POST", "/workflows/limits_outer/runs", {}).body["run_id"]
    assert sorted(house.ask("GET", f"/runs/{outer}/lineage").body["workflows_within"]) == [
        "limits_leaf",
        "limits_middle",
    ]
    house.ask("POST", f"/runs/{outer}/cancel", {})
    house.ended(f"/runs/{outer}")
    second = house.ask("POST", f"/runs/{outer}/retry", {}).body["run_id"]
    catalogue = house.services.catalogue.current
    model = str(catalogue.default_model("llm_analysis"))
    for run_id in (outer, second):
        middle = house.ask("GET", f"/runs/{run_id}/children").body["children"][0]["run_id"]
        leaf = house.ask("GET", f"/runs/{middle}/children").body["children"][0]["run_id"]
        with house.core.engine.read() as tx:
            steps_of_leaf = {step.step_id: step.task_id for step in tx.steps(leaf)}
            found = tx.limits_of(list(steps_of_leaf.values()))
        keys = {name: [limit.key for limit in found[task_id]] for name, task_id in steps_of_leaf.items()}
        assert keys["named"] == ["model:gpt-4", "provider:openai"]
        assert keys["default"] == [f"model:{model}", f"provider:{catalogue.models[model].provider}"]
    house.ask("POST", f"/runs/{second}/cancel", {})
