"""What the engine knows of a task type: its name, where it runs, what it takes and gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec import Struct

from gateway.errors import UnknownTaskType

#: Worker queues: waiting on a language model, on a predictive model, or computing.
QUEUES = ("llm", "ml", "cpu")


class TaskTypeSpec(Struct, frozen=True):
    """One task type.

    ``inputs`` are the fields of ``input_data`` it reads (those in ``required`` must be there);
    ``outputs`` those of its result that later steps may refer to. ``handler`` is ``module:function``,
    imported when first needed, so that a process which only submits tasks stays light.
    """

    name: str
    summary: str
    queue: str
    handler: str
    inputs: tuple[str, ...]
    required: tuple[str, ...]
    outputs: tuple[str, ...]
    #: The kind of model it calls: ``llm``, ``ml`` or none.
    model_kind: str | None = None
    permission: str = "tasks:write"
    #: The handler itself, where there is one already: then it is not looked for by its name.
    function: Callable[[Any, dict[str, Any]], Any] | None = None
    #: Raises ``ValidationFailed`` for input data that does not fit, where more is known than names.
    check: Callable[[dict[str, Any]], None] | None = None
    #: JSON schemas of the input and the output, where they are known.
    input_schema: dict[str, Any] | None = None
    output_schema: dict[str, Any] | None = None
    #: The name and version of the package that brings it; ``None`` for the gateway's own.
    package: tuple[str, str] | None = None


def index(specs: Iterable[TaskTypeSpec]) -> Mapping[str, TaskTypeSpec]:
    """Task types by name."""
    return {spec.name: spec for spec in specs}


def find(specs: Mapping[str, TaskTypeSpec], name: str, param: str = "task_type") -> TaskTypeSpec:
    """The task type, or ``UnknownTaskType`` that lists the known."""
    if name not in specs:
        raise UnknownTaskType(
            "there is no task type of that name",
            mend=f"known task types: {', '.join(sorted(specs))}",
            param=param,
            known=sorted(specs),
        )
    return specs[name]
