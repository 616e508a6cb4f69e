"""Tasks, workflows, runs, approvals, schedules and dead letters."""

from __future__ import annotations

from gateway.api.described import work_bodies as bodies
from gateway.api.described.door import Described, DescribedDoors
from gateway.api.described.param import CURSOR, limit_of, name_of, whole_of, word_of
from gateway.api.described.shapes import (
    ANY,
    COUNT,
    FREE,
    TIME,
    TRUTH,
    USD,
    Schema,
    asked,
    by_name,
    many,
    maybe,
    ref,
    text,
    told,
    whole,
)
from gateway.api.described.work_shapes import RUN_STATUS, TASK_STATUS

_T = text()
_RUN, _TASK = ref("Run"), ref("Task")
_EVENTS: Schema = {
    "type": "string",
    "description": "server-sent events of the schema Event: id, event (its type), data (its JSON); the end of the work "
    "ends the stream",
}
_FOLLOW = (whole_of("last_event_id", said="go on after this event; or the header Last-Event-ID"),)
_CURSOR = {"next_cursor": maybe(_T)}
_DECIDED = told({"run_id": _T, "step_id": _T, "approved": TRUTH, "by": _T, "reason": _T})
_HEARD = told({"run_id": _T, "signal": _T, "heard": {"type": "boolean", "description": "whether a step waited for it"}})
_WAITING = told(
    {
        "run_id": _T,
        "step_id": _T,
        "workflow_id": maybe(_T),
        "owner": _T,
        "message": _T,
        "since": TIME,
        "expires_at": maybe(TIME),
    }
)
_RUNS = told({"runs": many(ref("ListedRun")), **_CURSOR})
_PAGE = (word_of("status", RUN_STATUS), CURSOR, limit_of())
_RUNS_OF_STEP = told({"step_id": _T, "runs": COUNT, "by_status": by_name(COUNT), "cost": USD, "tokens_used": COUNT})
_WAIT = "with Prefer: wait=N the answer is held back until the work has ended, N seconds (at most 60): then it is 200"

DOORS: DescribedDoors = {
    ("POST", "/tasks"): Described(
        tag="Tasks",
        body=ref("NewTask"),
        answer=_TASK,
        also=200,
        once=True,
        headers=("Prefer",),
        errors=(404,),
        says=_WAIT,
    ),
    ("GET", "/tasks"): Described(
        tag="Tasks",
        answer=told({"tasks": many(ref("ListedTask")), **_CURSOR}),
        query=(word_of("status", TASK_STATUS), name_of("task_type"), name_of("run_id"), CURSOR, limit_of()),
    ),
    ("GET", "/tasks/{task_id}"): Described(tag="Tasks", answer=_TASK),
    ("DELETE", "/tasks/{task_id}"): Described(tag="Tasks", answer=_TASK, errors=(409,)),
    ("GET", "/tasks/{task_id}/events"): Described(tag="Tasks", media={"text/event-stream": _EVENTS}, query=_FOLLOW),
    ("GET", "/task-types"): Described(tag="Tasks", answer=told({"task_types": many(ref("TaskType"))})),
    ("GET", "/dead-letters"): Described(
        tag="Tasks", answer=told({"dead_letters": many(ref("DeadLetter"))}), query=(limit_of(),)
    ),
    ("POST", "/dead-letters/{task_id}/replay"): Described(tag="Tasks", answer=_RUN, errors=(409, 422)),
    ("DELETE", "/dead-letters/{task_id}"): Described(tag="Tasks"),
    ("POST", "/workflows"): Described(tag="Workflows", body=ref("NewWorkflow"), answer=ref("Workflow"), errors=(404,)),
    ("GET", "/workflows"): Described(tag="Workflows", answer=told({"workflows": many(ref("Workflow"))})),
    ("GET", "/workflows/{workflow_id}"): Described(tag="Workflows", answer=ref("Workflow")),
    ("POST", "/workflows/{workflow_id}/estimate"): Described(
        tag="Workflows", body=asked({}, {"input": FREE}), answer=ref("Estimate")
    ),
    ("POST", "/workflows/{workflow_id}/backfill"): Described(
        tag="Schedules", body=ref("Backfill"), answer=told({"runs": many(_T)}), once=True
    ),
    ("POST", "/workflows/{workflow_id}/runs"): Described(
        tag="Runs", body=ref("NewRun"), answer=_RUN, also=200, once=True, headers=("Prefer",), says=_WAIT
    ),
    ("GET", "/workflows/{workflow_id}/runs"): Described(tag="Runs", answer=_RUNS, query=_PAGE),
    ("GET", "/runs"): Described(tag="Runs", answer=_RUNS, query=(name_of("workflow_id"), *_PAGE)),
    ("GET", "/runs/{run_id}"): Described(tag="Runs", answer=_RUN),
    ("GET", "/runs/{run_id}/graph"): Described(tag="Runs", answer=ref("Graph")),
    ("GET", "/runs/{run_id}/events"): Described(tag="Runs", media={"text/event-stream": _EVENTS}, query=_FOLLOW),
    ("POST", "/runs/{run_id}/cancel"): Described(tag="Runs", answer=_RUN, errors=(409,)),
    ("DELETE", "/runs/{run_id}"): Described(tag="Runs", answer=_RUN, errors=(409,)),
    ("POST", "/runs/{run_id}/pause"): Described(tag="Runs", answer=_RUN, errors=(409,)),
    ("POST", "/runs/{run_id}/resume"): Described(tag="Runs", answer=_RUN, errors=(409,)),
    ("POST", "/runs/{run_id}/retry"): Described(tag="Runs", body=ref("Rerun"), answer=_RUN, once=True, errors=(409,)),
    ("POST", "/runs/{run_id}/approve"): Described(tag="Runs", body=bodies.DECISION, answer=_DECIDED, errors=(409,)),
    ("POST", "/runs/{run_id}/signals/{name}"): Described(
        tag="Runs", body=asked({}, {"payload": ANY}), answer=_HEARD, errors=(409,), places={"name": bodies.NAME}
    ),
    ("GET", "/runs/{run_id}/children"): Described(
        tag="Runs",
        answer=told({"children": many(ref("Child")), "steps": many(_RUNS_OF_STEP), **_CURSOR}),
        query=(name_of("step_id"), word_of("status", RUN_STATUS), CURSOR, limit_of()),
    ),
    ("POST", "/runs/prune"): Described(
        tag="Runs",
        body=asked(
            {"older_than_days": whole(1, 36_500, said="days since a run's end")},
            {"dry_run": {"type": "boolean", "default": False, "description": "only tell what would go"}},
        ),
        answer=told(
            {
                "before": TIME,
                "dry_run": TRUTH,
                **dict.fromkeys(("runs", "steps", "events", "artifacts", "artifact_bytes"), COUNT),
                "more": TRUTH,
            }
        ),
    ),
    ("GET", "/runs/{run_id}/lineage"): Described(tag="Runs", answer=ref("Lineage")),
    ("POST", "/runs/{run_id}/replay"): Described(tag="Runs", answer=_RUN, errors=(409, 422)),
    ("GET", "/approvals"): Described(tag="Runs", answer=told({"approvals": many(_WAITING)})),
    ("POST", "/schedules"): Described(
        tag="Schedules", body=ref("NewSchedule"), answer=ref("Schedule"), once=True, errors=(404,)
    ),
    ("GET", "/schedules"): Described(tag="Schedules", answer=told({"schedules": many(ref("Schedule"))})),
    ("GET", "/schedules/{schedule_id}"): Described(tag="Schedules", answer=ref("Schedule")),
    ("POST", "/schedules/{schedule_id}/pause"): Described(tag="Schedules", answer=ref("Schedule")),
    ("POST", "/schedules/{schedule_id}/resume"): Described(tag="Schedules", answer=ref("Schedule"), errors=(422,)),
    ("DELETE", "/schedules/{schedule_id}"): Described(tag="Schedules"),
}
