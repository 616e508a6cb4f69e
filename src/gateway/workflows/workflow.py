"""Workflows written in Python: what is made is the same definition that YAML and JSON give.

    workflow = Workflow("quick_look", input=Asked)
    prepare = workflow.step("prepare", "data_preprocessing", {"data": workflow.input.market_data})
    workflow.step("classify", "risk_classification", {"features": prepare.processed_data}, retry={"max_attempts": 2})
    workflow.step("sign_off", approval={"message": "Publish it?", "not_owner": True}, after=["classify"])

A name that leads nowhere is an error where it is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, Unpack

from pydantic import BaseModel

from gateway.engine.definition import GATHERED, GIVEN, WorkflowDefinition, parse_definition
from gateway.engine.step_definition import CONTROL, WORKFLOW
from gateway.engine.task_types import TaskTypeSpec, index
from gateway.errors import DefinitionInvalid
from gateway.workflows.built_in_task_types import BUILT_IN
from gateway.workflows.reference import Reference, Step
from gateway.workflows.step_fields import StepFields
from gateway.workflows.task_types import known_task_types
from gateway.workflows.typed_task import TaskType

_STEP_FIELDS = tuple(StepFields.__annotations__)


class Workflow:
    """A workflow that is being written. ``input`` is a Pydantic model of what a run takes, and its JSON schema
    is what a run's input is checked against; without it any field may be referred to. ``on_unknown_outcome``
    counts for steps that do not say it themselves."""

    def __init__(
        self,
        workflow_id: str,
        *,
        name: str = "",
        description: str = "",
        input: type[BaseModel] | None = None,
        on_unknown_outcome: Literal["retry", "fail", "ask"] | None = None,
    ) -> None:
        self.workflow_id = workflow_id
        self.name = name or workflow_id
        self.description = description
        self.on_unknown_outcome = on_unknown_outcome
        self.input = Reference("input", input)
        self._input = input
        self._steps: dict[str, dict[str, Any]] = {}
        self._specs: dict[str, TaskTypeSpec] = {}
        self._within: dict[str, Workflow] = {}
        self._output: dict[str, Any] = {}

    def step(
        self,
        step_id: str,
        task_type: str | TaskType[Any, Any] | None = None,
        inputs: Mapping[str, Any] | None = None,
        *,
        after: Iterable[Step | str] = (),
        publish: Mapping[str, str] | None = None,
        model: str | Mapping[str, Any] | None = None,
        **fields: Unpack[StepFields],
    ) -> Step:
        """Adds a step. ``inputs`` are references or plain values, also nested; ``after`` names steps to wait
        for whose output is not read; ``publish`` gives fields names of their own; ``model`` is a name or a
        whole ``model_config``. Every other field of a definition is given by its name: ``retry``, ``timeout``,
        ``when``, ``for_each``, … (``StepFields``). A step without a task type waits for an ``approval`` or a
        ``signal``, or runs a ``workflow``."""
        if step_id in self._steps:
            raise DefinitionInvalid(f"the step id {step_id!r} is used twice", param=step_id)
        for field in fields.keys() - set(_STEP_FIELDS):
            raise DefinitionInvalid(
                f"step {step_id!r}: there is no field {field!r}",
                mend=f"there are: {', '.join(_STEP_FIELDS)}",
                param=field,
            )
        row: dict[str, Any] = {"step_id": step_id}
        spec = None
        if isinstance(task_type, TaskType):
            spec = self._specs[task_type.spec.name] = task_type.spec
            row["task_type"] = spec.name
        elif task_type is not None:
            spec = index(BUILT_IN).get(task_type)
            row["task_type"] = task_type
        if inputs:
            row["input_mapping"] = {key: self._mapped(value, spec, key, step_id) for key, value in inputs.items()}
        if publish:
            row["output_mapping"] = dict(publish)
        waits = [item._step_id if isinstance(item, Step) else item for item in after]
        if waits:
            row["dependencies"] = waits
        if model is not None:
            row["model_config"] = {"name": model} if isinstance(model, str) else dict(model)
        within = fields.get("workflow")
        if isinstance(within, Workflow):
            self._within[within.workflow_id] = within
        row |= {key: _field(key, value) for key, value in fields.items() if value is not None}
        self._steps[step_id] = row
        shape = task_type.output if isinstance(task_type, TaskType) and "for_each" not in row else None
        return Step(step_id, _known(row, spec), shape)

    def output(self, **shape: Any) -> None:
        """What a run gives: names of your own, each a reference or a value."""
        self._output |= {key: _mapping(value) for key, value in shape.items()}

    def definition(self) -> dict[str, Any]:
        """The definition as YAML or ``POST /workflows`` has it."""
        made: dict[str, Any] = {"workflow_id": self.workflow_id, "name": self.name}
        if self.description:
            made["description"] = self.description
        if self.on_unknown_outcome is not None:
            made["on_unknown_outcome"] = self.on_unknown_outcome
        if self._input is not None:
            made["input_schema"] = self._input.model_json_schema()
        made["steps"] = [dict(row) for row in self._steps.values()]
        if self._output:
            made["output"] = dict(self._output)
        return made

    def check(self, task_types: Mapping[str, TaskTypeSpec] | None = None) -> WorkflowDefinition:
        """The checked definition, or ``DefinitionInvalid`` with the place. The task types that its steps were
        given as objects need not be installed."""
        return parse_definition(self.definition(), {**(task_types or known_task_types()), **self._specs})

    @property
    def task_types(self) -> dict[str, TaskTypeSpec]:
        """The task types that its steps were given as objects."""
        return dict(self._specs)

    @property
    def workflows(self) -> list[Workflow]:
        """The workflows that its steps were given as objects."""
        return list(self._within.values())

    def _mapped(self, value: Any, spec: TaskTypeSpec | None, key: str, step_id: str) -> Any:
        if spec is not None and key not in spec.inputs:
            raise DefinitionInvalid(
                f"step {step_id!r}: {spec.name} takes no {key!r}", mend=f"it takes: {', '.join(spec.inputs)}", param=key
            )
        return _mapping(value)


def _known(row: Mapping[str, Any], spec: TaskTypeSpec | None) -> tuple[str, ...] | None:
    """The names that others may read of a step; ``None`` where only its definition will tell."""
    more = ("error", *row.get("output_mapping", ()))
    if "for_each" in row:
        return (*GATHERED, *more)
    if "task_type" in row:
        return None if spec is None else ("result", *spec.outputs, *more)
    kinds = [kind for kind in CONTROL if kind in row]
    return (*GIVEN[kinds[0]], *more) if len(kinds) == 1 and kinds[0] != WORKFLOW else None


def _field(name: str, value: Any) -> Any:
    """A field of a step as the definition has it."""
    if isinstance(value, Workflow):
        return value.workflow_id
    if name != "for_each":
        return _written(value)
    if isinstance(value, Mapping):
        return {key: _list(inner) if key == "in" else _written(inner) for key, inner in value.items()}
    return {"in": _list(value)} if isinstance(value, (list, tuple)) else _list(value)


def _list(value: Any) -> Any:
    """What a step is done for: a reference, or a list of values and references."""
    return _mapping(value) if isinstance(value, (list, tuple, Reference)) else _written(value)


def _mapping(value: Any) -> Any:
    """A mapping value: references as text, whatever holds none as a literal."""
    if isinstance(value, Reference):
        return f"{value}.result" if isinstance(value, Step) else str(value)
    if not _refers(value):
        return {"value": value}
    if isinstance(value, Mapping):
        return {str(key): _mapping(inner) for key, inner in value.items()}
    return [_mapping(inner) for inner in value]


def _refers(value: Any) -> bool:
    if isinstance(value, Reference):
        return True
    if isinstance(value, Mapping):
        return any(_refers(inner) for inner in value.values())
    return isinstance(value, (list, tuple)) and any(_refers(inner) for inner in value)


def _written(value: Any) -> Any:
    """A field of a step: references as text, steps in lists by their ids, the rest as it is."""
    if isinstance(value, Step):
        return value._step_id
    if isinstance(value, Reference):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _written(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_written(inner) for inner in value]
    return value
