"""Definitions: what passes can run, what does not says where it is wrong."""

from __future__ import annotations

from contextlib import suppress
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.engine_kit import DIAMOND, TASK_TYPES
from gateway.engine.definition import WorkflowDefinition, parse_definition
from gateway.engine.mapping import StepOutput, resolve
from gateway.engine.nested import pins_of
from gateway.engine.states import RUN_ENDED, RUN_MOVES, STEP_ENDED, STEP_MOVES, check_run_move, check_step_move
from gateway.errors import Conflict, DefinitionInvalid, GatewayError, ValidationFailed

GOOD: dict[str, Any] = {"workflow_id": "wf", "name": "A diamond", "steps": DIAMOND}


def parse(raw: Any) -> WorkflowDefinition:
    return parse_definition(raw, TASK_TYPES, lambda name: name == "known")


def test_references_make_dependencies() -> None:
    steps = {step.step_id: step.dependencies for step in parse(GOOD).steps}
    assert steps == {"top": (), "left": ("top",), "right": ("top",), "end": ("left", "right")}
    assert parse(GOOD).inputs == ("start",)


def test_a_definition_is_named_by_what_it_says() -> None:
    first = parse(GOOD)
    assert WorkflowDefinition.decode(first.canonical()) == first
    assert parse(deepcopy(GOOD)).hash() == first.hash()
    assert parse({**GOOD, "name": "Another"}).hash() != first.hash()


def step(**fields: Any) -> dict[str, Any]:
    return {"workflow_id": "wf", "steps": [{"step_id": "a", "task_type": "work", **fields}]}


@pytest.mark.parametrize(
    ("raw", "place"),
    [
        ([], None),
        ({"steps": []}, "workflow_id"),
        ({"workflow_id": "1", "steps": DIAMOND}, "workflow_id"),
        ({"workflow_id": "wf"}, "steps"),
        ({"workflow_id": "wf", "steps": []}, "steps"),
        ({"workflow_id": "wf", "steps": [7]}, "steps[0]"),
        ({**GOOD, "colour": 1}, "colour"),
        ({**GOOD, "output": {}}, "output"),
        (step(step_id="a b"), "steps[0].step_id"),
        (step(step_id="a.b"), "steps[0].step_id"),
        (step(timeout=float("inf")), "steps[0].timeout"),
        (step(input_mapping={"a": {"value": [1.0, float("nan")]}}), "steps[0].input_mapping.a.value[1]"),
        (step(limits=[{"key": "model", "concurrency": 1}]), "steps[0].limits[0].key"),
        (step(task_type="wrok"), "steps[0].task_type"),
        (step(when="x"), "steps[0].when"),
        (step(for_each="x"), "steps[0].for_each"),
        (step(input_maping={}), "steps[0].input_maping"),
        (step(input_mapping={"c": "input.x"}), "steps[0].input_mapping.c"),
        (step(input_mapping={"a": "output.x"}), "steps[0].input_mapping.a"),
        (step(input_mapping={"a": 3}), "steps[0].input_mapping.a"),
        (step(input_mapping={"a": "step.b.n"}), "steps[0].input_mapping.a"),
        (step(input_mapping={"a": "step.a.n"}), "steps[0].input_mapping.a"),
        (step(input_mapping={"a": ["input.x", "step.zz.n"]}), "steps[0].input_mapping.a[1]"),
        (step(output_mapping={"x": "m"}), "steps[0].output_mapping"),
        (step(dependencies=["b"]), "steps[0].dependencies[0]"),
        (step(dependencies=["a"]), "steps[0].dependencies[0]"),
        (step(model_config={"name": "known"}), "steps[0].model_config"),
        (step(timeout=0), "steps[0].timeout"),
        (step(timeout=True), "steps[0].timeout"),
        (step(retry={"max_attempts": 0}), "steps[0].retry.max_attempts"),
        (step(retry={"backoff": -1}), "steps[0].retry.backoff"),
        (step(retry={"jitter": 1}), "steps[0].retry.jitter"),
        ({"workflow_id": "wf", "steps": [DIAMOND[0], DIAMOND[0]]}, "steps[1].step_id"),
        ({**GOOD, "description": {}}, "description"),
    ],
)
def test_what_is_wrong_has_a_place(raw: Any, place: str | None) -> None:
    with pytest.raises(DefinitionInvalid) as caught:
        parse(raw)
    assert caught.value.param == place
    assert caught.value.mend


def each_run(**fields: Any) -> dict[str, Any]:
    return {"workflow_id": "wf", "steps": [{"step_id": "a", "workflow": "inner", "for_each": "input.list", **fields}]}


def test_a_workflow_may_be_done_for_each_item() -> None:
    raw = each_run(input_mapping={"x": "item.x", "at": "index"})
    after = {"step_id": "b", "task_type": "work", "input_mapping": {"a": "step.a.results"}}
    (each, _) = parse({**raw, "steps": [*raw["steps"], after]}).steps
    assert (each.workflow, each.for_each and each.for_each.over) == ("inner", "input.list")
    with pytest.raises(DefinitionInvalid, match="gives no 'first'") as caught:
        parse({**raw, "steps": [*raw["steps"], {**after, "input_mapping": {"a": "step.a.first.n"}}]})
    assert caught.value.mend == "it gives: result, results, errors, count"


@pytest.mark.parametrize(
    ("raw", "place"),
    [
        (each_run(for_each={"in": "input.list", "concurrency": 101}), "steps[0].for_each.concurrency"),
        (each_run(retry={"max_attempts": 2}), "steps[0].retry"),
        (each_run(workflow=None, signal="go"), "steps[0].for_each"),
        (each_run(workflow=None, approval={}), "steps[0].for_each"),
    ],
)
def test_what_does_not_go_with_a_list_of_runs_has_a_place(raw: Any, place: str) -> None:
    with pytest.raises(DefinitionInvalid) as caught:
        parse(raw)
    assert caught.value.param == place


def test_a_field_that_the_producer_does_not_give_lists_what_it_does() -> None:
    steps = [DIAMOND[0], {"step_id": "b", "task_type": "work", "input_mapping": {"a": "step.top.m"}}]
    with pytest.raises(DefinitionInvalid, match="gives no 'm'") as caught:
        parse({"workflow_id": "wf", "steps": steps})
    assert caught.value.mend == "it gives: result, n"


def test_a_circle_is_drawn() -> None:
    steps = [
        {"step_id": name, "task_type": "work", "dependencies": [other]}
        for name, other in (("a", "c"), ("b", "a"), ("c", "b"))
    ]
    with pytest.raises(DefinitionInvalid, match="a → c → b → a"):
        parse({"workflow_id": "wf", "steps": steps})


def test_values_come_from_where_the_references_point() -> None:
    steps = {"s": StepOutput({"n": 1, "rows": [{"x": 5}]}, {"total": 2})}
    mapping = {
        "a": "input.start",
        "b": "step.s.total",
        "c": ["step.s.n", {"value": "input.start"}],
        "d": "step.s.rows.0.x",
        "e": "input.absent",
        "f": "step.s.result",
    }
    assert resolve(mapping, {"start": None}, steps) == {
        "a": None,
        "b": 2,
        "c": [1, "input.start"],
        "d": 5,
        "f": {"n": 1, "rows": [{"x": 5}]},
    }


@pytest.mark.parametrize("reference", ["input.start.deeper", "step.s.rows.7", "step.s.nothing", "step.s.n.x"])
def test_a_path_that_leads_nowhere_is_an_error(reference: str) -> None:
    steps = {"s": StepOutput({"n": 1, "rows": []}, {})}
    with pytest.raises(ValidationFailed):
        resolve({"a": reference}, {"start": 1}, steps)


WORDS = st.text(max_size=9)


@given(st.recursive(st.integers() | WORDS, lambda inner: st.lists(inner) | st.dictionaries(WORDS, inner)))
def test_no_data_raises_anything_but_an_error_of_ours(raw: Any) -> None:
    for whole in (raw, {"workflow_id": "wf", "steps": raw}, {"workflow_id": "wf", "steps": [raw]}, step(retry=raw)):
        with suppress(GatewayError):
            parse(whole)


def has_circle(edges: set[tuple[int, int]]) -> bool:
    """By reachability: some step can be reached from itself."""
    reach = set(edges)
    for _ in range(8):
        reach |= {(a, d) for a, b in reach for c, d in reach if b == c}
    return any(a == b for a, b in reach)


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=20))
def test_either_an_order_exists_or_a_circle_is_told(pairs: list[tuple[int, int]]) -> None:
    edges = {(after, before) for after, before in pairs if after != before}
    steps = [
        {"step_id": f"s{at}", "task_type": "work", "dependencies": [f"s{b}" for a, b in edges if a == at]}
        for at in range(8)
    ]
    try:
        found = parse({"workflow_id": "wf", "steps": steps})
    except DefinitionInvalid:
        assert has_circle(edges)
        return
    assert not has_circle(edges)
    done: set[str] = set()
    waiting = list(found.steps)
    while waiting:
        free = [one for one in waiting if set(one.dependencies) <= done]
        assert free
        done |= {one.step_id for one in free}
        waiting = [one for one in waiting if one.step_id not in done]


def test_moves_are_those_of_the_drawing() -> None:
    for state in STEP_ENDED:
        assert state not in STEP_MOVES
    for state in RUN_ENDED:
        assert state not in RUN_MOVES
    check_run_move("pending", "running")
    check_step_move("running", "ready")
    for check, moves in ((check_run_move, ("completed", "running")), (check_step_move, ("waiting", "running"))):
        with pytest.raises(Conflict):
            check(*moves)


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("input.x in " + "[" * 600 + "]" * 600, "nested too deeply"),
        ("1 in " + "[" * 20 + "(" * 20 + "1" + ")" * 20 + "]" * 20, "nested too deeply"),
        ("(" * 40 + "true" + ")" * 40, "nested too deeply"),
        ("input.x == \u0663", "cannot be read"),
        ("input.x == 1\u0663", "cannot be read"),
    ],
)
def test_a_condition_that_is_meant_to_harm_is_refused_with_its_place(when: str, said: str) -> None:
    with pytest.raises(DefinitionInvalid, match=said) as caught:
        parse(step(when=when))
    assert caught.value.param == "steps[0].when"


def test_lists_beside_each_other_are_not_deep() -> None:
    assert parse(step(when="input.x in [" + ", ".join(["[1]"] * 100) + "]")).steps[0].when


@pytest.mark.parametrize("name", ["\u00b2", "\u0663", "-1", "9" * 5000, "1"])
def test_what_is_no_place_in_a_list_is_told_as_one_that_is_not_there(name: str) -> None:
    with pytest.raises(ValidationFailed, match="there is nothing at"):
        resolve({"a": f"input.list.{name}"}, {"list": ["only"]}, {})


def tree(*shapes: tuple[str, list[str]]) -> Any:
    """What is newest of workflows of which each is a list of others."""
    made = {}
    for name, inner in shapes:
        steps = [{"step_id": f"s{at}", "workflow": one} for at, one in enumerate(inner)] or [DIAMOND[0]]
        definition = parse({"workflow_id": name, "steps": steps})
        made[name] = (definition, definition.hash())
    return made


def test_workflows_within_workflows_are_looked_at_once_and_bounded_in_number() -> None:
    shapes: list[tuple[str, list[str]]] = [("w0", [])]
    shapes += [(f"w{level}", [f"w{level - 1}"] * 200) for level in range(1, 8)]
    made, asked = tree(*shapes), list[str]()

    def newest(name: str) -> Any:
        asked.append(name)
        return made[name]

    assert pins_of(made["w1"][0], newest) == {"w0": made["w0"][1]}
    asked.clear()
    with pytest.raises(DefinitionInvalid, match="runs within each other, at most 1,000 are begun") as caught:
        pins_of(made["w7"][0], newest)
    assert caught.value.param == "steps"
    assert sorted(asked) == [f"w{level}" for level in range(7)]


def test_workflows_are_too_deep_also_where_they_were_seen_before() -> None:
    shapes: list[tuple[str, list[str]]] = [("w0", []), *((f"w{level}", [f"w{level - 1}"]) for level in range(1, 9))]
    made = tree(*shapes, ("top", ["w7", "mid"]), ("mid", ["w7"]))
    assert len(pins_of(made["w8"][0], made.get)) == 8
    with pytest.raises(DefinitionInvalid, match="at most 8 deep"):
        pins_of(made["top"][0], made.get)
