"""What people see of runs, steps and events: plain JSON values, times in RFC 3339, money in exact USD."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.clock import rfc3339
from gateway.engine.rows import RunRow, StepRow
from gateway.engine.states import STATUS_OF_STEP
from gateway.events.event import Event
from gateway.money import usd
from gateway.store.run_reader import KeptDefinition

#: The states of a step behind each status that people filter by.
STATES_OF_STATUS: Mapping[str, tuple[str, ...]] = {
    status: tuple(state for state, shown in STATUS_OF_STEP.items() if shown == status)
    for status in dict.fromkeys(STATUS_OF_STEP.values())
}


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
        "error": step.error if step.state in ("failed", "ready", "queued", "running") else None,
        "cost": usd(cost),
        "attempts": step.attempts,
        "lost": step.lost,
        "created_at": rfc3339(step.created_at),
        "started_at": _time(step.started_at),
        "completed_at": _time(step.completed_at),
        "depends_on": list(step.spec.dependencies),
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
        "error": run.error,
        "cost": usd(cost),
        "priority": run.priority,
        "metadata": run.metadata,
        "definition_hash": run.definition_hash,
        "config_epoch": run.config_epoch,
        "request_id": run.request_id,
        "owner": run.owner,
        "cancel_requested": run.cancel_requested,
        "created_at": rfc3339(run.created_at),
        "started_at": _time(run.started_at),
        "completed_at": _time(run.completed_at),
    }
    if steps is None:
        del view["output"]
    else:
        view["steps"] = [task_view(run, step, costs.get(step.task_id, 0)) for step in steps]
    return view


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
        "steps": [
            {
                "step_id": step.step_id,
                "task_type": step.task_type,
                "input_mapping": step.input_mapping,
                "output_mapping": step.output_mapping,
                "dependencies": list(step.dependencies),
                "model_config": step.llm_config,
                "retry": {
                    "max_attempts": step.retry.max_attempts,
                    "backoff": step.retry.backoff,
                    "on": list(step.retry.on),
                },
                "timeout": step.timeout,
            }
            for step in definition.steps
        ],
    }


def _time(micros: int | None) -> str | None:
    return None if micros is None else rfc3339(micros)
