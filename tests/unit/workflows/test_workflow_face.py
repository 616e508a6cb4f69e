"""Workflows and task types written in Python: the same definition as YAML, and errors where they are written."""

from __future__ import annotations

import asyncio
import re
from importlib.metadata import EntryPoint, EntryPoints
from typing import Any, cast

import pytest
import yaml
from pydantic import BaseModel, Field

from fixtures.house import CONFIG
from gateway.engine.definition import parse_definition
from gateway.engine.step_fields import FIELDS
from gateway.engine.task_types import TaskTypeSpec
from gateway.errors import ConfigurationInvalid, DefinitionInvalid, StepFailed, ValidationFailed
from gateway.testing import MemoryGateway
from gateway.workflows import (
    StepContext,
    Workflow,
    each,
    each_index,
    model_training,
    risk_analysis,
    scenario_gen,
    task_type,
    task_types,
)
from gateway.workflows.step_fields import StepFields
from gateway.workflows.task_types import known_task_types

NOBODY = cast(StepContext, None)


class Desk(BaseModel):
    name: str
    limits: list[float]


class Asked(BaseModel):
    question: str
    desk: Desk | None = None
    books: list[Desk] = []


class Holdings(BaseModel):
    """What is held."""

    values: dict[str, float] = Field(min_length=1)
    cap: float = 1.0


class Weights(BaseModel):
    weights: dict[str, float]
    largest: str


@task_type("weights")
def weigh(_ctx: StepContext, data: Holdings) -> Weights:
    """Shares of a portfolio.

    More is not shown."""
    total = sum(data.values.values())
    shares = {name: value / total for name, value in data.values.items()}
    return Weights(weights=shares, largest=max(shares, key=lambda name: shares[name]))


@pytest.mark.parametrize("written", [risk_analysis.WORKFLOW, scenario_gen.WORKFLOW, model_training.WORKFLOW])
def test_the_three_workflows_in_python_are_those_of_the_configuration(written: Workflow) -> None:
    rows = yaml.safe_load((CONFIG / "workflows.yaml").read_text())["workflows"]
    (row,) = [row for row in rows if row["workflow_id"] == written.workflow_id]
    assert written.definition() == row
    assert written.check().hash() == parse_definition(row, known_task_types()).hash()


def test_everything_a_definition_may_say() -> None:
    flow = Workflow("all", name="All of it", description="d", input=Asked)
    first = flow.step("first", weigh, {"values": {"a": 1.0}, "cap": 0.4}, publish={"top": "largest"}, timeout=5)
    flow.step(
        "second",
        "llm_analysis",
        {"messages": [{"role": "user", "content": first.top}], "context": {"desk": flow.input.desk.name}},
        after=[first, "third"],
        model="gpt-4",
        retry={"max_attempts": 2},
        when=f"{first.largest} == 'a'",
        for_each={"in": flow.input.books[0].limits, "concurrency": 2},
    )
    flow.output(best=first.largest, all=first, note="n")
    assert flow.definition() == {
        "workflow_id": "all",
        "name": "All of it",
        "description": "d",
        "steps": [
            {
                "step_id": "first",
                "task_type": "weights",
                "input_mapping": {"values": {"value": {"a": 1.0}}, "cap": {"value": 0.4}},
                "output_mapping": {"top": "largest"},
                "timeout": 5,
            },
            {
                "step_id": "second",
                "task_type": "llm_analysis",
                "input_mapping": {
                    "messages": [{"role": {"value": "user"}, "content": "step.first.top"}],
                    "context": {"desk": "input.desk.name"},
                },
                "dependencies": ["first", "third"],
                "model_config": {"name": "gpt-4"},
                "retry": {"max_attempts": 2},
                "when": "step.first.largest == 'a'",
                "for_each": {"in": "input.books.0.limits", "concurrency": 2},
            },
        ],
        "input_schema": Asked.model_json_schema(),
        "output": {"best": "step.first.largest", "all": "step.first.result", "note": {"value": "n"}},
    }
    assert (str(each.price), str(each_index)) == ("item.price", "index")


class Desks(BaseModel):
    desks: list[Desk]
    second_question: str
    urgent: bool = False


def desk_review() -> Workflow:
    """The workflow that the how-to shows in YAML, in Python."""
    flow = Workflow("desk_review", name="One question for each desk, and a person's word", input=Desks)
    flow_each = flow.step(
        "each_desk",
        "llm_analysis",
        {"prompt": each.question},
        model="gpt-4o-mini",
        for_each={"in": flow.input.desks, "concurrency": 4, "on_error": "continue", "max_errors": 2},
    )
    second = flow.step(
        "second_look",
        "llm_analysis",
        {"prompt": flow.input.second_question},
        model="gpt-4o",
        when=f"{flow_each.count} > 3 and {flow.input.urgent} != true",
        on_failure="continue",
    )
    word = flow.step(
        "sign_off",
        approval={
            "message": "Publish the review?",
            "not_owner": True,
            "roles": ["operator", "admin"],
            "expires": 86400,
        },
        after=[second],
        join="ended",
    )
    flow.step("published", signal={"name": "published", "timeout": 3600, "on_timeout": "skip"}, after=[word])
    flow.output(answers=flow_each.results, failed=flow_each.errors, by=word.by)
    return flow


def test_python_says_what_yaml_says() -> None:
    page = (CONFIG.parent / "docs" / "howto" / "add-a-workflow.md").read_text()
    (row,) = [
        row
        for block in re.findall(r"```yaml\n(.*?)```", page, re.S)
        for row in yaml.safe_load(block)["workflows"]
        if row["workflow_id"] == "desk_review"
    ]
    written = desk_review()
    assert written.definition() == {**row, "input_schema": Desks.model_json_schema()}
    row = {**row, "input_schema": Desks.model_json_schema()}
    assert written.check().hash() == parse_definition(row, known_task_types()).hash()


def test_the_fields_of_steps_have_the_names_of_the_definition() -> None:
    inner = Workflow("inner")
    inner.step("only", weigh, {"values": {"a": 1}})
    flow = Workflow("outer", on_unknown_outcome="ask")
    undo = flow.step("undo", weigh, {"values": {"a": 1}})
    flow.step("one", weigh, {"values": each.values}, for_each=[flow.input.book, {"values": {"b": 2}}], compensate=undo)
    flow.step("within", workflow=inner, inputs={"book": flow.input.book}, join="any", after=["one"])
    flow.step("word", signal="go")
    flow.step(
        "last",
        "llm_analysis",
        {"prompt": "Why?"},
        limits=[{"key": "model", "concurrency": 2}],
        cache={"ttl": 60},
        soft_timeout=5,
        timeout=9,
        on_unknown_outcome="fail",
        budget={"limit_usd": "0.5", "at_limit": "degrade", "degrade_to": "gpt-4o-mini"},
    )
    made = flow.definition()
    assert made["on_unknown_outcome"] == "ask"
    by_id = {row["step_id"]: row for row in made["steps"]}
    assert by_id["one"]["for_each"] == {"in": ["input.book", {"value": {"values": {"b": 2}}}]}
    assert by_id["one"]["compensate"] == "undo"
    assert by_id["last"]["budget"] == {"limit_usd": "0.5", "at_limit": "degrade", "degrade_to": "gpt-4o-mini"}
    budget = {step.step_id: step.budget for step in flow.check().steps}["last"]
    assert budget is not None
    assert (budget.limit_usd, budget.degrade_to) == ("0.5", "gpt-4o-mini")
    assert by_id["within"] == {
        "step_id": "within",
        "input_mapping": {"book": "input.book"},
        "dependencies": ["one"],
        "workflow": "inner",
        "join": "any",
    }
    assert by_id["word"] == {"step_id": "word", "signal": "go"}
    checked = {step.step_id: step for step in flow.check().steps}
    assert (checked["last"].on_unknown_outcome, checked["undo"].on_unknown_outcome) == ("fail", "ask")
    assert (checked["last"].cache_ttl, checked["last"].soft_timeout, checked["last"].limits[0].key) == (60, 5, "model")
    assert set(StepFields.__annotations__) <= FIELDS
    assert FIELDS - set(StepFields.__annotations__) == {
        *("step_id", "task_type", "input_mapping", "output_mapping", "dependencies", "model_config")
    }


@pytest.mark.parametrize(
    ("write", "named"),
    [
        (lambda flow, _step: flow.input.qestion, "input has no 'qestion'"),
        (lambda flow, _step: flow.input.desk.nam, "input.desk has no 'nam'"),
        (lambda flow, _step: flow.input.books[0].nam, "input.books.0 has no 'nam'"),
        (lambda _flow, step: step.smallest, "step.first gives no 'smallest'"),
        (lambda flow, _step: flow.step("first", weigh), "used twice"),
        (lambda flow, step: flow.step("b", weigh, {"vals": step.weights}), "weights takes no 'vals'"),
        (lambda flow, _step: flow.step("b", "llm_analysis", {"promt": "x"}), "llm_analysis takes no 'promt'"),
        (lambda flow, _step: flow.step("b", weigh, {"values": {}}, for_eech="input.books"), "no field 'for_eech'"),
        (lambda flow, _step: flow.step("b", weigh, for_each=flow.input.books).largest, "step.b gives no 'largest'"),
        (lambda flow, _step: flow.step("b", approval={}).reson, "step.b gives no 'reson'"),
    ],
)
def test_a_name_that_leads_nowhere_is_an_error_where_it_is_written(write: Any, named: str) -> None:
    flow = Workflow("x", input=Asked)
    step = flow.step("first", weigh, {"values": {"value": 1}})
    with pytest.raises(DefinitionInvalid, match=named):
        write(flow, step)


def test_a_reference_has_no_value_yet() -> None:
    flow = Workflow("x")
    with pytest.raises(TypeError, match="when="):
        assert flow.input.anything
    with pytest.raises(TypeError, match="for_each="):
        list(flow.input.anything)


def test_a_task_type_says_what_it_takes_and_gives() -> None:
    spec = weigh.spec
    assert (spec.name, spec.summary, spec.queue) == ("weights", "Shares of a portfolio.", "cpu")
    assert (spec.inputs, spec.required, spec.outputs) == (("values", "cap"), ("values",), ("weights", "largest"))
    assert spec.input_schema is not None
    assert spec.input_schema["properties"]["values"]["minProperties"] == 1
    assert cast(Weights, weigh(NOBODY, Holdings(values={"a": 3, "b": 1}))).largest == "a"


def test_it_is_run_with_json_and_checked_on_both_sides() -> None:
    run = weigh.spec.function
    assert run is not None
    assert asyncio.run(run(NOBODY, {"values": {"a": 3, "b": "1"}})) == {
        "weights": {"a": 0.75, "b": 0.25},
        "largest": "a",
    }
    with pytest.raises(ValidationFailed) as refused:
        asyncio.run(run(NOBODY, {"values": {"a": "sk-a-secret"}}))
    assert refused.value.param == "input_data.values.a"
    assert "sk-a-secret" not in refused.value.message

    @task_type("liar")
    async def lie(_ctx: StepContext, _data: Holdings) -> Weights:
        return cast(Weights, {"weights": {}})

    assert lie.spec.function is not None
    with pytest.raises(StepFailed, match="largest: Field required"):
        asyncio.run(lie.spec.function(NOBODY, {"values": {"a": 1}}))


def test_a_function_that_says_nothing_is_refused() -> None:
    def vague(ctx, data):  # type: ignore[no-untyped-def]
        return data

    with pytest.raises(ConfigurationInvalid, match="does not say what it takes"):
        task_type("vague")(vague)
    with pytest.raises(ConfigurationInvalid, match="queue is one of"):
        task_type("lost", queue="gpu")(weigh.function)


def test_packages_bring_task_types_and_workflows(monkeypatch: pytest.MonkeyPatch) -> None:
    points = EntryPoints(
        [
            EntryPoint("weights", f"{__name__}:weigh", task_types.ENTRY_POINTS),
            EntryPoint("flow", f"{risk_analysis.__name__}:WORKFLOW", task_types.WORKFLOW_ENTRY_POINTS),
        ]
    )
    monkeypatch.setattr(task_types, "entry_points", lambda group: points.select(group=group))
    monkeypatch.setattr(EntryPoint, "load", lambda self: weigh if self.name == "weights" else risk_analysis.WORKFLOW)
    found = known_task_types()["weights"]
    assert isinstance(found, TaskTypeSpec)
    assert [row["workflow_id"] for row in task_types.installed_workflows()] == ["risk_analysis"]
    monkeypatch.setattr(EntryPoint, "load", lambda _self: 7)
    with pytest.raises(ConfigurationInvalid, match="is no task type"):
        known_task_types()
    with pytest.raises(ConfigurationInvalid, match="is no workflow"):
        task_types.installed_workflows()


@pytest.mark.parametrize(
    ("data", "place"),
    [
        ({}, "input.question"),
        ({"question": 3}, "input.question"),
        ({"question": "?", "desk": {"name": "a"}}, "input.desk"),
        ({"question": "?", "books": [{"name": "a", "limits": [1, "two"]}]}, "input.books[0].limits[1]"),
    ],
)
def test_an_input_that_the_model_does_not_take_is_refused_by_field(data: dict[str, Any], place: str) -> None:
    flow = Workflow("typed", input=Asked)
    flow.step("word", approval={"message": "Go on?"})
    with MemoryGateway() as kit:
        with pytest.raises(ValidationFailed) as refused:
            kit.run(flow, data)
        assert (refused.value.status, refused.value.param) == (422, place)
        assert kit.run(flow, {"question": "?", "desk": {"name": "a", "limits": [1.5]}}).status == "running"


def test_an_input_schema_that_is_none_is_refused_when_it_is_given() -> None:
    raw = {"workflow_id": "x", "steps": [{"step_id": "a", "approval": {}}], "input_schema": {"type": "thing"}}
    with pytest.raises(DefinitionInvalid) as refused:
        parse_definition(raw, known_task_types())
    assert refused.value.param == "input_schema"
