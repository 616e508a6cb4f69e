"""Workflow definitions: read strictly, checked whole, and named by the hash of what they say.

A definition that passes ``parse_definition`` can run: every step and task type exists, every
reference leads to something its producer gives, nothing waits in a circle. Each error names its
step and its place, such as ``steps[2].input_mapping.data``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec
from msgspec import Struct

from gateway.engine.checks import name_at, one_of, refuse_unknown, require
from gateway.engine.conditions import condition_references, parse_condition
from gateway.engine.mapping import InputRef, ItemRef, Reference, StepRef, references
from gateway.engine.step_definition import APPROVAL, SIGNAL, UNKNOWN_OUTCOMES, WORKFLOW, StepDefinition
from gateway.engine.step_fields import read_step
from gateway.engine.step_fit import StepFit
from gateway.engine.task_types import TaskTypeSpec
from gateway.errors import DefinitionInvalid, ValidationFailed
from gateway.models.finite import no_number
from gateway.models.json_schema import ready_schema

MAX_STEPS = 200
_FIELDS = frozenset({"workflow_id", "name", "description", "steps", "output", "on_unknown_outcome", "input_schema"})
#: What steps that are no work give.
GIVEN = {
    APPROVAL: ("result", "approved", "by", "reason", "at"),
    SIGNAL: ("result", "received", "payload", "by", "at"),
}
GATHERED = ("result", "results", "errors", "count")


class WorkflowDefinition(Struct, frozen=True, omit_defaults=True):
    """A checked definition. ``inputs`` are the fields of the run's input that it refers to; ``output`` says
    how the result of a run is made of what its steps gave (``None``: by step id)."""

    workflow_id: str
    name: str
    steps: tuple[StepDefinition, ...]
    inputs: tuple[str, ...] = ()
    description: str = ""
    output: dict[str, Any] | None = None
    #: A JSON schema that a run's input must fit.
    input_schema: dict[str, Any] | None = None

    def canonical(self) -> bytes:
        """The definition as bytes: equal definitions give equal bytes."""
        return msgspec.json.encode(self, order="deterministic")

    def hash(self) -> str:
        """SHA-256 of the canonical bytes: the version's name."""
        return hashlib.sha256(self.canonical()).hexdigest()

    @classmethod
    def decode(cls, body: str | bytes) -> WorkflowDefinition:
        """The inverse of ``canonical``."""
        return msgspec.json.decode(body, type=cls)


def parse_definition(
    raw: Any, task_types: Mapping[str, TaskTypeSpec], known_model: Callable[[str], bool] = lambda _name: True
) -> WorkflowDefinition:
    """A definition from plain JSON or YAML data. Raises ``DefinitionInvalid`` with the path."""
    require(isinstance(raw, dict), "", "a definition is an object with workflow_id, name and steps")
    refuse_unknown(raw, _FIELDS, "")
    workflow_id = name_at(raw.get("workflow_id"), "workflow_id")
    name = raw.get("name", workflow_id)
    require(isinstance(name, str) and 0 < len(name) <= 200, "name", "a text of 1 to 200 characters")
    description = raw.get("description")
    require(description is None or isinstance(description, str), "description", "a text")
    raw_steps = raw.get("steps")
    require(isinstance(raw_steps, list) and bool(raw_steps), "steps", "a list of at least one step")
    require(len(raw_steps) <= MAX_STEPS, "steps", f"at most {MAX_STEPS} steps")
    place = no_number(raw)
    require(place is None, place or "", "a finite number", mend="JSON has no NaN and no infinity: leave it out")
    unknown = one_of(raw.get("on_unknown_outcome", "retry"), "on_unknown_outcome", UNKNOWN_OUTCOMES)
    schema = raw.get("input_schema")
    if schema is not None:
        require(isinstance(schema, dict), "input_schema", "a JSON schema of the run's input")
        _refuse_no_schema(schema)
    steps = []
    for at, item in enumerate(raw_steps):
        with told_of(item.get("step_id") if isinstance(item, dict) else None):
            steps.append(read_step(item, f"steps[{at}]", task_types, known_model, unknown))
    linker = _Linker(steps, task_types, schema)
    linked = linker.linked()
    _refuse_cycle(linked)
    output = raw.get("output")
    if output is not None:
        require(isinstance(output, dict) and bool(output), "output", "an object of name: reference")
        linker.check_output(output)
    return WorkflowDefinition(
        workflow_id=workflow_id,
        name=name,
        steps=tuple(linked),
        inputs=tuple(linker.inputs),
        description=description or "",
        output=output,
        input_schema=schema,
    )


def _refuse_no_schema(schema: dict[str, Any]) -> None:
    try:
        ready_schema(schema)
    except ValueError as error:
        raise DefinitionInvalid(
            f"input_schema: not a JSON schema that can be checked ({error})",
            mend="references stay within the schema, patterns do without look-around",
            param="input_schema",
        ) from None


def check_input(definition: WorkflowDefinition, data: Mapping[str, Any]) -> None:
    """``ValidationFailed`` that names the first field of a run's input that does not fit the workflow's schema."""
    if definition.input_schema is None:
        return
    for wrong in ready_schema(definition.input_schema).iter_errors(dict(data)):
        steps = [*wrong.instance_path]
        missing = getattr(wrong.kind, "property", None)
        if isinstance(missing, str) and missing not in steps:
            steps.append(missing)
        place = "input" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
        raise ValidationFailed(
            f"{place}: {wrong.message}"[:500], mend="see the workflow's input_schema", param=place[:200]
        )


@contextmanager
def told_of(step_id: Any) -> Iterator[None]:
    """Whatever is wrong within is told with the step's id."""
    try:
        yield
    except DefinitionInvalid as error:
        if not isinstance(step_id, str) or not step_id or repr(step_id) in error.message:
            raise
        raise DefinitionInvalid(
            f"{error.message} (step {step_id[:64]!r})",
            mend=error.mend,
            param=error.param,
            **{**error.details, "step": step_id[:64]},
        ) from None


class _Linker:
    """Follows every reference between steps, and gives each step the dependencies they imply."""

    def __init__(
        self, steps: list[StepDefinition], task_types: Mapping[str, TaskTypeSpec], input_schema: dict[str, Any] | None
    ) -> None:
        self._steps = steps
        self._input_schema = input_schema
        self._task_types = task_types
        self._by_id: dict[str, StepDefinition] = {}
        self.inputs: dict[str, None] = {}
        self._handles: dict[str, list[str]] = {}
        self._undoes: dict[str, str] = {}
        for at, step in enumerate(steps):
            path = f"steps[{at}].step_id"
            require(step.step_id not in self._by_id, path, f"the id {step.step_id!r} is used twice")
            self._by_id[step.step_id] = step

    def linked(self) -> list[StepDefinition]:
        """The steps with everything that others say of them."""
        for at, step in enumerate(self._steps):
            with told_of(step.step_id):
                self._note_ends(step, f"steps[{at}]")
        found = []
        for at, step in enumerate(self._steps):
            with told_of(step.step_id):
                found.append(self._link(step, f"steps[{at}]"))
        for at, step in enumerate(found):
            for name in step.dependencies:
                path = f"steps[{at}].dependencies"
                require(name not in self._undoes, path, f"nothing can wait for {name!r}: it only undoes another step")
        fit = StepFit(self._by_id, self._task_types, self._input_schema)
        for at, step in enumerate(found):
            with told_of(step.step_id):
                fit.check(step, f"steps[{at}]")
        return found

    def check_output(self, output: dict[str, Any]) -> None:
        """The references of the workflow's ``output``."""
        for place, reference in references(output, "output"):
            self._check(reference, place, None)

    def _note_ends(self, step: StepDefinition, path: str) -> None:
        for name in step.on_failure or ():
            self._known(name, f"{path}.on_failure", step.step_id)
            self._handles.setdefault(name, []).append(step.step_id)
        if step.compensate is not None:
            self._known(step.compensate, f"{path}.compensate", step.step_id)
            require(step.compensate not in self._undoes, f"{path}.compensate", "it undoes another step already")
            self._undoes[step.compensate] = step.step_id

    def _link(self, step: StepDefinition, path: str) -> StepDefinition:
        dependencies = dict.fromkeys(step.dependencies)
        for at, name in enumerate(step.dependencies):
            self._known(name, f"{path}.dependencies[{at}]", step.step_id)
        for place, reference in self._references(step, path):
            self._check(reference, place, step)
            if isinstance(reference, StepRef):
                dependencies[reference.step_id] = None
        handles, undoes = self._handles.get(step.step_id, []), self._undoes.get(step.step_id)
        dependencies |= dict.fromkeys([*handles, *([undoes] if undoes else [])])
        if step.join != "all":
            require(bool(dependencies), f"{path}.join", "a step that waits for no other has nothing to join")
        if undoes is not None:
            extra = step.when is not None or step.for_each is not None or step.task_type in (APPROVAL, SIGNAL, WORKFLOW)
            wrong = extra or step.approval is not None or bool(handles) or step.compensate is not None
            require(not wrong, path, "a step that undoes another is plain work: no when, for_each, approval, …")
        return msgspec.structs.replace(step, dependencies=tuple(dependencies), handles=tuple(handles), undoes=undoes)

    @staticmethod
    def _references(step: StepDefinition, path: str) -> Iterator[tuple[str, Reference]]:
        yield from references(step.input_mapping, f"{path}.input_mapping")
        if step.when is not None:
            for asked in condition_references(parse_condition(step.when, f"{path}.when")):
                yield f"{path}.when", asked
        if step.for_each is not None:
            place = f"{path}.for_each"
            for where, reference in references(step.for_each.over, place):
                require(not isinstance(reference, ItemRef), where, "the list cannot come from its own items")
                yield where, reference

    def _check(self, reference: Reference, place: str, step: StepDefinition | None) -> None:
        if isinstance(reference, InputRef):
            self.inputs[reference.path[0]] = None
            return
        if isinstance(reference, ItemRef):
            fits = step is not None and step.for_each is not None
            require(fits, place, "item and index are there only in a step with for_each")
            return
        self._exists(reference.step_id, place)
        if step is not None:
            own = reference.step_id == step.step_id
            require(not own, place, "a step cannot read its own output", mend="read the output of another step")
        producer = self._by_id[reference.step_id]
        offered = self._offered(producer)
        require(
            offered is None or reference.path[0] in offered,
            place,
            f"step {producer.step_id!r} ({producer.task_type}) gives no {reference.path[0]!r}",
            mend=f"it gives: {', '.join(dict.fromkeys(offered or ()))}",
        )

    def _offered(self, producer: StepDefinition) -> tuple[str, ...] | None:
        """The names that others may read; ``None`` where only the run will tell."""
        failure = () if producer.on_failure is None else ("error",)
        if producer.task_type == WORKFLOW and producer.for_each is None:
            return None
        if producer.task_type in GIVEN:
            return (*GIVEN[producer.task_type], *producer.output_mapping, *failure)
        if producer.for_each is not None:
            return (*GATHERED, *producer.output_mapping, *failure)
        return ("result", *producer.output_mapping, *self._task_types[producer.task_type].outputs, *failure)

    def _known(self, name: str, path: str, step_id: str) -> None:
        self._exists(name, path)
        require(name != step_id, path, "a step cannot wait for itself", mend="name another step, or none")

    def _exists(self, name: str, path: str) -> None:
        known = ", ".join(list(self._by_id)[:20])
        require(name in self._by_id, path, f"there is no step {name!r}", mend=f"the steps are: {known}")


def _refuse_cycle(steps: list[StepDefinition]) -> None:
    waiting = {step.step_id: set(step.dependencies) for step in steps}
    while free := [name for name, needs in waiting.items() if not needs & waiting.keys()]:
        for name in free:
            del waiting[name]
    if waiting:
        start = next(iter(waiting))
        path, current = [start], start
        while True:
            current = next(name for name in waiting[current] if name in waiting)
            if current in path:
                circle = [*path[path.index(current) :], current]
                raise DefinitionInvalid(
                    f"steps wait for each other in a circle: {' → '.join(circle)}",
                    mend="remove one of these dependencies",
                    param="steps",
                )
            path.append(current)
