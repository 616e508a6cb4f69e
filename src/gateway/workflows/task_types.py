"""Every task type there is, and how its handler is found.

Handlers are named, not imported: a process that only submits tasks stays light. A package of yours
adds task types through the entry point group ``gateway.task_types`` (each made by ``task_type``, or a
``TaskTypeSpec``), and workflows through ``gateway.workflows`` (each a ``Workflow``, or a definition).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, cast

import msgspec

from gateway.engine.task_types import TaskTypeSpec, index
from gateway.errors import ConfigurationInvalid
from gateway.workflows.built_in_task_types import BUILT_IN
from gateway.workflows.context import Handler

ENTRY_POINTS = "gateway.task_types"
WORKFLOW_ENTRY_POINTS = "gateway.workflows"


def known_task_types() -> Mapping[str, TaskTypeSpec]:
    """The built-in task types and those that installed packages bring."""
    brought = []
    for point in entry_points(group=ENTRY_POINTS):
        found = point.load()
        spec = getattr(found, "spec", found)
        if not isinstance(spec, TaskTypeSpec):
            raise ConfigurationInvalid(
                f"the entry point {point.name!r} of {ENTRY_POINTS} is no task type", mend="decorate it with @task_type"
            )
        package = None if point.dist is None else (point.dist.name, point.dist.version)
        brought.append(msgspec.structs.replace(spec, package=package))
    return index((*BUILT_IN, *brought))


def installed_workflows() -> tuple[Mapping[str, Any], ...]:
    """The definitions of workflows that installed packages bring."""
    brought = []
    for point in entry_points(group=WORKFLOW_ENTRY_POINTS):
        found = point.load()
        definition = found.definition() if hasattr(found, "definition") else found
        if not isinstance(definition, Mapping):
            raise ConfigurationInvalid(f"the entry point {point.name!r} of {WORKFLOW_ENTRY_POINTS} is no workflow")
        brought.append(definition)
    return tuple(brought)


@cache
def load_handler(path: str) -> Handler:
    """The handler named ``module:function``."""
    module, _, name = path.partition(":")
    return cast(Handler, getattr(import_module(module), name))
