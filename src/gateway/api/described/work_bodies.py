"""What is handed in: tasks, runs, workflows, schedules; as ``tasks.submission`` and ``engine.definition`` read them."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.api.described.param import SELECTION as PARAMS
from gateway.api.described.shapes import (
    FREE,
    TIME,
    TRUTH,
    Schema,
    asked,
    by_name,
    many,
    maybe,
    number,
    one_of,
    ref,
    text,
    whole,
)
from gateway.engine.schedules import CATCH_UP, OVERLAP
from gateway.engine.step_definition import UNKNOWN_OUTCOMES
from gateway.engine.task_types import TaskTypeSpec
from gateway.governance.validators import LLM_PARAMETERS
from gateway.models.selection import CAPABILITIES
from gateway.models.tags import MOST_TAGS
from gateway.money import MAX_UNITS, UNITS_PER_USD
from gateway.security.access import roles_with

_NAME = "^[A-Za-z][A-Za-z0-9_.-]{0,63}$"
_DAY, _YEAR = 86_400, 366 * 86_400
NAME = text(like=_NAME)
_SECONDS = number(above=0, high=_DAY, said="seconds")
AMOUNT: Schema = {
    "description": 'an amount in USD, at most ten decimals; text such as "0.05" is exact',
    "oneOf": [text(like=r"^[0-9]{1,8}(\.[0-9]{1,10})?$"), number(0, MAX_UNITS // UNITS_PER_USD)],
}
AMOUNT_ABOVE_0: Schema = {
    "description": AMOUNT["description"],
    "oneOf": [
        text(like=r"^(0\.[0-9]{0,9}[1-9]|[1-9][0-9]{0,7}(\.[0-9]{1,10})?)$"),
        number(above=0, high=MAX_UNITS // UNITS_PER_USD),
    ],
}
#: Five fields.
_CRON = text(like=r"^([0-9A-Za-z*,/-]+ ){4}[0-9A-Za-z*,/-]+$", said="such as 30 6 * * MON-FRI")
_ZONE = text(1, said="such as Europe/Berlin; UTC where it is left out")
_METADATA: Schema = {
    "type": "object",
    "description": f"yours, at most 16384 bytes; tags (at most {MOST_TAGS}) are kept with usage",
    "properties": {
        "tags": {"oneOf": [text(longest=500, like="^[A-Za-z0-9]"), many(text(like="^[A-Za-z0-9]"), 0, MOST_TAGS)]}
    },
}
_COMMON: Mapping[str, Schema] = {
    "priority": whole(1, 10, said="ten first", default=5),
    "webhook_url": text(longest=2048, said="told when it has ended"),
    "metadata": _METADATA,
    "timeout": _SECONDS,
    "start_at": TIME,
    "delay": number(0, _YEAR, said="seconds; this or start_at"),
}
_NOT_BOTH_TIMES = {"not": {"required": ["start_at", "delay"]}}
_UNKNOWN = one_of(UNKNOWN_OUTCOMES, said="what follows where a call's outcome is unknown", default="retry")


def _parameter(kind: str, low: float, high: float) -> Schema:
    if kind == "texts":
        return {"anyOf": [text(1), many(text(1), 0, int(high))]}
    if kind == "text":
        return text(longest=int(high))
    return whole(int(low), int(high)) if kind == "integer" else number(low, high)


SELECTION = asked(
    {},
    {
        "max_cost_usd": {"anyOf": [number(0, 1_000_000), PARAMS["max_cost_usd"].schema]},
        "max_latency_ms": {"anyOf": [number(1, 3_600_000), PARAMS["max_latency_ms"].schema]},
        "min_quality": {"anyOf": [number(0, 1), PARAMS["min_quality"].schema]},
        "needs": {"anyOf": [many(one_of(CAPABILITIES)), PARAMS["needs"].schema]},
        "deterministic": {"anyOf": [TRUTH, PARAMS["deterministic"].schema]},
    },
    description="limits of a model that is chosen (auto)",
)
_CONFIG: Mapping[str, Schema] = {
    "provider": text(1, said="refused where it is not the model's"),
    "parameters": ref("LlmParameters"),
    "version": {},
    "alias": text(),
    "selection": SELECTION,
}
_REPLY_TO_FAILURE: Schema = {
    "description": "fail, continue, or the steps that deal with it",
    "oneOf": [text(), many(text(), 1)],
}
_LIMIT = asked(
    {"key": text(1, 100, said="model, provider, tenant, owner, workflow, or a name of yours")},
    {"concurrency": whole(1, 10_000), "rate": whole(1, 10**6), "per": number(above=0, high=_DAY)},
    anyOf=[{"required": ["concurrency"]}, {"required": ["rate"]}],
)
_APPROVAL = asked(
    {},
    {
        "message": text(longest=2000),
        "roles": many(one_of(roles_with("runs:approve"))),
        "principals": many(text()),
        "not_owner": TRUTH,
        "expires": number(above=0, high=_YEAR),
        "on_expiry": one_of(("fail", "skip"), default="fail"),
    },
)
_STEP = asked(
    {"step_id": NAME},
    {
        "task_type": text(said="GET /task-types lists them; or the step waits: approval, signal, workflow"),
        "name": text(),
        "description": text(),
        "input_mapping": {"type": "object", "description": "of field: reference, such as input.data or a.result"},
        "output_mapping": by_name(text()),
        "dependencies": many(text()),
        "model_config": ref("ModelConfig"),
        "retry": asked(
            {},
            {
                "max_attempts": whole(1, 20, default=3),
                "backoff": number(0, _DAY),
                "max_backoff": number(0, _DAY),
                "on": many(text()),
                "not_on": many(text()),
            },
        ),
        "timeout": _SECONDS,
        "soft_timeout": _SECONDS,
        "when": text(said="a condition"),
        "join": one_of(("all", "any", "ended"), default="all"),
        "for_each": {
            "oneOf": [
                text(),
                asked(
                    {"in": {}},
                    {
                        "concurrency": whole(1, 1000, default=8),
                        "on_error": one_of(("fail", "continue"), default="fail"),
                        "max_errors": whole(0, 10**6),
                    },
                ),
            ]
        },
        "on_failure": _REPLY_TO_FAILURE,
        "compensate": NAME,
        "approval": _APPROVAL,
        "signal": {
            "oneOf": [
                NAME,
                asked(
                    {"name": NAME},
                    {"timeout": number(above=0, high=_YEAR), "on_timeout": one_of(("fail", "skip"), default="fail")},
                ),
            ]
        },
        "workflow": NAME,
        "cache": asked({"ttl": number(above=0, high=_YEAR)}),
        "limits": many(_LIMIT, 0, 8),
        "on_unknown_outcome": _UNKNOWN,
        "budget": ref("RunBudget"),
    },
    anyOf=[{"required": [name]} for name in ("task_type", "approval", "signal", "workflow")],
)

COMPONENTS: Mapping[str, Schema] = {
    "LlmParameters": asked({}, {name: _parameter(*bounds) for name, bounds in LLM_PARAMETERS.items()}),
    "ModelConfig": asked(
        {"name": text(1, said="GET /models lists them")},
        {**_CONFIG, "parameters": FREE, "batch": {"anyOf": [TRUTH, one_of(("provider",))]}},
    ),
    "RunBudget": asked(
        {"limit_usd": AMOUNT},
        {
            "at_limit": one_of(("stop", "degrade"), default="stop"),
            "degrade_to": text(said="the model to go on with"),
        },
        **{
            "if": {"required": ["at_limit"], "properties": {"at_limit": {"const": "degrade"}}},
            "then": {"required": ["degrade_to"], "properties": {"degrade_to": {"minLength": 1}}},
            "else": {"properties": {"degrade_to": {"maxLength": 0}}},
        },
    ),
    "NewStep": _STEP,
    "NewTask": asked(
        {"task_type": text(1, said="GET /task-types lists them, with the schema of their input_data")},
        {
            "model_config": maybe(ref("ModelConfig")),
            "input_data": FREE,
            **_COMMON,
            "on_unknown_outcome": _UNKNOWN,
        },
        **_NOT_BOTH_TIMES,
    ),
    "NewRun": asked({}, {"input": FREE, **_COMMON, "budget": maybe(ref("RunBudget"))}, **_NOT_BOTH_TIMES),
    "Rerun": asked(
        {},
        {
            "input": {"type": "object", "description": "fields of the input that are to be otherwise"},
            **_COMMON,
            "from_step": {"oneOf": [text(), many(text())], "description": "it and what comes after is done again"},
            "model_config": by_name(FREE, said="by step id: another model, other parameters"),
        },
        **_NOT_BOTH_TIMES,
    ),
    "NewWorkflow": asked(
        {"workflow_id": NAME, "steps": many(ref("NewStep"), 1, 200)},
        {
            "name": text(1, 200),
            "description": text(),
            "output": maybe({"type": "object", "minProperties": 1, "description": "of name: reference"}),
            "on_unknown_outcome": _UNKNOWN,
            "input_schema": maybe({"type": "object", "description": "a JSON schema of the run's input"}),
        },
    ),
    "NewSchedule": asked(
        {"workflow_id": text(1), "cron": _CRON},
        {
            "timezone": _ZONE,
            "catch_up": one_of(CATCH_UP, default="one"),
            "overlap": one_of(OVERLAP, default="allow"),
            "run": ref("NewRunOfSchedule"),
        },
    ),
    "NewRunOfSchedule": asked({}, {"input": FREE, **_COMMON}, **_NOT_BOTH_TIMES),
    "Backfill": asked(
        {"cron": _CRON, "from": TIME, "to": TIME},
        {
            "timezone": _ZONE,
            "concurrency": whole(1, 1000, default=4),
            "run": ref("NewRunOfSchedule"),
        },
    ),
}


def new_task(task_types: Mapping[str, TaskTypeSpec]) -> Schema:
    """``NewTask`` with the task types that there are, and the names that each one's input has."""
    whole: Schema = COMPONENTS["NewTask"]
    known = {**whole["properties"]["task_type"], "enum": sorted(task_types)}
    return {
        **whole,
        "properties": {**whole["properties"], "task_type": known},
        "if": {"type": "object"},
        "then": {"allOf": [_input_of(task_types[name]) for name in sorted(task_types)]},
    }


def _input_of(spec: TaskTypeSpec) -> Schema:
    data: Schema = {"propertyNames": {"enum": list(spec.inputs)}, "required": list(spec.required)}
    if spec.name == "llm_analysis":
        data["anyOf"] = [{"required": [name]} for name in ("prompt", "messages", "template")]
    then: Schema = {"properties": {"input_data": data}}
    if spec.required or "anyOf" in data:
        then["required"] = ["input_data"]
    return {"if": {"properties": {"task_type": {"const": spec.name}}}, "then": then}


DECISION = asked(
    {"step_id": text(1)},
    {"approved": {"type": "boolean", "default": True}, "reason": text(longest=2000, said="needed where it is refused")},
    **{
        "if": {"required": ["approved"], "properties": {"approved": {"const": False}}},
        "then": {"required": ["reason"], "properties": {"reason": {"minLength": 1}}},
    },
)
