"""A run that is begun as a step of another run, and which version of which workflow it may run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec import Struct

from gateway.engine.definition import WorkflowDefinition
from gateway.engine.rows import KeyedLimit, NewRun, NewStep, RunRow, StepRow
from gateway.engine.step_definition import StepDefinition
from gateway.errors import DefinitionInvalid
from gateway.ids import new_id
from gateway.models.run_budget import bounds_of_run, bounds_of_step
from gateway.models.tags import handed_down

#: Workflows within workflows.
DEEPEST = 8
#: Runs within a run that its definition names; those of a list are one, for they begin a few at a time.
MOST_WITHIN = 1000


def pins_of(
    definition: WorkflowDefinition, newest: Callable[[str], tuple[WorkflowDefinition, str] | None]
) -> dict[str, str]:
    """The newest version (hash) of every workflow that a run of this one may come to run, by workflow id.
    ``DefinitionInvalid`` for one that is not there, for a workflow within itself, and for too many of them."""
    tree = _Tree(newest)
    within = tree.follow(definition, (definition.workflow_id,)).runs
    if within > MOST_WITHIN:
        raise DefinitionInvalid(
            f"steps: a run of it would be {within:,} runs within each other, at most {MOST_WITHIN:,} are begun",
            mend="name fewer workflows in its steps, or do one for each item of a list",
            param="steps",
        )
    return tree.pins


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


def served_by(
    steps: Iterable[StepDefinition], default_model: Callable[[str], str | None], provider: Callable[[str], str | None]
) -> dict[str, str]:
    """What pins say, beside workflows, of the models that limits of these steps count by: the default model of a task
    type as ``model:TASK_TYPE``, the provider of a model as ``provider:MODEL``. Ids of workflows have no colon."""
    pins = {}
    for step in steps:
        if not any(limit.key in ("model", "provider") for limit in step.limits):
            continue
        name = (step.llm_config or {}).get("name")
        if name is None and (name := default_model(step.task_type)) is not None:
            pins[f"model:{step.task_type}"] = name
        if name is not None and (served := provider(str(name))) is not None:
            pins[f"provider:{name}"] = served
    return pins


def workflows_pinned(pins: Mapping[str, str] | None) -> dict[str, str]:
    """Of a run's pins those of the workflows within it: their versions by their ids."""
    return {name: version for name, version in (pins or {}).items() if ":" not in name}


def names_for(
    step: StepDefinition, pins: Mapping[str, str], *, tenant: str, owner: str, workflow_id: str
) -> dict[str, str]:
    """What the keys of limits stand for, for ``limits_of``."""
    config = step.llm_config or {}
    model = config.get("name") or pins.get(f"model:{step.task_type}")
    provider = pins.get(f"provider:{model}") or config.get("provider")
    named = {"tenant": tenant, "owner": owner, "workflow": workflow_id, "model": model, "provider": provider}
    return {key: str(value) for key, value in named.items() if value is not None}


def child_of(run: RunRow, step: StepRow, definition: WorkflowDefinition, version: str, data: dict[str, Any]) -> NewRun:
    """The run that is done as ``step`` of ``run``."""
    caller, new = run.caller, []
    for spec in definition.steps:
        named = names_for(
            spec, run.pins or {}, tenant=caller.tenant, owner=run.owner, workflow_id=definition.workflow_id
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


class _Below(Struct, frozen=True):
    """What lies below a workflow: how many levels, and how many runs (of a list one)."""

    levels: int = 0
    runs: int = 0


class _Tree:
    """Follows workflows within workflows, each once, however often it is named."""

    def __init__(self, newest: Callable[[str], tuple[WorkflowDefinition, str] | None]) -> None:
        self._newest = newest
        self._known: dict[str, _Below] = {}
        self.pins: dict[str, str] = {}

    def follow(self, definition: WorkflowDefinition, path: tuple[str, ...]) -> _Below:
        """What lies below it; ``path`` leads to it, itself included."""
        below = _Below()
        for at, step in enumerate(definition.steps):
            if step.workflow is None:
                continue
            place = f"steps[{at}].workflow"
            circle = " → ".join([*path, step.workflow])
            if step.workflow in path:
                raise DefinitionInvalid(f"{place}: workflows within each other: {circle}", param=place)
            inner = self._known.get(step.workflow)
            if len(path) + (0 if inner is None else inner.levels) > DEEPEST:
                raise DefinitionInvalid(
                    f"{place}: workflows lie within each other at most {DEEPEST} deep: {circle}", param=place
                )
            if inner is None:
                inner = self._look(step, place, path)
            below = _Below(max(below.levels, 1 + inner.levels), below.runs + 1 + inner.runs)
        return below

    def _look(self, step: StepDefinition, place: str, path: tuple[str, ...]) -> _Below:
        name = step.workflow or ""
        found = self._newest(name)
        if found is None:
            raise DefinitionInvalid(
                f"{place}: there is no workflow {name!r} (step {step.step_id!r})",
                mend="define it first; GET /workflows lists them",
                param=place,
                step=step.step_id,
            )
        self.pins[name] = found[1]
        self._known[name] = self.follow(found[0], (*path, name))
        return self._known[name]
