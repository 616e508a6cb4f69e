"""Reads one step of a definition, strictly: every wrong field is refused with its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gateway.engine.checks import name_at, one_of, refuse_unknown, require, seconds_at, texts_at, whole_at
from gateway.engine.conditions import parse_condition
from gateway.engine.step_definition import (
    APPROVAL,
    CONTROL,
    SIGNAL,
    UNKNOWN_OUTCOMES,
    WORKFLOW,
    Approval,
    ForEach,
    Limit,
    RetryPolicy,
    SignalWait,
    StepDefinition,
)
from gateway.engine.task_types import TaskTypeSpec, find
from gateway.errors import DefinitionInvalid, UnknownTaskType, ValidationFailed
from gateway.models.run_budget import RunBudget, read_budget
from gateway.models.selection import read_selection
from gateway.money import exact_units
from gateway.security.access import roles_with

MOST_ITEMS_AT_ONCE = 1000
#: Of items that are runs: they begin in one transaction.
MOST_RUNS_AT_ONCE = 100
_YEAR = 366 * 86_400.0
#: Of a step's ``model_config``.
_CONFIG_FIELDS = frozenset({"name", "provider", "parameters", "version", "alias", "selection", "batch"})
#: Of a step.
FIELDS = frozenset(
    {"step_id", "task_type", "input_mapping", "output_mapping", "dependencies", "model_config", "retry", "timeout"}
    | {"soft_timeout", "name", "description", "when", "join", "for_each", "on_failure", "compensate"}
    | {APPROVAL, SIGNAL, WORKFLOW, "cache", "limits", "on_unknown_outcome", "budget"}
)
#: What belongs to work: a step that only waits has none of it.
_OF_WORK = (
    *("model_config", "retry", "timeout", "soft_timeout", "cache", "limits", "compensate"),
    "on_unknown_outcome",
)


def read_step(
    raw: Any,
    path: str,
    task_types: Mapping[str, TaskTypeSpec],
    known_model: Callable[[str], bool],
    unknown: str = "retry",
) -> StepDefinition:
    """The step at ``path``; ``unknown`` is the workflow's ``on_unknown_outcome``. Raises ``DefinitionInvalid``."""
    require(isinstance(raw, dict), path, "a step is an object with step_id and task_type")
    refuse_unknown(raw, FIELDS, path)
    step_id = name_at(raw.get("step_id"), f"{path}.step_id")
    dotted = "a name without '.': references are divided there"
    require("." not in step_id, f"{path}.step_id", dotted, mend="write '_' or '-' for it")
    task_type = _task_type(raw, path)
    waits = ("for_each", "budget") if task_type in (APPROVAL, SIGNAL) else ()
    for name in (*_OF_WORK, *waits) if task_type in CONTROL else ():
        require(name not in raw, f"{path}.{name}", f"a step of kind {task_type} has no such field")
    spec = None if task_type in CONTROL else _spec(task_type, path, task_types)
    dependencies = texts_at(raw.get("dependencies", []), f"{path}.dependencies", "step ids")
    if raw.get("when") is not None:
        parse_condition(raw["when"], f"{path}.when")
    config = raw.get("model_config")
    if config is not None and spec is not None:
        check_model_config(config, f"{path}.model_config", spec, known_model)
    timeout = seconds_at(raw.get("timeout"), f"{path}.timeout")
    soft = seconds_at(raw.get("soft_timeout"), f"{path}.soft_timeout")
    require(soft is None or timeout is None or soft < timeout, f"{path}.soft_timeout", "less than the timeout")
    return StepDefinition(
        step_id=step_id,
        task_type=task_type,
        input_mapping=_input_mapping(raw, path, task_type, spec),
        output_mapping=_output_mapping(raw, path, task_type, spec),
        dependencies=dependencies,
        llm_config=config,
        retry=_retry(raw.get("retry"), f"{path}.retry"),
        timeout=timeout,
        soft_timeout=soft,
        queue="cpu" if spec is None else spec.queue,
        when=raw.get("when"),
        join=one_of(raw.get("join", "all"), f"{path}.join", ("all", "any", "ended")),
        for_each=_for_each(
            raw.get("for_each"), f"{path}.for_each", MOST_RUNS_AT_ONCE if task_type == WORKFLOW else MOST_ITEMS_AT_ONCE
        ),
        on_failure=_on_failure(raw.get("on_failure"), f"{path}.on_failure"),
        compensate=None if raw.get("compensate") is None else name_at(raw["compensate"], f"{path}.compensate"),
        approval=_approval(raw, f"{path}.approval"),
        signal=_signal(raw, f"{path}.signal"),
        workflow=None if raw.get(WORKFLOW) is None else name_at(raw[WORKFLOW], f"{path}.workflow"),
        cache_ttl=_cache(raw.get("cache"), f"{path}.cache"),
        limits=_limits_of(raw.get("limits"), f"{path}.limits", spec),
        on_unknown_outcome=one_of(
            raw.get("on_unknown_outcome", unknown), f"{path}.on_unknown_outcome", UNKNOWN_OUTCOMES
        ),
        budget=_budget(raw.get("budget"), f"{path}.budget", known_model),
    )


def check_model_config(
    config: Any, path: str, spec: TaskTypeSpec, known_model: Callable[[str], bool]
) -> dict[str, Any]:
    """``{name, provider?, parameters?, version?, alias?, selection?, batch?}``; an address or key in it is refused."""
    require(isinstance(config, dict), path, 'an object such as {"name": "gpt-4"}')
    refuse_unknown(config, _CONFIG_FIELDS, path)
    name = config.get("name")
    require(isinstance(name, str) and bool(name), f"{path}.name", "the name of a model")
    require(spec.model_kind is not None, path, f"{spec.name} uses no model")
    require(known_model(name), f"{path}.name", "no such model", mend="GET /models lists them")
    parameters = config.get("parameters", {})
    require(isinstance(parameters, dict), f"{path}.parameters", "an object")
    if "selection" in config:
        require(spec.model_kind == "llm", f"{path}.selection", "only language models are chosen")
        try:
            read_selection(config["selection"], f"{path}.selection")
        except ValidationFailed as error:
            raise DefinitionInvalid(error.message, mend=error.mend, param=error.param) from None
    if "batch" in config:
        require(spec.model_kind == "llm", f"{path}.batch", "only language models have batch APIs")
        require(config["batch"] in (True, False, "provider"), f"{path}.batch", 'true, false or "provider"')
    checked: dict[str, Any] = config
    return checked


def read_limits(raw: Any, path: str) -> tuple[Limit, ...]:
    """A list of limits by key."""
    if raw is None:
        return ()
    require(isinstance(raw, list) and len(raw) <= 8, path, "a list of at most 8 limits")
    return tuple(_limit(item, f"{path}[{at}]") for at, item in enumerate(raw))


def _limits_of(raw: Any, path: str, spec: TaskTypeSpec | None) -> tuple[Limit, ...]:
    """A limit that could never bind the step is refused: whoever wrote it counts on it."""
    limits = read_limits(raw, path)
    for at, limit in enumerate(limits):
        bound = limit.key not in ("model", "provider") or spec is None or spec.model_kind is not None
        require(bound, f"{path}[{at}].key", f"{spec.name if spec else ''} uses no model", mend="name another key")
    return limits


def _task_type(raw: Mapping[str, Any], path: str) -> str:
    given = raw.get("task_type")
    waits = [name for name in CONTROL if raw.get(name) is not None]
    if given is None and len(waits) == 1:
        return waits[0]
    require(isinstance(given, str), f"{path}.task_type", "the name of a task type")
    for name in waits:
        require(name == APPROVAL, f"{path}.{name}", "a step has a task_type or waits for this, not both")
    return str(given)


def _spec(task_type: str, path: str, task_types: Mapping[str, TaskTypeSpec]) -> TaskTypeSpec:
    try:
        return find(task_types, task_type, f"{path}.task_type")
    except UnknownTaskType as error:
        raise DefinitionInvalid(
            f"{path}.task_type: {error.message}", mend=error.mend, param=error.param, **error.details
        ) from None


def _input_mapping(raw: Mapping[str, Any], path: str, task_type: str, spec: TaskTypeSpec | None) -> dict[str, Any]:
    mapping = raw.get("input_mapping", {})
    require(isinstance(mapping, dict), f"{path}.input_mapping", "an object of field: reference")
    if spec is None:
        require(
            task_type == WORKFLOW or not mapping, f"{path}.input_mapping", f"a step of kind {task_type} reads nothing"
        )
        return dict(mapping)
    for key in mapping:
        require(
            key in spec.inputs,
            f"{path}.input_mapping.{key}",
            f"{task_type} takes no such input",
            mend=f"it takes: {', '.join(spec.inputs)}",
        )
    for needed in spec.required:
        require(needed in mapping, f"{path}.input_mapping", f"{task_type} needs the input {needed!r}")
    return dict(mapping)


def _output_mapping(raw: Mapping[str, Any], path: str, task_type: str, spec: TaskTypeSpec | None) -> dict[str, str]:
    published = raw.get("output_mapping", {})
    require(
        isinstance(published, dict) and all(isinstance(value, str) for value in published.values()),
        f"{path}.output_mapping",
        "an object of published name: produced name",
    )
    for produced in published.values():
        require(
            spec is None or produced in (*spec.outputs, "result"),
            f"{path}.output_mapping",
            f"{task_type} produces no {produced!r}",
            mend=f"it produces: {', '.join(spec.outputs if spec else ())}",
        )
    return dict(published)


def _retry(raw: Any, path: str) -> RetryPolicy:
    if raw is None:
        return RetryPolicy()
    require(isinstance(raw, dict), path, "an object with max_attempts, backoff, max_backoff, on, not_on")
    refuse_unknown(raw, frozenset({"max_attempts", "backoff", "max_backoff", "on", "not_on"}), path)
    attempts = whole_at(raw.get("max_attempts", 3), f"{path}.max_attempts", 1, 20)
    backoff, most = raw.get("backoff", 1.0), raw.get("max_backoff", 3600.0)
    for name, value in (("backoff", backoff), ("max_backoff", most)):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        require(number and 0 <= value <= 86_400, f"{path}.{name}", "seconds from 0 to 86400")
    on = texts_at(raw.get("on", []), f"{path}.on", "error codes")
    not_on = texts_at(raw.get("not_on", []), f"{path}.not_on", "error codes")
    both = set(on) & set(not_on)
    require(not both, f"{path}.not_on", f"{', '.join(sorted(both))} cannot be in on and in not_on")
    return RetryPolicy(attempts, float(backoff), on, not_on, float(most))


def _for_each(raw: Any, path: str, most_at_once: int) -> ForEach | None:
    if raw is None:
        return None
    if isinstance(raw, str):
        return ForEach(raw)
    require(
        isinstance(raw, dict), path, "a reference to a list, or an object with in, concurrency, on_error, max_errors"
    )
    refuse_unknown(raw, frozenset({"in", "concurrency", "on_error", "max_errors"}), path)
    over = raw.get("in")
    literal = isinstance(over, dict) and over.keys() == {"value"}
    require(not literal or isinstance(over["value"], list), f"{path}.in", "a list: this literal is none")
    require(isinstance(over, (str, list)) or literal, f"{path}.in", 'a reference to a list, or {"value": [...]}')
    concurrency = whole_at(raw.get("concurrency", 8), f"{path}.concurrency", 1, most_at_once)
    on_error = one_of(raw.get("on_error", "fail"), f"{path}.on_error", ("fail", "continue"))
    most = raw.get("max_errors")
    require(most is None or on_error == "continue", f"{path}.max_errors", "counts only with on_error: continue")
    return ForEach(
        over, concurrency, on_error, None if most is None else whole_at(most, f"{path}.max_errors", 0, 10**6)
    )


def _on_failure(raw: Any, path: str) -> tuple[str, ...] | None:
    if raw is None or raw == "fail":
        return None
    if raw == "continue":
        return ()
    names = [raw] if isinstance(raw, str) else raw
    require(isinstance(names, list) and bool(names), path, '"fail", "continue", or the ids of steps that deal with it')
    return texts_at(names, path, "step ids")


def _approval(raw: Mapping[str, Any], path: str) -> Approval | None:
    given = raw.get(APPROVAL)
    if given is None:
        return None
    require(isinstance(given, dict), path, "an object with message, roles, principals, not_owner, expires, on_expiry")
    refuse_unknown(given, frozenset(Approval.__struct_fields__), path)
    message, apart = given.get("message", ""), given.get("not_owner", False)
    require(isinstance(message, str) and len(message) <= 2000, f"{path}.message", "a text of at most 2000 characters")
    require(isinstance(apart, bool), f"{path}.not_owner", "true or false")
    roles, able = texts_at(given.get("roles", []), f"{path}.roles", "roles"), roles_with("runs:approve")
    for role in roles:
        require(role in able, f"{path}.roles", f"roles that may approve: {', '.join(able)}")
    return Approval(
        message,
        roles,
        texts_at(given.get("principals", []), f"{path}.principals", "principals"),
        apart,
        seconds_at(given.get("expires"), f"{path}.expires", _YEAR),
        one_of(given.get("on_expiry", "fail"), f"{path}.on_expiry", ("fail", "skip")),
    )


def _signal(raw: Mapping[str, Any], path: str) -> SignalWait | None:
    given = raw.get(SIGNAL)
    if given is None:
        return None
    if isinstance(given, str):
        return SignalWait(name_at(given, path))
    require(isinstance(given, dict), path, "the name of a signal, or an object with name, timeout, on_timeout")
    refuse_unknown(given, frozenset(SignalWait.__struct_fields__), path)
    return SignalWait(
        name_at(given.get("name"), f"{path}.name"),
        seconds_at(given.get("timeout"), f"{path}.timeout", _YEAR),
        one_of(given.get("on_timeout", "fail"), f"{path}.on_timeout", ("fail", "skip")),
    )


def _cache(raw: Any, path: str) -> float | None:
    if raw is None:
        return None
    require(isinstance(raw, dict) and "ttl" in raw, path, "an object with ttl, in seconds")
    refuse_unknown(raw, frozenset({"ttl"}), path)
    return seconds_at(raw["ttl"], f"{path}.ttl", _YEAR)


def _budget(raw: Any, path: str, known_model: Callable[[str], bool]) -> RunBudget | None:
    if raw is None:
        return None
    try:
        budget = read_budget(raw, path)
        exact_units(budget.limit_usd)
    except ValidationFailed as error:
        raise DefinitionInvalid(error.message, mend=error.mend, param=error.param) from None
    except ValueError:
        place = f"{path}.limit_usd"
        raise DefinitionInvalid(
            f"{place}: an amount in USD from 0 up, with at most ten decimals",
            mend='write it as text, such as "0.05"',
            param=place,
        ) from None
    known = not budget.degrade_to or known_model(budget.degrade_to)
    require(known, f"{path}.degrade_to", "no such model", mend="GET /models lists them")
    return budget


def _limit(raw: Any, path: str) -> Limit:
    require(isinstance(raw, dict), path, "an object with key, and concurrency or rate")
    refuse_unknown(raw, frozenset(Limit.__struct_fields__), path)
    key, concurrency, rate = raw.get("key"), raw.get("concurrency"), raw.get("rate")
    require(
        isinstance(key, str) and 0 < len(key) <= 100,
        f"{path}.key",
        "model, provider, tenant, owner, workflow or a name",
    )
    require(concurrency is not None or rate is not None, path, "concurrency, or rate, or both")
    return Limit(
        str(key),
        None if concurrency is None else whole_at(concurrency, f"{path}.concurrency", 1, 10_000),
        None if rate is None else whole_at(rate, f"{path}.rate", 1, 10**6),
        seconds_at(raw.get("per", 60.0), f"{path}.per", least=0.001) or 60.0,
    )
