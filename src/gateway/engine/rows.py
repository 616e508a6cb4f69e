"""Runs and steps as the engine sees them: one row each, frozen."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from gateway.engine.step_definition import StepDefinition
from gateway.models.run_budget import Bound
from gateway.security.access import Caller


class NewRun(Struct, frozen=True):
    """What is needed to begin a run. ``kind`` is ``task`` (one step, made by ``POST /tasks``) or ``workflow``."""

    run_id: str
    kind: str
    workflow_id: str
    definition_hash: str | None
    input: dict[str, Any]
    caller: Caller
    request_id: str
    steps: tuple[NewStep, ...]
    priority: int = 5
    metadata: dict[str, Any] = field(default_factory=dict)
    webhook_url: str | None = None
    deadline: int | None = None
    config_epoch: str = ""
    #: How the run's result is made (``WorkflowDefinition.output``).
    output_mapping: dict[str, Any] | None = None
    #: Before this moment nothing of it begins.
    not_before: int = 0
    #: Where it comes from: ``{"run_id": …, "how": "retry"}`` and the like.
    origin: dict[str, Any] | None = None
    #: The run and the step that this run is done for.
    parent_run: str | None = None
    parent_task: str | None = None
    #: The versions (hashes) of the workflows that steps of it run, and steps of those, by workflow id; and by which
    #: models and providers their limits count (``engine.nested.served_by``).
    pins: dict[str, str] | None = None
    #: Budgets of the runs and steps that this run is within.
    bounds: tuple[Bound, ...] = ()


class KeyedLimit(Struct, frozen=True):
    """A limit with its key made out, such as ``model:gpt-4``; ``per`` in microseconds."""

    key: str
    concurrency: int | None
    rate: int | None
    per: int


class Reused(Struct, frozen=True):
    """What an earlier run's step gave, taken over instead of doing the step again."""

    task_id: str
    output: dict[str, Any]
    published: dict[str, Any]


class NewStep(Struct, frozen=True):
    """One step of a new run, with the queue its task type runs on."""

    task_id: str
    spec: StepDefinition
    queue: str
    reused: Reused | None = None
    limits: tuple[KeyedLimit, ...] = ()


class NewItem(Struct, frozen=True):
    """One item of a list that a step is done for."""

    task_id: str
    index: int
    value: Any
    ready: bool


class RunRow(Struct, frozen=True):
    """A run. Times in microseconds; ``input``, ``output``, ``error`` decoded."""

    run_id: str
    kind: str
    workflow_id: str
    definition_hash: str | None
    status: str
    input: dict[str, Any]
    output: dict[str, Any] | None
    error: dict[str, Any] | None
    progress: float
    priority: int
    owner: str
    caller: Caller
    request_id: str
    metadata: dict[str, Any]
    webhook_url: str | None
    cancel_requested: bool
    deadline: int | None
    config_epoch: str
    created_at: int
    started_at: int | None
    completed_at: int | None
    output_mapping: dict[str, Any] | None = None
    not_before: int = 0
    origin: dict[str, Any] | None = None
    parent_run: str | None = None
    parent_task: str | None = None
    pins: dict[str, str] | None = None
    bounds: tuple[Bound, ...] = ()


class StepRow(Struct, frozen=True):
    """A step. ``token`` is the fence: only whoever holds the current one may move a handed-out step."""

    task_id: str
    run_id: str
    step_id: str
    position: int
    task_type: str
    spec: StepDefinition
    queue: str
    priority: int
    state: str
    waiting_on: int
    token: int
    lease_until: int | None
    not_before: int
    attempts: int
    lost: int
    worker: str | None
    input: dict[str, Any] | None
    output: dict[str, Any] | None
    published: dict[str, Any] | None
    error: dict[str, Any] | None
    progress: float
    progress_note: str
    created_at: int
    started_at: int | None
    completed_at: int | None
    #: ``step``; ``item`` of the step ``parent``; ``undo``: it runs only where the run ends badly.
    role: str = "step"
    parent: str | None = None
    item_index: int | None = None
    item: Any = None
    #: More is to be asked than that its dependencies have completed.
    gated: bool = False
    #: When a step that is parked has waited long enough.
    wake_at: int | None = None
    #: What a person said to it.
    decision: dict[str, Any] | None = None
    #: How the result came to be: taken over from where, made with which versions.
    record: dict[str, Any] | None = None
    limited: bool = False

    @property
    def items(self) -> tuple[int, int] | None:
        """(ended, all) of a step that is done for each item of a list, once it has begun; else ``None``."""
        if self.spec.for_each is None or self.input is None:
            return None
        every = int(self.input.get("items", 0))
        return every - self.waiting_on, every


class ItemEnd(Struct, frozen=True):
    """How an item of a list ended."""

    item_index: int
    state: str
    output: dict[str, Any] | None
    error: dict[str, Any] | None


def items_said(ended: int, every: int) -> str:
    """How far a list is, in words."""
    return f"{ended} of {every} items"


class KeptCall(Struct, frozen=True):
    """One answered call: ``request`` is the hash of what was asked, ``number`` tells equal requests apart,
    ``generation`` how many attempts had failed before. ``answer`` is the answer as JSON, empty for a predictive
    model's, whose ``version`` says enough; ``notes`` is what the handler put into its record, JSON."""

    task_id: str
    generation: int
    request: str
    number: int
    kind: str
    model: str
    provider: str
    version: int | None
    notes: str
    entry_id: str | None
    answer: str
    at: int


class BegunCall(Struct, frozen=True):
    """A call of a step that is about to be made by whoever holds ``token``. ``followed_by`` is what was done about
    one that was never answered: ``retry`` or ``fail`` by policy, ``ask`` where a person let it be made again."""

    task_id: str
    token: int
    request: str
    number: int
    generation: int
    model: str
    at: int
    followed_by: str | None = None

    @property
    def key(self) -> str:
        """The call's name: the same for whoever makes it again after a worker was lost."""
        return f"{self.task_id}:{self.generation}:{self.request[:16]}:{self.number}"


class Candidate(Struct, frozen=True):
    """A ready step with limits."""

    task_id: str
    limits: tuple[KeyedLimit, ...]


class Limiter(Struct):
    """How a key stands: steps handed out or running, and when by its rate the next may begin."""

    active: int
    next_at: int


class Tally(Struct, frozen=True):
    """The steps of a run in numbers (items are counted in their steps)."""

    total: int
    open: int
    cancelled: int
    progress: float
    undo_waiting: int
    undo_busy: int


class Doorbell(Struct, frozen=True):
    """All that a message to a worker carries. Within a process the run is told as well, which spares the worker to
    look for it."""

    task_id: str
    token: int
    queue: str
    priority: int
    run_id: str = ""
