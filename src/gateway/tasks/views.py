"""What people see of runs, steps and events: plain JSON values, times in RFC 3339, money in exact USD."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from gateway.clock import rfc3339
from gateway.engine.rows import RunRow, StepRow, items_said
from gateway.engine.states import STATUS_OF_STEP
from gateway.engine.step_definition import StepDefinition
from gateway.events.event import Event
from gateway.money import usd
from gateway.store.run_reader import KeptDefinition
from gateway.store.runs_within import ChildRun, RunsOfStep

#: The states of a step behind each status that people filter by.
STATES_OF_STATUS: Mapping[str, tuple[str, ...]] = {
    status: tuple(state for state, shown in STATUS_OF_STEP.items() if shown == status)
    for status in dict.fromkeys(STATUS_OF_STEP.values())
}

#: What to do about an id that names nothing.
LISTED = "GET /{} lists yours; what ended long ago may have been removed"


def task_view(run: RunRow, step: StepRow, cost: int, *, whole: bool = True) -> dict[str, Any]:
    """A task. ``whole=False`` leaves the result out (lists)."""
    view: dict[str, Any] = {
        "task_id": step.task_id,
        "run_id": step.run_id,
        "step_id": step.step_id,
        "workflow_id": run.workflow_id if run.kind == "workflow" else None,
        "task_type": step.task_type,
        "status": STATUS_OF_STEP[step.state],
        "progress": step.progress,
        "progress_note": step.progress_note,
        "result": step.output if whole else None,
        "error": step.error if step.state in ("failed", "ready", "queued", "running", "parked") else None,
        "cost": usd(cost),
        "attempts": step.attempts,
        "lost": step.lost,
        "created_at": rfc3339(step.created_at),
        "started_at": _time(step.started_at),
        "completed_at": _time(step.completed_at),
        "depends_on": list(step.spec.dependencies),
        **_more(run, step),
    }
    if run.kind == "task":
        view |= {"priority": run.priority, "metadata": run.metadata}
    if not whole:
        del view["result"]
    return view


def run_view(run: RunRow, steps: list[StepRow] | None, costs: dict[str, int], cost: int) -> dict[str, Any]:
    """A run, with its steps where they are given."""
    view: dict[str, Any] = {
        "run_id": run.run_id,
        "workflow_id": run.workflow_id,
        "status": run.status,
        "progress": run.progress,
        "output": run.output,
        "partial": run.status in ("failed", "cancelled") and run.output is not None,
        "error": run.error,
        "cost": usd(cost),
        "priority": run.priority,
        "metadata": run.metadata,
        "definition_hash": run.definition_hash,
        "config_epoch": run.config_epoch,
        "request_id": run.request_id,
        "owner": run.owner,
        "cancel_requested": run.cancel_requested,
        "origin": run.origin,
        "starts_at": rfc3339(run.not_before) if run.not_before else None,
        "created_at": rfc3339(run.created_at),
        "started_at": _time(run.started_at),
        "completed_at": _time(run.completed_at),
    }
    if steps is None:
        del view["output"]
    else:
        view["steps"] = [task_view(run, step, costs.get(step.task_id, 0)) for step in steps]
    return view


def child_view(child: ChildRun) -> dict[str, Any]:
    """A run within a run, in one line."""
    return {
        "run_id": child.run_id,
        "workflow_id": child.workflow_id,
        "step_id": child.step_id,
        "item_index": child.item_index,
        "status": child.status,
        "progress": child.progress,
        "cost": usd(child.cost),
        "tokens_used": child.tokens,
        "created_at": rfc3339(child.created_at),
        "started_at": _time(child.started_at),
        "completed_at": _time(child.completed_at),
    }


def runs_of_step_view(runs: RunsOfStep) -> dict[str, Any]:
    """What all runs of a step come to."""
    return {
        "step_id": runs.step_id,
        "runs": sum(runs.by_status.values()),
        "by_status": runs.by_status,
        "cost": usd(runs.cost),
        "tokens_used": runs.tokens,
    }


#: What a step's record says that people see beside its lineage.
_OF_RECORD = ("skipped", "reused", "cached", "run", "calls_made_again")


def _more(run: RunRow, step: StepRow) -> dict[str, Any]:
    """What only some steps have to tell."""
    told: dict[str, Any] = {}
    if step.role == "item":
        told |= {"item_of": step.parent, "item_index": step.item_index}
    elif step.role == "undo":
        told["undoes"] = step.spec.undoes
    if step.spec.workflow is not None:
        told["workflow"] = step.spec.workflow
    if step.items is not None:
        told["items_ended"], told["items"] = step.items
        if step.state == "gathering":
            told["progress_note"] = items_said(*step.items)
    if step.state == "parked":
        told["waits_for"] = "approval" if step.spec.signal is None else f"signal {step.spec.signal.name}"
    if step.decision is not None:
        told["decision"] = step.decision
    if step.record is not None:
        told |= {name: step.record[name] for name in _OF_RECORD if name in step.record}
    if run.kind == "task" and run.not_before:
        told["starts_at"] = rfc3339(run.not_before)
    return told


def event_view(event: Event) -> dict[str, Any]:
    """An event as the WebSocket and the event streams tell it."""
    return {
        "id": event.id,
        "type": event.type,
        "time": rfc3339(event.at),
        "run_id": event.run_id,
        "task_id": event.task_id,
        **event.payload,
    }


def definition_view(kept: KeptDefinition) -> dict[str, Any]:
    """A workflow definition with its version."""
    definition = kept.definition
    return {
        "workflow_id": definition.workflow_id,
        "name": definition.name,
        "description": definition.description,
        "version": kept.hash,
        "source": kept.source,
        "owner": kept.owner,
        "created_at": rfc3339(kept.created_at),
        "inputs": list(definition.inputs),
        "output": definition.output,
        "input_schema": definition.input_schema,
        "steps": [_step_definition_view(step) for step in definition.steps],
    }


def _time(micros: int | None) -> str | None:
    return None if micros is None else rfc3339(micros)


def _step_definition_view(step: StepDefinition) -> dict[str, Any]:
    retry = step.retry
    view: dict[str, Any] = {
        "step_id": step.step_id,
        "task_type": step.task_type,
        "input_mapping": step.input_mapping,
        "output_mapping": step.output_mapping,
        "dependencies": list(step.dependencies),
        "model_config": step.llm_config,
        "retry": {
            "max_attempts": retry.max_attempts,
            "backoff": retry.backoff,
            "max_backoff": retry.max_backoff,
            "on": list(retry.on),
            "not_on": list(retry.not_on),
        },
        "timeout": step.timeout,
    }
    more = {
        "soft_timeout": step.soft_timeout,
        "when": step.when,
        "join": step.join if step.join != "all" else None,
        "for_each": None if step.for_each is None else _plain(step.for_each, over="in"),
        "on_failure": None if step.on_failure is None else list(step.on_failure) or "continue",
        "compensate": step.compensate,
        "approval": None if step.approval is None else _plain(step.approval),
        "signal": None if step.signal is None else _plain(step.signal),
        "workflow": step.workflow,
        "cache": None if step.cache_ttl is None else {"ttl": step.cache_ttl},
        "on_unknown_outcome": step.on_unknown_outcome if step.on_unknown_outcome != "retry" else None,
        "budget": None if step.budget is None else step.budget.kept(),
        "limits": [_plain(limit) for limit in step.limits] or None,
    }
    return view | {name: value for name, value in more.items() if value is not None}


def _plain(value: Struct, **renamed: str) -> dict[str, Any]:
    return {renamed.get(name, name): given for name, given in msgspec.structs.asdict(value).items()}
