"""Tasks, runs, workflows and what becomes of them, as they are told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from gateway.api.described.shapes import (
    ANY,
    COUNT,
    FREE,
    NUMBER,
    TIME,
    TRUTH,
    USD,
    Schema,
    by_name,
    many,
    maybe,
    number,
    one_of,
    ref,
    text,
    told,
    whole,
)
from gateway.engine.schedules import CATCH_UP, OVERLAP
from gateway.engine.states import STATUS_OF_STEP, RunState, StepState
from gateway.engine.step_definition import UNKNOWN_OUTCOMES
from gateway.engine.task_types import QUEUES
from gateway.events.event import EVENT_TYPES

TASK_STATUS = tuple(dict.fromkeys(STATUS_OF_STEP.values()))
RUN_STATUS = get_args(RunState)
_T = text()

#: A step of a run, and a task that stands alone: a run of one step.
_OF_TASK: Mapping[str, Schema] = {
    "task_id": _T,
    "run_id": _T,
    "step_id": _T,
    "workflow_id": maybe(_T),
    "task_type": _T,
    "status": one_of(TASK_STATUS),
    "progress": number(0, 1),
    "progress_note": _T,
    "error": maybe(ref("WorkError")),
    "cost": USD,
    "attempts": COUNT,
    "lost": whole(0, said="attempts whose worker was lost"),
    "created_at": TIME,
    "started_at": maybe(TIME),
    "completed_at": maybe(TIME),
    "depends_on": many(_T),
}
_OF_SOME_TASKS: Mapping[str, Schema] = {
    "priority": whole(1, 10, said="of a task that stands alone"),
    "metadata": {"type": "object", "description": "of a task that stands alone"},
    "starts_at": TIME,
    "item_of": maybe(_T),
    "item_index": maybe(COUNT),
    "undoes": maybe(_T),
    "items": COUNT,
    "items_ended": COUNT,
    "waits_for": _T,
    "workflow": ANY,
    "decision": FREE,
    "skipped": ANY,
    "reused": ANY,
    "cached": ANY,
    "run": ANY,
    "calls_made_again": ANY,
}
_RESULT: Mapping[str, Schema] = {"result": {"description": "what the task type gives: GET /task-types says its schema"}}
_OF_RUN: Mapping[str, Schema] = {
    "run_id": _T,
    "workflow_id": maybe(_T),
    "status": one_of(RUN_STATUS),
    "progress": number(0, 1),
    "partial": {"type": "boolean", "description": "output of a run that did not complete"},
    "error": maybe(ref("WorkError")),
    "cost": USD,
    "priority": whole(1, 10),
    "metadata": FREE,
    "definition_hash": maybe(_T),
    "config_epoch": _T,
    "request_id": _T,
    "owner": _T,
    "cancel_requested": TRUTH,
    "origin": maybe(FREE),
    "starts_at": maybe(TIME),
    "created_at": TIME,
    "started_at": maybe(TIME),
    "completed_at": maybe(TIME),
}
_STEP_DEFINITION = told(
    {
        "step_id": _T,
        "task_type": _T,
        "input_mapping": FREE,
        "output_mapping": by_name(_T),
        "dependencies": many(_T),
        "model_config": maybe(FREE),
        "retry": told(
            {
                "max_attempts": whole(1, 20),
                "backoff": NUMBER,
                "max_backoff": NUMBER,
                "on": many(_T),
                "not_on": many(_T),
            }
        ),
        "timeout": maybe(NUMBER),
    },
    {
        "soft_timeout": NUMBER,
        "when": _T,
        "join": _T,
        "for_each": FREE,
        "on_failure": ANY,
        "compensate": _T,
        "approval": FREE,
        "signal": FREE,
        "workflow": _T,
        "cache": FREE,
        "on_unknown_outcome": one_of(UNKNOWN_OUTCOMES),
        "budget": FREE,
        "limits": many(FREE),
    },
)
_HASH = maybe(text(said="a hash"))
_LINEAGE_STEP = told(
    {
        "step_id": _T,
        "task_id": _T,
        "task_type": _T,
        "status": one_of(get_args(StepState)),
        "attempts": COUNT,
        "input": _HASH,
        "output": _HASH,
        "versions": maybe(FREE),
        "model": ANY,
        "model_version": ANY,
        "seed": ANY,
        "taken_over_from": maybe(_T),
        "run": ANY,
        "runs": many(_T),
        "decision": maybe(FREE),
        "calls": many(FREE),
        "entries": many(FREE),
    }
)

COMPONENTS: Mapping[str, Schema] = {
    "WorkError": told(
        {"code": _T, "message": _T},
        {
            "mend": maybe(_T),
            "param": maybe(_T),
            "details": FREE,
            "retry_after": maybe(NUMBER),
            "step_id": _T,
            "run_id": _T,
            "retryable": TRUTH,
            "calls": many(FREE, said="of unknown outcome"),
        },
        said="why a task or run failed, or what its last attempt met",
    ),
    "Task": told({**_OF_TASK, **_RESULT}, _OF_SOME_TASKS, said="a task, or a step of a run"),
    "ListedTask": told(_OF_TASK, _OF_SOME_TASKS, said="a task without its result"),
    "TaskType": told(
        {
            "name": _T,
            "summary": _T,
            "inputs": many(_T),
            "required": many(_T),
            "outputs": many(_T),
            "queue": one_of(QUEUES),
            "input_schema": maybe(FREE),
            "output_schema": maybe(FREE),
            "default_model": maybe(_T),
        }
    ),
    "Run": told({**_OF_RUN, "output": {"description": "by the workflow's output"}, "steps": many(ref("Task"))}),
    "ListedRun": told(_OF_RUN, said="a run without its steps and output"),
    "Child": told(
        {
            "run_id": _T,
            "workflow_id": maybe(_T),
            "step_id": _T,
            "item_index": maybe(COUNT),
            "status": one_of(RUN_STATUS),
            "progress": number(0, 1),
            "cost": USD,
            "tokens_used": COUNT,
            "created_at": TIME,
            "started_at": maybe(TIME),
            "completed_at": maybe(TIME),
        },
        said="a run within a run",
    ),
    "Workflow": told(
        {
            "workflow_id": _T,
            "name": _T,
            "description": _T,
            "version": _T,
            "source": one_of(("api", "config")),
            "owner": _T,
            "created_at": TIME,
            "inputs": many(_T),
            "output": maybe(FREE),
            "input_schema": maybe(FREE),
            "steps": many(_STEP_DEFINITION),
        }
    ),
    "Graph": told(
        {
            "run_id": _T,
            "nodes": many(told({"step_id": _T, "task_type": _T, "status": one_of(TASK_STATUS)})),
            "edges": many(told({"from": _T, "to": _T})),
        }
    ),
    "Estimate": told(
        {
            "workflow_id": _T,
            "version": _T,
            "expected_usd": USD,
            "low_usd": USD,
            "high_usd": maybe(USD),
            "basis": _T,
            "nominal_coverage": maybe(NUMBER),
            "runs": COUNT,
            "steps": many(
                told(
                    {
                        "step_id": _T,
                        "model": maybe(_T),
                        "expected_usd": USD,
                        "most_usd": maybe(USD),
                        "runs": COUNT,
                        "price_card": maybe(_T),
                    }
                )
            ),
        }
    ),
    "Lineage": told(
        {
            "run_id": _T,
            "workflow_id": maybe(_T),
            "status": one_of(RUN_STATUS),
            "definition": maybe(_T),
            "workflows_within": FREE,
            "config_epoch": _T,
            "origin": maybe(FREE),
            "input": _HASH,
            "output": _HASH,
            "steps": many(_LINEAGE_STEP),
            "items": many(told({"task_id": _T, "calls": many(FREE), "entries": many(FREE)})),
        },
        {"replay_of": _T, "equal": TRUTH, "differing_steps": many(_T), "changed_versions": FREE},
    ),
    "DeadLetter": told(
        {
            "task_id": _T,
            "run_id": _T,
            "step_id": _T,
            "task_type": _T,
            "owner": _T,
            "code": _T,
            "error": ANY,
            "attempts": COUNT,
            "lost": COUNT,
            "at": TIME,
        }
    ),
    "Schedule": told(
        {
            "schedule_id": _T,
            "workflow_id": _T,
            "owner": _T,
            "cron": _T,
            "timezone": _T,
            "catch_up": one_of(CATCH_UP),
            "overlap": one_of(OVERLAP),
            "run": FREE,
            "active": TRUTH,
            "next_at": maybe(TIME),
            "last_at": maybe(TIME),
            "last_run_id": maybe(_T),
            "note": _T,
            "created_at": TIME,
        }
    ),
    "Event": {
        **told(
            {
                "id": COUNT,
                "type": one_of(EVENT_TYPES),
                "time": TIME,
                "run_id": maybe(_T),
                "task_id": maybe(_T),
            },
            said="an event of the streams and of /ws, with fields of its type beside these",
        ),
        "additionalProperties": True,
    },
}
