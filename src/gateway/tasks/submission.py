"""What may be submitted: task bodies and run bodies, read strictly, refused with the path of what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct, field

from gateway.engine.definition import check_model_config, timeout_seconds
from gateway.engine.task_types import TaskTypeSpec, find
from gateway.errors import DefinitionInvalid, ValidationFailed
from gateway.governance.validators import check_llm_parameters, refuse_unknown, text_field
from gateway.models.tags import tags_of_metadata
from gateway.registry.catalogue import API_MODEL_TYPES, Catalogue
from gateway.security.access import Caller

_TASK_FIELDS = ("task_type", "model_config", "input_data", "priority", "webhook_url", "metadata", "timeout")
_RUN_FIELDS = ("input", "priority", "webhook_url", "metadata", "timeout")
_LARGEST_METADATA = 16_384


class TaskSubmission(Struct, frozen=True):
    """A checked ``POST /tasks`` body. ``priority`` 1 to 10, ten first; ``timeout`` in seconds."""

    spec: TaskTypeSpec
    input_data: dict[str, Any]
    llm_config: dict[str, Any] | None = None
    priority: int = 5
    webhook_url: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    timeout: float | None = None


class RunSubmission(Struct, frozen=True):
    """A checked ``POST /workflows/{id}/runs`` body."""

    input: dict[str, Any]
    priority: int = 5
    webhook_url: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    timeout: float | None = None


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
    return TaskSubmission(spec, data, config, **_common(raw))


def read_run(raw: Any) -> RunSubmission:
    """The run a body describes."""
    _object(raw, "")
    refuse_unknown(raw, _RUN_FIELDS, "")
    _object(raw.get("input", {}), "input")
    return RunSubmission(raw.get("input", {}), **_common(raw))


def check_config(config: Any, spec: TaskTypeSpec, catalogue: Catalogue, caller: Caller) -> None:
    """A ``model_config`` that this caller may use here: model, provider and parameters fit."""
    try:
        check_model_config(config, "model_config", spec, lambda _name: True)
    except DefinitionInvalid as error:
        raise ValidationFailed(error.message, mend=error.mend, param=error.param) from None
    caller.require_model(config["name"])
    model = catalogue.model(config["name"])
    if (model.type in API_MODEL_TYPES) != (spec.model_kind == "llm"):
        raise ValidationFailed(
            f"model_config.name: {spec.name} cannot use a model of type {model.type}", param="model_config.name"
        )
    if config.get("provider") not in (None, model.provider):
        raise ValidationFailed(
            f"model_config.provider: {model.name} is served by {model.provider!r}",
            mend=f'leave it out, or write "{model.provider}"',
            param="model_config.provider",
        )
    if spec.model_kind == "llm":
        check_llm_parameters(config.get("parameters", {}), "model_config.parameters")


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
        timeout = timeout_seconds(raw.get("timeout"), "timeout")
    except DefinitionInvalid as error:
        raise ValidationFailed(error.message, mend=error.mend, param="timeout") from None
    return {
        "priority": priority,
        "webhook_url": text_field(raw, "webhook_url") or None,
        "metadata": metadata,
        "timeout": timeout,
    }


def _object(value: Any, path: str) -> None:
    if not isinstance(value, dict):
        raise ValidationFailed(
            f"{path}: an object is expected" if path else "the body is not an object", param=path or None
        )
