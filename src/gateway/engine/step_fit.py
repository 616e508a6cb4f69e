"""Refuses a mapping whose types cannot fit, when the definition is given: not hours later, when the step begins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.engine.checks import require
from gateway.engine.condition_fit import check_condition
from gateway.engine.conditions import parse_condition
from gateway.engine.fitting import Schema, in_words, inside, kind_of, kinds_of, may_fit, resolved
from gateway.engine.mapping import InputRef, ItemRef, Reference, StepRef, parse_reference, references
from gateway.engine.step_definition import APPROVAL, SIGNAL, WORKFLOW, StepDefinition
from gateway.engine.task_types import TaskTypeSpec
from gateway.errors import DefinitionInvalid, ValidationFailed

_OBJECT: Schema = {"type": "object"}
_GATHERED: Mapping[str, Schema] = {
    "result": _OBJECT,
    "results": {"type": "array"},
    "errors": {"type": "array"},
    "count": {"type": "integer"},
}
_GIVEN: Mapping[str, Mapping[str, Schema]] = {
    APPROVAL: {"result": _OBJECT, "approved": {"type": "boolean"}, "at": {"type": "string"}},
    SIGNAL: {"result": _OBJECT, "received": {"type": "boolean"}},
}
_ERROR: Schema = {"type": ["object", "null"]}
_MEND = "map a value of that type; GET /task-types shows what each task type takes and gives"
_MEND_WITHIN = "see the input_schema of that workflow: GET /workflows/ID"


class StepFit:
    """The types of one definition's mappings, as far as the schemas of its task types tell them."""

    def __init__(
        self,
        steps: Mapping[str, StepDefinition],
        task_types: Mapping[str, TaskTypeSpec],
        input_schema: Schema | None = None,
    ) -> None:
        """``input_schema`` is that of the run's input, where the workflow has one."""
        self._steps = steps
        self._task_types = task_types
        self._input_schema = input_schema

    def check(self, step: StepDefinition, path: str) -> None:
        """Raises ``DefinitionInvalid`` at the place of the first value that can never fit."""
        if step.for_each is not None and isinstance(step.for_each.over, str):
            place = f"{path}.for_each"
            given, said = self._given(parse_reference(step.for_each.over, place), step, place)
            require(
                given is None or "array" in given,
                place,
                f"for_each needs a list; {said} is {in_words(given)}",
                mend="name a list, or write the items as {'value': […]}",
            )
        if step.when is not None:
            place = f"{path}.when"
            asked = parse_condition(step.when, place)
            check_condition(asked, lambda reference: self._given(reference, step, place)[0], place)
        spec = self._task_types.get(step.task_type)
        if spec is None or spec.input_schema is None:
            return
        for name, value in step.input_mapping.items():
            place = f"{path}.input_mapping.{name}"
            self._value(value, inside(spec.input_schema, (name,), spec.input_schema), spec, step, place)
        if spec.check is not None and not list(references(step.input_mapping, path)):
            _literal(spec, step, path)

    def check_within(self, step: StepDefinition, path: str, schema: Schema) -> None:
        """The same for a step that is a run of a workflow with such an ``input_schema``."""
        within = TaskTypeSpec(f"the workflow {step.workflow!r}", "", "cpu", "", (), (), (), input_schema=dict(schema))
        for name in schema.get("required", ()):
            place = f"{path}.input_mapping"
            require(name in step.input_mapping, place, f"{within.name} needs the input {name!r}", mend=_MEND_WITHIN)
        for name, value in step.input_mapping.items():
            place = f"{path}.input_mapping.{name}"
            try:
                wanted = inside(schema, (name,), schema)
            except LookupError:
                told = f"{place}: {within.name} takes no such input"
                raise DefinitionInvalid(told, mend=_MEND_WITHIN, param=place) from None
            self._value(value, wanted, within, step, place)

    def _value(self, value: Any, wanted: Schema | None, spec: TaskTypeSpec, step: StepDefinition, place: str) -> None:
        root = spec.input_schema
        if isinstance(value, str):
            given, said = self._given(parse_reference(value, place), step, place)
            self._fits(given, said, wanted, spec, place)
        elif isinstance(value, Mapping) and value.keys() == {"value"}:
            self._fits(frozenset({kind_of(value["value"])}), "this literal", wanted, spec, place)
        elif isinstance(value, Mapping):
            self._fits(frozenset({"object"}), "this", wanted, spec, place)
            for name, inner in value.items():
                self._value(inner, _known(wanted, name, root), spec, step, f"{place}.{name}")
        else:
            self._fits(frozenset({"array"}), "this", wanted, spec, place)
            for at, inner in enumerate(value):
                self._value(inner, _known(wanted, str(at), root), spec, step, f"{place}[{at}]")

    def _fits(
        self, given: frozenset[str] | None, said: str, wanted: Schema | None, spec: TaskTypeSpec, place: str
    ) -> None:
        asked = kinds_of(wanted, spec.input_schema)
        good = may_fit(given, wanted, spec.input_schema)
        require(good, place, f"{spec.name} takes {in_words(asked)} here; {said} is {in_words(given)}", mend=_MEND)

    def _given(self, reference: Reference, step: StepDefinition, place: str) -> tuple[frozenset[str] | None, str]:
        """The types of what a reference leads to, and how to speak of it."""
        if isinstance(reference, StepRef):
            first, root = self._output(self._steps[reference.step_id], reference.path[0])
            said = f"what step {reference.step_id!r} gives as {'.'.join(reference.path)!r}"
            return _along(first, reference.path[1:], root, place, said), said
        if isinstance(reference, InputRef):
            said = f"the run's input {'.'.join(reference.path)!r}"
            return _along(self._input_schema, reference.path, self._input_schema, place, said), said
        if isinstance(reference, ItemRef) and reference.path is None:
            return frozenset({"number"}), "the index"
        if isinstance(reference, ItemRef) and step.for_each is not None and isinstance(step.for_each.over, str):
            over = parse_reference(step.for_each.over, place)
            if isinstance(over, StepRef):
                first, root = self._output(self._steps[over.step_id], over.path[0])
                item = _known(first, [*over.path[1:], "0"], root)
                said = "the item" if not reference.path else f"what an item has as {'.'.join(reference.path)!r}"
                return _along(item, reference.path or (), root, place, said), said
        return None, "this"

    def _output(self, producer: StepDefinition, name: str) -> tuple[Schema | None, Schema | None]:
        """The schema of a field that others read of a step, and the one that holds its definitions."""
        if producer.task_type == WORKFLOW and producer.for_each is None:
            return None, None
        if name not in producer.output_mapping and name == "error":
            return _ERROR, None
        field = producer.output_mapping.get(name, name)
        if producer.task_type in _GIVEN:
            return _GIVEN[producer.task_type].get(field), None
        spec = self._task_types.get(producer.task_type)
        schema = None if spec is None else spec.output_schema
        if producer.for_each is not None:
            known = _GATHERED.get(field)
            items = {"type": "array", "items": schema} if field == "results" and schema is not None else known
            return items, schema
        return (
            (_OBJECT if schema is None else schema, schema)
            if field == "result"
            else (_known(schema, field, schema), schema)
        )


def _known(schema: Schema | None, path: str | list[str], root: Schema | None) -> Schema | None:
    """What lies there, or ``None``: that there can be nothing is told where somebody reads it."""
    try:
        return inside(schema, [path] if isinstance(path, str) else path, root)
    except LookupError:
        return None


def _along(
    schema: Schema | None, path: tuple[str, ...], root: Schema | None, place: str, said: str
) -> frozenset[str] | None:
    try:
        found = inside(schema, path, root)
    except LookupError as missing:
        told = f"{place}: {said}: there can be nothing at {missing.args[0]!r}"
        raise DefinitionInvalid(told, mend=_MEND, param=place) from None
    return kinds_of(resolved(found, root), root)


def _literal(spec: TaskTypeSpec, step: StepDefinition, path: str) -> None:
    """An input that is written out whole is checked as the task would be."""
    plain = {name: _plain(value) for name, value in step.input_mapping.items()}
    try:
        if spec.check is not None:
            spec.check(plain)
    except ValidationFailed as error:
        told = error.message.replace("input_data.", f"{path}.input_mapping.")
        place = (error.param or "input_data").replace("input_data", f"{path}.input_mapping", 1)
        raise DefinitionInvalid(told, mend=error.mend, param=place) from None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return value["value"] if value.keys() == {"value"} else {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value]
