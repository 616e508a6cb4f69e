"""Workflows written in Python: what is made is the same definition that YAML and JSON give.

    workflow = Workflow("quick_look", input=Asked)
    prepare = workflow.step("prepare", "data_preprocessing", {"data": workflow.input.market_data})
    workflow.step("classify", "risk_classification", {"features": prepare.processed_data}, retry={"max_attempts": 2})

A name that leads nowhere is an error where it is written.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from gateway.engine.definition import WorkflowDefinition, parse_definition
from gateway.engine.task_types import TaskTypeSpec, index
from gateway.errors import DefinitionInvalid
from gateway.workflows.task_types import BUILT_IN, known_task_types
from gateway.workflows.typed_task import TaskType

#: Step fields that change what a step gives to others: its fields are looked at only when it is defined.
_RESHAPING = frozenset({"for_each", "approval", "signal", "workflow"})


class Reference:
    """A place in the run's input, in what a step gave, or in an item; deeper by attribute or by ``[…]``.
    Its text is what stands in the definition."""

    __slots__ = ("_fields", "_shape", "_text")

    def __init__(self, text: str, shape: Any = None, fields: tuple[str, ...] | None = None) -> None:
        self._text = text
        self._shape = shape
        self._fields = fields

    def __getattr__(self, name: str) -> Reference:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name: str | int) -> Reference:
        known, shape = self._fields, self._shape
        if inspect.isclass(shape) and issubclass(shape, BaseModel):
            known = tuple(field.alias or key for key, field in shape.model_fields.items())
        if known is not None and name not in known:
            raise DefinitionInvalid(
                f"{self._text} has no {str(name)!r}", mend=f"it has: {', '.join(known)}", param=self._text
            )
        return Reference(f"{self._text}.{name}", _inner(shape, name))

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"<{self._text}>"

    def __bool__(self) -> bool:
        raise TypeError(f"{self._text} has no value while the workflow is written; conditions stand in when=…")

    def __iter__(self) -> Iterator[Any]:
        raise TypeError(f"{self._text} has no items while the workflow is written; use for_each=…")


class Step(Reference):
    """A step that was added; its fields are what it gives. As a value it stands for all of that."""

    __slots__ = ("_step_id",)

    def __init__(self, step_id: str, fields: tuple[str, ...] | None, shape: Any) -> None:
        super().__init__(f"step.{step_id}", None, fields)
        self._step_id = step_id
        self._shape = shape

    def __getitem__(self, name: str | int) -> Reference:
        if self._fields is not None and name not in self._fields:
            raise DefinitionInvalid(
                f"{self._text} gives no {str(name)!r}", mend=f"it gives: {', '.join(self._fields)}", param=self._text
            )
        return Reference(f"{self._text}.{name}", self._shape if name == "result" else _inner(self._shape, name))


#: In a step with ``for_each``: the item that is being done, and its number from 0.
each = Reference("item")
each_index = Reference("index")


class Workflow:
    """A workflow that is being written. ``input`` is a Pydantic model of what a run takes; without it any
    field may be referred to."""

    def __init__(
        self, workflow_id: str, *, name: str = "", description: str = "", input: type[BaseModel] | None = None
    ) -> None:
        self.workflow_id = workflow_id
        self.name = name or workflow_id
        self.description = description
        self.input = Reference("input", input)
        self._steps: dict[str, dict[str, Any]] = {}
        self._specs: dict[str, TaskTypeSpec] = {}
        self._output: dict[str, Any] = {}

    def step(
        self,
        step_id: str,
        task_type: str | TaskType[Any, Any],
        inputs: Mapping[str, Any] | None = None,
        *,
        after: Iterable[Step | str] = (),
        publish: Mapping[str, str] | None = None,
        model: str | Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> Step:
        """Adds a step. ``inputs`` are references or plain values, also nested; ``after`` names steps to wait
        for whose output is not read; ``publish`` gives fields names of their own; ``model`` is a name or a
        whole ``model_config``. Every other field of a definition is given by its name: ``retry``,
        ``timeout``, ``when``, ``for_each``, …"""
        if step_id in self._steps:
            raise DefinitionInvalid(f"the step id {step_id!r} is used twice", param=step_id)
        name = task_type if isinstance(task_type, str) else task_type.spec.name
        spec = index(BUILT_IN).get(name) if isinstance(task_type, str) else task_type.spec
        if not isinstance(task_type, str):
            self._specs[name] = task_type.spec
        row: dict[str, Any] = {"step_id": step_id, "task_type": name}
        if inputs:
            row["input_mapping"] = {key: self._mapped(value, spec, key, step_id) for key, value in inputs.items()}
        if publish:
            row["output_mapping"] = dict(publish)
        waits = [item._step_id if isinstance(item, Step) else item for item in after]
        if waits:
            row["dependencies"] = waits
        if model is not None:
            row["model_config"] = {"name": model} if isinstance(model, str) else dict(model)
        self._steps[step_id] = row | {key: _written(value) for key, value in fields.items() if value is not None}
        known = (
            None if spec is None or _RESHAPING & fields.keys() else ("result", "error", *spec.outputs, *(publish or {}))
        )
        return Step(step_id, known, task_type.output if isinstance(task_type, TaskType) else None)

    def output(self, **shape: Any) -> None:
        """What a run gives: names of your own, each a reference or a value."""
        self._output |= {key: _mapping(value) for key, value in shape.items()}

    def definition(self) -> dict[str, Any]:
        """The definition as YAML or ``POST /workflows`` has it."""
        made: dict[str, Any] = {"workflow_id": self.workflow_id, "name": self.name}
        if self.description:
            made["description"] = self.description
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

    def _mapped(self, value: Any, spec: TaskTypeSpec | None, key: str, step_id: str) -> Any:
        if spec is not None and key not in spec.inputs:
            raise DefinitionInvalid(
                f"step {step_id!r}: {spec.name} takes no {key!r}", mend=f"it takes: {', '.join(spec.inputs)}", param=key
            )
        return _mapping(value)


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


def _inner(shape: Any, name: str | int) -> Any:
    """The type of a field, or of a list's item, where it is known."""
    if inspect.isclass(shape) and issubclass(shape, BaseModel):
        by_name = {field.alias or key: field for key, field in shape.model_fields.items()}
        return _bare(by_name[str(name)].annotation) if str(name) in by_name else None
    if get_origin(shape) in (list, tuple, Sequence) and str(name).isdigit():
        return _bare(get_args(shape)[0])
    return None


def _bare(annotation: Any) -> Any:
    """The type without its ``| None``."""
    if get_origin(annotation) in (Union, UnionType):
        inner = [item for item in get_args(annotation) if item is not type(None)]
        return inner[0] if len(inner) == 1 else None
    return annotation
