"""A run begun from another: which steps are done again, and which results are taken over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from gateway.engine.conditions import condition_references, parse_condition
from gateway.engine.mapping import InputRef, Reference, references
from gateway.engine.rows import NewStep, Reused, StepRow
from gateway.engine.step_definition import StepDefinition
from gateway.errors import ValidationFailed
from gateway.ids import new_id


def begun_again(
    steps: list[StepRow],
    *,
    from_steps: Iterable[str] = (),
    changed_inputs: Iterable[str] = (),
    configs: Mapping[str, dict[str, Any]] | None = None,
) -> tuple[NewStep, ...]:
    """The steps of the new run. Done again: what did not complete, what was undone, ``from_steps``, what has
    another model in ``configs`` or reads a changed input, and everything that comes after any of them; without
    any of these, and a run that completed, everything. Each step keeps the definition the old run began with."""
    configs = configs or {}
    by_id = {step.step_id: step for step in steps}
    for name in (*from_steps, *configs):
        if name not in by_id:
            known = ", ".join(by_id)
            raise ValidationFailed(f"the run has no step {name!r}", mend=f"its steps: {known}", param="from_step")
    redo = _to_redo(steps, set(from_steps) | set(configs), set(changed_inputs))
    if not redo:
        redo = set(by_id)
    new = []
    for step in steps:
        spec = step.spec
        if step.step_id in configs:
            spec = msgspec.structs.replace(spec, llm_config=configs[step.step_id])
        kept = None
        if step.step_id not in redo and step.role == "step":
            kept = Reused(step.task_id, step.output or {}, step.published or {})
        new.append(NewStep(new_id("task"), spec, step.queue, kept))
    return tuple(new)


def _to_redo(steps: list[StepRow], named: set[str], changed: set[str]) -> set[str]:
    undone = {step.spec.undoes for step in steps if step.role == "undo" and step.state == "completed"}
    redo = {
        step.step_id
        for step in steps
        if step.role == "step"
        and (
            step.state != "completed"
            or step.step_id in named | undone
            or any(name in changed for name in _inputs_of(step.spec))
        )
    }
    while True:
        after = {step.step_id for step in steps if step.role == "step" and redo & set(step.spec.dependencies)}
        if after <= redo:
            return redo
        redo |= after


def _inputs_of(spec: StepDefinition) -> set[str]:
    """The fields of the run's input that a step reads."""
    found: list[Reference] = [one for _, one in references(spec.input_mapping, "input_mapping")]
    if spec.when is not None:
        found += condition_references(parse_condition(spec.when, "when"))
    if spec.for_each is not None:
        found += [one for _, one in references(spec.for_each.over, "for_each")]
    return {one.path[0] for one in found if isinstance(one, InputRef)}
