"""What may be submitted: tasks, runs, runs begun again; read strictly, refused with the path of what is wrong."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec
from msgspec import Struct, field

from gateway.clock import from_rfc3339
from gateway.engine.checks import one_of, seconds_at
from gateway.engine.definition import WorkflowDefinition
from gateway.engine.step_definition import UNKNOWN_OUTCOMES
from gateway.engine.step_fields import check_model_config
from gateway.engine.task_types import TaskTypeSpec, find
from gateway.errors import DefinitionInvalid, ModelNotFound, ValidationFailed
from gateway.governance.validators import check_llm_parameters, refuse_unknown, text_field
from gateway.models.tags import tags_of_metadata
from gateway.registry.catalogue import API_MODEL_TYPES, Catalogue
from gateway.security.access import Caller

_TASK_FIELDS = ("task_type", "model_config", "input_data", "priority", "webhook_url", "metadata", "timeout",
                "start_at", "delay", "on_unknown_outcome")  # fmt: skip
RUN_FIELDS = ("input", "priority", "webhook_url", "metadata", "timeout", "start_at", "delay")
_RERUN_FIELDS = (*RUN_FIELDS, "from_step", "model_config")
_LONGEST_DELAY = 366 * 86_400.0
_LARGEST_METADATA = 16_384


class Submission(Struct, frozen=True, kw_only=True):
    """What tasks and runs have in common. ``priority`` 1 to 10, ten first; ``timeout`` in seconds;
    ``not_before`` in microseconds since 1970, or a ``delay`` in seconds."""

    priority: int = 5
    webhook_url: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    timeout: float | None = None
    not_before: int | None = None
    delay: float = 0.0


class TaskSubmission(Submission, frozen=True):
    """A checked ``POST /tasks`` body."""

    spec: TaskTypeSpec
    input_data: dict[str, Any]
    llm_config: dict[str, Any] | None = None
    on_unknown_outcome: str = "retry"


class RunSubmission(Submission, frozen=True):
    """A checked ``POST /workflows/{id}/runs`` body."""

    input: dict[str, Any]


class Rerun(RunSubmission, frozen=True, kw_only=True):
    """A checked ``POST /runs/{id}/retry`` body: what is to be otherwise. ``configs`` are by step id."""

    from_steps: tuple[str, ...] = ()
    configs: dict[str, dict[str, Any]] = field(default_factory=dict)


def read_task(raw: Any, task_types: Mapping[str, TaskTypeSpec], catalogue: Catalogue, caller: Caller) -> TaskSubmission:
    """The task a body describes. ``ValidationFailed`` (or ``UnknownTaskType``) with the path."""
    _object(raw, "")
    refuse_unknown(raw, _TASK_FIELDS, "")
    spec = find(task_types, text_field(raw, "task_type", required=True))
    caller.require(spec.permission)
    data = raw.get("input_data", {})
    _object(data, "input_data")
    refuse_unknown(data, spec.inputs, "input_data")
    for name in spec.required:
        if name not in data:
            raise ValidationFailed(
                f"input_data.{name} is missing", mend=f"{spec.name} needs it", param=f"input_data.{name}"
            )
    if spec.name == "llm_analysis" and not {"prompt", "messages", "template"} & data.keys():
        raise ValidationFailed(
            "input_data has no prompt",
            mend="give prompt, messages, or template with variables",
            param="input_data.prompt",
        )
    if spec.check is not None:
        spec.check(data)
    config = raw.get("model_config")
    if config is not None:
        check_config(config, spec, catalogue, caller)
    else:
        check_default(spec, data, catalogue, caller)
    return TaskSubmission(
        spec=spec, input_data=data, llm_config=config, on_unknown_outcome=_unknown_outcome(raw), **_common(raw)
    )


def read_run(raw: Any) -> RunSubmission:
    """The run a body describes."""
    _object(raw, "")
    refuse_unknown(raw, RUN_FIELDS, "")
    _object(raw.get("input", {}), "input")
    return RunSubmission(input=raw.get("input", {}), **_common(raw))


def read_rerun(raw: Any) -> Rerun:
    """How a run is to be begun again."""
    _object(raw, "")
    refuse_unknown(raw, _RERUN_FIELDS, "")
    _object(raw.get("input", {}), "input")
    steps = raw.get("from_step", [])
    steps = [steps] if isinstance(steps, str) else steps
    if not isinstance(steps, list) or not all(isinstance(name, str) for name in steps):
        raise ValidationFailed("from_step: the id of a step, or a list of such", param="from_step")
    configs = raw.get("model_config", {})
    _object(configs, "model_config")
    for name, config in configs.items():
        _object(config, f"model_config.{str(name)[:64]}")
    return Rerun(input=raw.get("input", {}), from_steps=tuple(steps), configs=configs, **_common(raw))


def check_config(config: Any, spec: TaskTypeSpec, catalogue: Catalogue, caller: Caller) -> None:
    """A ``model_config`` that this caller may use here: model, provider and parameters fit."""
    try:
        check_model_config(config, "model_config", spec, lambda _name: True)
    except DefinitionInvalid as error:
        raise ValidationFailed(error.message, mend=error.mend, param=error.param) from None
    caller.require_model(config["name"])
    _fits(config, spec, catalogue, "model_config")


def check_default(spec: TaskTypeSpec, given: Collection[str], catalogue: Catalogue, caller: Caller) -> None:
    """``ModelNotFound`` where what names no model goes to a default one that this caller may not use, and
    ``ValidationFailed`` where there is none. ``given`` are the names of its input: a stored prompt may bring a model.
    A task type of somebody else's may call whichever it likes, or none, so nothing is known of it here."""
    if spec.model_kind is None or spec.function is not None or "template" in given:
        return
    name = catalogue.default_model(spec.name)
    mend = "name one in model_config.name: GET /models lists those you may use"
    if name is None:
        raise ValidationFailed(
            f"no model is named and {spec.name} has no default", mend=mend, param="model_config.name"
        )
    if not caller.may_use_model(name):
        raise ModelNotFound(
            f"no model is named, and {name!r}, the default of {spec.name}, is not open to this key",
            mend=f"{mend}; or an admin widens the key's model list",
            param="model_config.name",
        )


def check_models(definition: WorkflowDefinition, task_types: Mapping[str, TaskTypeSpec], catalogue: Catalogue) -> None:
    """``DefinitionInvalid`` where a step names a model that its task type cannot use, or parameters that none takes."""
    for at, step in enumerate(definition.steps):
        if step.llm_config is None:
            continue
        try:
            _fits(step.llm_config, task_types[step.task_type], catalogue, f"steps[{at}].model_config")
        except ValidationFailed as error:
            told = f"{error.message} (step {step.step_id!r})"
            raise DefinitionInvalid(told, mend=error.mend, param=error.param, step=step.step_id) from None


def _fits(config: Mapping[str, Any], spec: TaskTypeSpec, catalogue: Catalogue, path: str) -> None:
    model = catalogue.model(config["name"])
    if (model.type != "llm") if spec.model_kind == "llm" else (model.type in API_MODEL_TYPES):
        raise ValidationFailed(
            f"{path}.name: {spec.name} cannot use a model of type {model.type}",
            mend="GET /models tells of which type each is",
            param=f"{path}.name",
        )
    if config.get("provider") not in (None, model.provider):
        raise ValidationFailed(
            f"{path}.provider: {model.name} is served by {model.provider!r}",
            mend=f'leave it out, or write "{model.provider}"',
            param=f"{path}.provider",
        )
    if spec.model_kind == "llm":
        check_llm_parameters(config.get("parameters", {}), f"{path}.parameters")


def _unknown_outcome(raw: Mapping[str, Any]) -> str:
    try:
        return one_of(raw.get("on_unknown_outcome", "retry"), "on_unknown_outcome", UNKNOWN_OUTCOMES)
    except DefinitionInvalid as error:
        raise ValidationFailed(error.message, mend=error.mend, param=error.param) from None


def _common(raw: Mapping[str, Any]) -> dict[str, Any]:
    priority = raw.get("priority", 5)
    if isinstance(priority, bool) or not isinstance(priority, int) or not 1 <= priority <= 10:
        raise ValidationFailed("priority: a whole number from 1 to 10 (ten first)", param="priority")
    metadata = raw.get("metadata", {})
    _object(metadata, "metadata")
    if len(msgspec.json.encode(metadata)) > _LARGEST_METADATA:
        raise ValidationFailed(f"metadata: at most {_LARGEST_METADATA} bytes of JSON", param="metadata")
    tags_of_metadata(metadata)
    try:
        timeout = seconds_at(raw.get("timeout"), "timeout")
    except DefinitionInvalid as error:
        raise ValidationFailed(error.message, mend=error.mend, param="timeout") from None
    return {
        "priority": priority,
        "webhook_url": text_field(raw, "webhook_url") or None,
        "metadata": metadata,
        "timeout": timeout,
        **_start(raw),
    }


def _start(raw: Mapping[str, Any]) -> dict[str, Any]:
    """``start_at`` (a time) or ``delay`` (seconds)."""
    moment, delay = raw.get("start_at"), raw.get("delay")
    if moment is not None and delay is not None:
        raise ValidationFailed("start_at and delay say the same thing", mend="give one of them", param="delay")
    if delay is not None:
        good = isinstance(delay, (int, float)) and not isinstance(delay, bool) and 0 <= delay <= _LONGEST_DELAY
        if not good:
            raise ValidationFailed(f"delay: seconds from 0 to {_LONGEST_DELAY:.0f}", param="delay")
        return {"delay": float(delay)}
    if moment is None:
        return {}
    try:
        return {"not_before": from_rfc3339(moment)}
    except (ValueError, TypeError, OverflowError):
        raise ValidationFailed(
            "start_at: a time with its zone", mend="such as 2026-01-31T06:00:00Z", param="start_at"
        ) from None


def _object(value: Any, path: str) -> None:
    if not isinstance(value, dict):
        raise ValidationFailed(
            f"{path}: an object is expected" if path else "the body is not an object", param=path or None
        )
