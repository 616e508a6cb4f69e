"""Workflow definitions: read strictly, checked whole, and named by the hash of what they say.

A definition that passes ``parse_definition`` can run: every step and task type exists, every
reference leads to something its producer gives, nothing waits in a circle. Each error names its
place, such as ``steps[2].input_mapping.data``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct, field

from gateway.engine.mapping import InputRef, StepRef, references
from gateway.engine.task_types import TaskTypeSpec, find
from gateway.errors import DefinitionInvalid, UnknownTaskType, ValidationFailed
from gateway.models.selection import read_selection

_NAME = re.compile(r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$")
MAX_STEPS = 200
#: Step fields that are designed but not built: refused by name, never ignored.
_LATER = frozenset({"when", "for_each", "cache", "budget", "approval", "workflow", "on_failure"})
_STEP_FIELDS = frozenset(
    {"step_id", "task_type", "input_mapping", "output_mapping", "dependencies", "model_config", "retry", "timeout"}
    | {"name", "description"}
)
_CONFIG_FIELDS = frozenset({"name", "provider", "parameters", "version", "alias", "selection", "batch"})
_FIELDS = frozenset({"workflow_id", "name", "description", "steps", "output"})


class RetryPolicy(Struct, frozen=True):
    """How a step is tried again: ``backoff`` seconds, doubled each time, with jitter. ``on`` names
    error codes beside those that are retryable by themselves."""

    max_attempts: int = 3
    backoff: float = 1.0
    on: tuple[str, ...] = ()


class StepDefinition(Struct, frozen=True):
    """One step; ``dependencies`` holds the named ones and those that references imply."""

    step_id: str
    task_type: str
    input_mapping: dict[str, Any] = field(default_factory=dict)
    output_mapping: dict[str, str] = field(default_factory=dict)
    dependencies: tuple[str, ...] = ()
    llm_config: dict[str, Any] | None = field(default=None, name="model_config")
    retry: RetryPolicy = RetryPolicy()
    timeout: float | None = None


class WorkflowDefinition(Struct, frozen=True):
    """A checked definition. ``inputs`` are the fields of the run's input that it refers to."""

    workflow_id: str
    name: str
    steps: tuple[StepDefinition, ...]
    inputs: tuple[str, ...] = ()
    description: str = ""

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
    _require(isinstance(raw, dict), "", "a definition is an object with workflow_id, name and steps")
    _refuse_unknown(raw, _FIELDS, "")
    workflow_id = _name(raw.get("workflow_id"), "workflow_id")
    name = raw.get("name", workflow_id)
    _require(isinstance(name, str) and 0 < len(name) <= 200, "name", "a text of 1 to 200 characters")
    _require("output" not in raw, "output", "shaping the output is not built yet; leave it out")
    raw_steps = raw.get("steps")
    _require(isinstance(raw_steps, list) and bool(raw_steps), "steps", "a list of at least one step")
    _require(len(raw_steps) <= MAX_STEPS, "steps", f"at most {MAX_STEPS} steps")
    steps = [_step(item, f"steps[{at}]", task_types, known_model) for at, item in enumerate(raw_steps)]
    by_id: dict[str, int] = {}
    for at, step in enumerate(steps):
        _require(step.step_id not in by_id, f"steps[{at}].step_id", f"the id {step.step_id!r} is used twice")
        by_id[step.step_id] = at
    inputs: dict[str, None] = {}
    linked = [_link(step, at, steps, by_id, task_types, inputs) for at, step in enumerate(steps)]
    _refuse_cycle(linked)
    return WorkflowDefinition(
        workflow_id=workflow_id,
        name=name,
        steps=tuple(linked),
        inputs=tuple(inputs),
        description=str(raw.get("description", "")),
    )


def _step(
    raw: Any, path: str, task_types: Mapping[str, TaskTypeSpec], known_model: Callable[[str], bool]
) -> StepDefinition:
    _require(isinstance(raw, dict), path, "a step is an object with step_id and task_type")
    for later in sorted(_LATER & raw.keys()):
        raise DefinitionInvalid(
            f"{path}.{later}: this is not built yet", mend=f"leave {later!r} out", param=f"{path}.{later}"
        )
    _refuse_unknown(raw, _STEP_FIELDS, path)
    step_id = _name(raw.get("step_id"), f"{path}.step_id")
    task_type = raw.get("task_type")
    _require(isinstance(task_type, str), f"{path}.task_type", "the name of a task type")
    try:
        spec = find(task_types, task_type, f"{path}.task_type")
    except UnknownTaskType as error:
        raise DefinitionInvalid(
            f"{path}.task_type: {error.message}", mend=error.mend, param=error.param, **error.details
        ) from None
    mapping = raw.get("input_mapping", {})
    _require(isinstance(mapping, dict), f"{path}.input_mapping", "an object of field: reference")
    for key in mapping:
        _require(
            key in spec.inputs,
            f"{path}.input_mapping.{key}",
            f"{task_type} takes no such input; it takes: {', '.join(spec.inputs)}",
        )
    for needed in spec.required:
        _require(needed in mapping, f"{path}.input_mapping", f"{task_type} needs the input {needed!r}")
    published = raw.get("output_mapping", {})
    _require(
        isinstance(published, dict) and all(isinstance(value, str) for value in published.values()),
        f"{path}.output_mapping",
        "an object of published name: produced name",
    )
    for produced in published.values():
        _require(
            produced in (*spec.outputs, "result"),
            f"{path}.output_mapping",
            f"{task_type} produces no {produced!r}; it produces: {', '.join(spec.outputs)}",
        )
    dependencies = raw.get("dependencies", [])
    _require(
        isinstance(dependencies, list) and all(isinstance(item, str) for item in dependencies),
        f"{path}.dependencies",
        "a list of step ids",
    )
    config = raw.get("model_config")
    if config is not None:
        check_model_config(config, f"{path}.model_config", spec, known_model)
    return StepDefinition(
        step_id=step_id,
        task_type=task_type,
        input_mapping=mapping,
        output_mapping=published,
        dependencies=tuple(dependencies),
        llm_config=config,
        retry=_retry(raw.get("retry"), f"{path}.retry"),
        timeout=timeout_seconds(raw.get("timeout"), f"{path}.timeout"),
    )


def check_model_config(
    config: Any, path: str, spec: TaskTypeSpec, known_model: Callable[[str], bool]
) -> dict[str, Any]:
    """``{name, provider?, parameters?, version?, alias?, selection?, batch?}``; an address or key in it is refused."""
    _require(isinstance(config, dict), path, 'an object such as {"name": "gpt-4"}')
    _refuse_unknown(config, _CONFIG_FIELDS, path)
    name = config.get("name")
    _require(isinstance(name, str) and bool(name), f"{path}.name", "the name of a model")
    _require(spec.model_kind is not None, path, f"{spec.name} uses no model")
    _require(known_model(name), f"{path}.name", "no such model; GET /models lists them")
    parameters = config.get("parameters", {})
    _require(isinstance(parameters, dict), f"{path}.parameters", "an object")
    if "selection" in config:
        _require(spec.model_kind == "llm", f"{path}.selection", "only language models are chosen")
        try:
            read_selection(config["selection"], f"{path}.selection")
        except ValidationFailed as error:
            raise DefinitionInvalid(error.message, mend=error.mend, param=error.param) from None
    if "batch" in config:
        _require(spec.model_kind == "llm", f"{path}.batch", "only language models have batch APIs")
        _require(config["batch"] in (True, False, "provider"), f"{path}.batch", 'true, false or "provider"')
    checked: dict[str, Any] = config
    return checked


def timeout_seconds(value: Any, path: str) -> float | None:
    """A timeout in seconds, up to a day."""
    if value is None:
        return None
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= 86_400
    _require(good, path, "seconds: more than 0, at most 86400")
    return float(value)


def _retry(raw: Any, path: str) -> RetryPolicy:
    if raw is None:
        return RetryPolicy()
    _require(isinstance(raw, dict), path, "an object with max_attempts, backoff, on")
    _refuse_unknown(raw, frozenset({"max_attempts", "backoff", "on"}), path)
    attempts, backoff, on = raw.get("max_attempts", 3), raw.get("backoff", 1.0), raw.get("on", [])
    whole = isinstance(attempts, int) and not isinstance(attempts, bool)
    _require(whole and 1 <= attempts <= 20, f"{path}.max_attempts", "a whole number from 1 to 20")
    number = isinstance(backoff, (int, float)) and not isinstance(backoff, bool)
    _require(number and 0 <= backoff <= 3600, f"{path}.backoff", "seconds from 0 to 3600")
    _require(isinstance(on, list) and all(isinstance(item, str) for item in on), f"{path}.on", "a list of error codes")
    return RetryPolicy(attempts, float(backoff), tuple(on))


def _link(
    step: StepDefinition,
    at: int,
    steps: list[StepDefinition],
    by_id: Mapping[str, int],
    task_types: Mapping[str, TaskTypeSpec],
    inputs: dict[str, None],
) -> StepDefinition:
    """The step with the dependencies that its references imply; every reference is followed."""
    dependencies = dict.fromkeys(step.dependencies)
    for at_dependency, name in enumerate(step.dependencies):
        path = f"steps[{at}].dependencies[{at_dependency}]"
        _require(name in by_id, path, f"there is no step {name!r}")
        _require(name != step.step_id, path, "a step cannot wait for itself")
    for place, reference in references(step.input_mapping, f"steps[{at}].input_mapping"):
        if isinstance(reference, InputRef):
            inputs[reference.path[0]] = None
            continue
        _check_reference(reference, place, step, steps, by_id, task_types)
        dependencies[reference.step_id] = None
    return msgspec.structs.replace(step, dependencies=tuple(dependencies))


def _check_reference(
    reference: StepRef,
    place: str,
    step: StepDefinition,
    steps: list[StepDefinition],
    by_id: Mapping[str, int],
    task_types: Mapping[str, TaskTypeSpec],
) -> None:
    _require(reference.step_id in by_id, place, f"there is no step {reference.step_id!r}")
    _require(reference.step_id != step.step_id, place, "a step cannot read its own output")
    producer = steps[by_id[reference.step_id]]
    offered = ("result", *producer.output_mapping, *task_types[producer.task_type].outputs)
    _require(
        reference.path[0] in offered,
        place,
        f"step {producer.step_id!r} ({producer.task_type}) gives no {reference.path[0]!r}; "
        f"it gives: {', '.join(dict.fromkeys(offered))}",
    )


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


def _name(value: Any, path: str) -> str:
    _require(
        isinstance(value, str) and _NAME.match(value) is not None,
        path,
        "a name of letters, digits, '_', '-' and '.', beginning with a letter, at most 64 characters",
    )
    return str(value)


def _refuse_unknown(raw: Mapping[str, Any], known: frozenset[str], path: str) -> None:
    for key in raw:
        place = f"{path}.{key}" if path else str(key)
        _require(key in known, place[:200], f"no such field; the fields here are: {', '.join(sorted(known))}")


def _require(condition: bool, path: str, expected: str) -> None:
    if not condition:
        raise DefinitionInvalid(
            f"{path}: {expected}" if path else expected, param=path or None, mend=f"expected: {expected}"
        )
