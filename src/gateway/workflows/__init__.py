"""Task types and the three workflows of the platform; and the names with which you write your own.

``from gateway.workflows import Workflow, task_type, StepContext``. Each is fetched when it is first asked for,
so that a process which only runs built-in steps loads nothing of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.workflows.context import StepContext
    from gateway.workflows.reference import each, each_index
    from gateway.workflows.typed_task import TaskType, task_type
    from gateway.workflows.workflow import Workflow

_HOME = {
    "StepContext": "gateway.workflows.context",
    "TaskType": "gateway.workflows.typed_task",
    "task_type": "gateway.workflows.typed_task",
    "Workflow": "gateway.workflows.workflow",
    "each": "gateway.workflows.reference",
    "each_index": "gateway.workflows.reference",
}

__all__ = ["StepContext", "TaskType", "Workflow", "each", "each_index", "task_type"]


def __getattr__(name: str) -> object:
    """The public name ``name``. Raises ``AttributeError`` for any other."""
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'gateway.workflows' has no public name {name!r}")
    return getattr(import_module(home), name)
