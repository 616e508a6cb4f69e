"""A run that is begun as a step of another run, and which version of which workflow it may run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.engine.definition import WorkflowDefinition
from gateway.engine.rows import KeyedLimit, NewRun, NewStep, RunRow, StepRow
from gateway.engine.step_definition import StepDefinition
from gateway.errors import DefinitionInvalid
from gateway.ids import new_id
from gateway.models.run_budget import bounds_of_run, bounds_of_step
from gateway.models.tags import handed_down

#: Workflows within workflows.
DEEPEST = 8


def pins_of(
    definition: WorkflowDefinition, newest: Callable[[str], tuple[WorkflowDefinition, str] | None]
) -> dict[str, str]:
    """The newest version (hash) of every workflow that a run of this one may come to run, by workflow id.
    ``DefinitionInvalid`` for one that is not there, and for a workflow within itself."""
    pins: dict[str, str] = {}
    _follow(definition, (definition.workflow_id,), newest, pins)
    return pins


def limits_of(step: StepDefinition, named: dict[str, str]) -> tuple[KeyedLimit, ...]:
    """The step's limits with their keys made out: ``named`` says what ``model``, ``tenant`` and so on are here. A
    limit by what the step has not (a model, say) binds it not."""
    found = []
    for limit in step.limits:
        value = named.get(limit.key)
        if value is None and limit.key in ("model", "provider", "tenant", "owner", "workflow"):
            continue
        key = f"name:{limit.key}" if value is None else f"{limit.key}:{value}"
        found.append(KeyedLimit(key, limit.concurrency, limit.rate, int(limit.per * 1_000_000)))
    return tuple({one.key: one for one in found}.values())


def names_for(
    step: StepDefinition, *, tenant: str, owner: str, workflow_id: str, provider: str | None
) -> dict[str, str]:
    """What the keys of limits stand for, for ``limits_of``."""
    named = {"tenant": tenant, "owner": owner, "workflow": workflow_id}
    model = (step.llm_config or {}).get("name")
    if model is not None:
        named["model"] = str(model)
    if provider is not None:
        named["provider"] = provider
    return named


def child_of(run: RunRow, step: StepRow, definition: WorkflowDefinition, version: str, data: dict[str, Any]) -> NewRun:
    """The run that is done as ``step`` of ``run``."""
    caller, new = run.caller, []
    for spec in definition.steps:
        provider = (spec.llm_config or {}).get("provider")
        named = names_for(
            spec, tenant=caller.tenant, owner=run.owner, workflow_id=definition.workflow_id, provider=provider
        )
        new.append(NewStep(new_id("task"), spec, spec.queue, limits=limits_of(spec, named)))
    return NewRun(
        run_id=new_id("run"),
        kind="workflow",
        workflow_id=definition.workflow_id,
        definition_hash=version,
        input=data,
        caller=caller,
        request_id=run.request_id,
        steps=tuple(new),
        priority=step.priority,
        metadata=handed_down(run.metadata),
        config_epoch=run.config_epoch,
        output_mapping=definition.output,
        not_before=step.not_before,
        origin={"how": "step", "run_id": run.run_id, "step_id": step.step_id},
        parent_run=run.run_id,
        parent_task=step.task_id,
        pins=run.pins,
        bounds=(
            *run.bounds,
            *bounds_of_run(run.run_id, run.metadata),
            *bounds_of_step(run.run_id, step.spec.step_id, step.spec.budget),
        ),
    )


def _follow(
    definition: WorkflowDefinition,
    path: tuple[str, ...],
    newest: Callable[[str], tuple[WorkflowDefinition, str] | None],
    pins: dict[str, str],
) -> None:
    for at, step in enumerate(definition.steps):
        if step.workflow is None:
            continue
        place = f"steps[{at}].workflow"
        circle = " → ".join([*path, step.workflow])
        if step.workflow in path:
            raise DefinitionInvalid(f"{place}: workflows within each other: {circle}", param=place)
        if len(path) > DEEPEST:
            raise DefinitionInvalid(
                f"{place}: workflows lie within each other at most {DEEPEST} deep: {circle}", param=place
            )
        found = newest(step.workflow)
        if found is None:
            raise DefinitionInvalid(
                f"{place}: there is no workflow {step.workflow!r} (step {step.step_id!r})",
                mend="define it first; GET /workflows lists them",
                param=place,
                step=step.step_id,
            )
        pins[step.workflow] = found[1]
        _follow(found[0], (*path, step.workflow), newest, pins)
