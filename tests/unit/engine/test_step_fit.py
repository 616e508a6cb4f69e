"""Types in a definition: what can never fit is refused where it stands, what may fit is let through."""

from __future__ import annotations

from datetime import date
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from gateway.engine.condition_fit import check_condition
from gateway.engine.conditions import Node, holds
from gateway.engine.definition import parse_definition
from gateway.engine.fitting import inside, kind_of, kinds_of, may_fit
from gateway.engine.mapping import InputRef
from gateway.engine.task_types import index
from gateway.errors import DefinitionInvalid, ValidationFailed
from gateway.workflows.built_in_task_types import BUILT_IN
from gateway.workflows.context import StepContext
from gateway.workflows.typed_task import task_type


class Position(BaseModel):
    name: str
    value: float


class Book(BaseModel):
    positions: list[Position] = Field(default=[], max_length=3)
    limits: dict[str, float] = {}
    day: date | None = None
    title: str = ""


class Looked(BaseModel):
    largest: Position | None
    positions: list[Position]
    shares: dict[str, float]
    ok: bool
    day: date


@task_type("look")
def look(_ctx: StepContext, book: Book) -> Looked:
    """Looks at a book."""
    return Looked(largest=None, positions=book.positions, shares={}, ok=True, day=book.day or date.min)


TYPES = index([*BUILT_IN, look.spec])
FIRST = {"step_id": "a", "task_type": "look", "input_mapping": {"positions": "input.positions"}}


def parse(**second: Any) -> None:
    steps = [FIRST, {"step_id": "b", "task_type": "look", **second}]
    parse_definition({"workflow_id": "wf", "steps": steps}, TYPES)


@pytest.mark.parametrize(
    "second",
    [
        {"input_mapping": {"positions": "step.a.positions", "limits": "step.a.shares", "day": "step.a.day"}},
        {"input_mapping": {"title": "step.a.day"}},
        {"input_mapping": {"title": "step.a.largest.name"}},
        {"input_mapping": {"title": "step.a.positions.0.name"}},
        {"input_mapping": {"limits": {"x": "step.a.shares.x", "y": {"value": "3"}}}},
        {"input_mapping": {"positions": [{"name": "input.n", "value": "step.a.shares.x"}]}},
        {"for_each": "step.a.positions", "input_mapping": {"title": "item.name", "positions": ["item"]}},
        {"for_each": "input.anything", "input_mapping": {"title": "item"}},
        {"input_mapping": {"title": "input.what.ever", "positions": {"value": []}}},
        {"input_mapping": {"positions": "step.a.result.positions"}},
    ],
)
def test_what_may_fit_is_taken(second: dict[str, Any]) -> None:
    parse(**second)


@pytest.mark.parametrize(
    ("second", "place", "said"),
    [
        ({"input_mapping": {"title": "step.a.shares.x"}}, "input_mapping.title", "'shares.x' is a number"),
        ({"input_mapping": {"positions": "step.a.shares"}}, "input_mapping.positions", "takes a list here"),
        ({"input_mapping": {"limits": "step.a.result.ok"}}, "input_mapping.limits", "'result.ok' is true or false"),
        ({"input_mapping": {"title": "step.a.ok.more"}}, "input_mapping.title", "there can be nothing at 'more'"),
        ({"input_mapping": {"title": "step.a.positions.name"}}, "input_mapping.title", "nothing at 'name'"),
        ({"input_mapping": {"positions": {"value": "AAA"}}}, "input_mapping.positions", "this literal is a text"),
        ({"input_mapping": {"positions": {"name": "input.n"}}}, "input_mapping.positions", "takes a list here"),
        ({"input_mapping": {"limits": {"x": {"y": "input.n"}}}}, "input_mapping.limits.x", "takes a number here"),
        ({"input_mapping": {"positions": [["input.n"]]}}, "input_mapping.positions[0]", "takes an object here"),
        (
            {"input_mapping": {"positions": [{"name": "input.n", "value": "step.a.shares"}]}},
            "input_mapping.positions[0].value",
            "a number",
        ),
        ({"input_mapping": {"positions": {"value": [{"name": "x"}]}}}, "input_mapping.positions[0].value", "required"),
        ({"for_each": "step.a.shares", "input_mapping": {}}, "for_each", "for_each needs a list"),
        ({"for_each": "step.a.result", "input_mapping": {}}, "for_each", "is an object"),
        ({"for_each": "step.a.ok", "input_mapping": {}}, "for_each", "is true or false"),
        ({"for_each": "step.a.positions", "input_mapping": {"title": "item"}}, "input_mapping.title", "the item is an"),
        ({"for_each": "step.a.positions", "input_mapping": {"title": "index"}}, "input_mapping.title", "the index is"),
        ({"task_type": "llm_analysis", "input_mapping": {"prompt": "step.a.shares"}}, "input_mapping.prompt", "a text"),
    ],
)
def test_what_can_never_fit_is_refused_with_its_place(second: dict[str, Any], place: str, said: str) -> None:
    with pytest.raises(DefinitionInvalid) as caught:
        parse(**second)
    assert caught.value.param == f"steps[1].{place}"
    assert said in caught.value.message
    assert "(step 'b')" in caught.value.message
    assert caught.value.mend


@pytest.mark.parametrize(
    "when",
    [
        "step.a.ok == true and step.a.shares.x > 3",
        "step.a.day >= '2026-01-01' or step.a.day == null",
        "step.a.largest == null",
        "step.a.largest.value > 3",
        "step.a.positions != null and not (step.a.ok)",
        "step.a.day in ['2026-01-01', null] and 'AAA' in step.a.shares",
        "step.a.day in step.a.positions",
        "'2026' in step.a.day",
        "input.anything > 3 and input.anything != 'x' and input.anything in input.other",
        "step.a.day == step.a.shares.x",
        "step.a.result.shares.x in [1, 'one']",
        "step.a.ok",
    ],
)
def test_a_condition_that_may_hold_is_taken(when: str) -> None:
    parse(when=when, input_mapping={})


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("step.a.ok > 3", "step.a.ok is true or false and a value is a number: '>' orders"),
        ("step.a.shares.x > '3'", "step.a.shares.x is a number and a value is a text"),
        ("step.a.ok and (true or not step.a.day < 3)", "step.a.day is a text"),
        ("step.a.shares < step.a.shares", "an object"),
        ("null < step.a.day", "a value is null"),
        ("step.a.day == 3", "are never equal"),
        ("step.a.ok != 'true'", "are never equal"),
        ("(step.a.ok == true) == 1", "are never equal"),
        ("3 in step.a.ok", "'in' looks in a list, an object or a text"),
        ("3 in step.a.day", "'in' looks in a list, an object or a text"),
        ("step.a.shares.x not in ['1', '2']", "is a number, and nothing in the list is"),
        ("step.a.day in []", "nothing in the list is"),
        ("step.a.ok.more == 1", "there can be nothing at 'more'"),
        ("step.a.positions.name == 'x'", "nothing at 'name'"),
    ],
)
def test_a_condition_that_can_never_be_told_is_refused_with_step_and_place(when: str, said: str) -> None:
    with pytest.raises(DefinitionInvalid) as caught:
        parse(when=when, input_mapping={})
    assert caught.value.param == "steps[1].when"
    assert said in caught.value.message
    assert "(step 'b')" in caught.value.message
    assert caught.value.mend


def test_what_a_list_gave_is_a_list_of_what_each_gave() -> None:
    each = {**FIRST, "for_each": "input.books", "input_mapping": {"positions": "item"}}
    after = {"step_id": "b", "task_type": "look", "for_each": "step.a.results", "input_mapping": {}}
    for reference, fits in (("item.positions", True), ("item.shares", False)):
        after["input_mapping"] = {"positions": reference}
        definition = {"workflow_id": "wf", "steps": [each, after]}
        if fits:
            parse_definition(definition, TYPES)
        else:
            with pytest.raises(DefinitionInvalid, match=r"'shares' is an object"):
                parse_definition(definition, TYPES)


class Asked(BaseModel, extra="forbid"):
    text: str
    book: Book


@pytest.mark.parametrize(
    ("fields", "place", "said"),
    [
        ({"for_each": "input.text"}, "for_each", "the run's input 'text' is a text"),
        ({"input_mapping": {"positions": "input.text"}}, "input_mapping.positions", "takes a list here"),
        ({"input_mapping": {"title": "input.book.positions"}}, "input_mapping.title", "takes a text here"),
        ({"input_mapping": {"title": "input.other"}}, "input_mapping.title", "there can be nothing at 'other'"),
        ({"input_mapping": {"title": "input.text.deep"}}, "input_mapping.title", "there can be nothing at 'deep'"),
        ({"when": "input.text > 3"}, "when", "input.text is a text and a value is a number"),
        ({"when": "input.book.title in [1]"}, "when", "nothing in the list is"),
        ({"when": "input.other == 1"}, "when", "there can be nothing at 'other'"),
    ],
)
def test_what_a_runs_input_can_never_be_is_refused_too(fields: dict[str, Any], place: str, said: str) -> None:
    with pytest.raises(DefinitionInvalid) as caught:
        of_input(fields)
    assert caught.value.param == f"steps[0].{place}"
    assert said in caught.value.message


def test_what_a_runs_input_may_be_is_let_through() -> None:
    of_input({"input_mapping": {"title": "input.book.title", "limits": "input.book.limits", "day": "input.text"}})
    of_input({"for_each": "input.book.positions", "input_mapping": {"title": "item.name"}})


def of_input(fields: dict[str, Any]) -> None:
    step = {"step_id": "a", "task_type": "look", **fields}
    parse_definition({"workflow_id": "wf", "input_schema": Asked.model_json_schema(), "steps": [step]}, TYPES)


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=6,
)
_TYPE = st.sampled_from(["string", "number", "integer", "boolean", "object", "array", "null"])
_SCHEMAS: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.builds(lambda kind: {"type": kind}, _TYPE | st.lists(_TYPE, min_size=1, max_size=3, unique=True))
    | st.builds(lambda value: {"const": value}, _VALUES)
    | st.just({"$ref": "#/$defs/d"})
    | st.just({}),
    lambda inner: (
        st.builds(lambda parts: {"anyOf": parts}, st.lists(inner, min_size=1, max_size=3))
        | st.builds(lambda item: {"type": "array", "items": item}, inner)
        | st.builds(lambda a: {"type": "object", "properties": {"a": a}}, inner)
        | st.builds(lambda a: {"type": "object", "additionalProperties": a}, inner)
    ),
    max_leaves=5,
)


@given(_SCHEMAS, _VALUES)
def test_no_value_that_fits_is_ever_refused(schema: dict[str, Any], value: Any) -> None:
    root = {"$defs": {"d": {"type": "string"}}, **schema}
    if not jsonschema_rs.is_valid(root, value):
        return
    assert may_fit(frozenset({kind_of(value)}), schema, root)
    for name, inner in value.items() if isinstance(value, dict) else ():
        kinds = kinds_of(inside(schema, [name], root), root)  # no LookupError: there is something
        assert kinds is None or kind_of(inner) in kinds


@given(st.sampled_from(["==", "!=", "in", "<", "<=", ">", ">="]), _VALUES, _VALUES, st.booleans())
def test_no_comparison_that_holds_is_ever_refused(sign: str, first: Any, second: Any, known: bool) -> None:
    values = {"a": first, "b": second}
    operands = tuple(Node("reference", value=(InputRef((name,)), name)) for name in values)
    node = Node(sign, operands)
    if known:
        node = Node(sign, (operands[0], Node("value", value=second)))
    try:
        true = holds(node, lambda _reference, name: values[name])
    except ValidationFailed:
        return
    if true or sign in ("<", "<=", ">", ">="):
        check_condition(
            node,
            lambda asked: frozenset({kind_of(values[asked.path[0]])}) if isinstance(asked, InputRef) else None,
            "when",
        )


_ALL = {"anyOf": [{"$ref": f"#/$defs/d{number}"} for number in range(9)]}


@pytest.mark.parametrize(
    "looped",
    [
        {"$ref": "#/$defs/d0"},
        {"anyOf": [{"$ref": "#/$defs/d0"}, {"$ref": "#/$defs/d0"}]},
        {"anyOf": [{"$ref": "#/$defs/d0"}, {"type": "string", "format": "date"}]},
        _ALL,
    ],
)
def test_a_schema_that_names_itself_is_known_of_nothing(looped: dict[str, Any]) -> None:
    root = {"$defs": {f"d{number}": looped for number in range(9)}, **looped}
    assert kinds_of(looped, root) is None
    assert may_fit(frozenset({"number"}), looped, root)
    schema = {"type": "object", "properties": {"x": looped}, "$defs": root["$defs"]}
    step = {"step_id": "a", "task_type": "look", "input_mapping": {"title": "input.x"}, "when": "input.x > 3"}
    parse_definition({"workflow_id": "wf", "input_schema": schema, "steps": [step]}, TYPES)
