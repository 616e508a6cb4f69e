"""One step of a workflow as written and checked: what it does, when, for what, and what follows from its end."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from gateway.models.run_budget import RunBudget

#: What a step may be beside a task type: a person's word, a word from outside, a workflow of its own.
APPROVAL, SIGNAL, WORKFLOW = "approval", "signal", "workflow"
CONTROL = (APPROVAL, SIGNAL, WORKFLOW)


#: What follows where a worker died with a model's call on its way, so that nobody knows whether it was answered and
#: paid: it is made again, the step fails, or a person is asked.
UNKNOWN_OUTCOMES = ("retry", "fail", "ask")


class RetryPolicy(Struct, frozen=True, omit_defaults=True):
    """How a step is tried again: ``backoff`` seconds, doubled each time up to ``max_backoff``, with jitter.
    ``on`` names error codes beside those that are retryable by themselves, ``not_on`` those that are final."""

    max_attempts: int = 3
    backoff: float = 1.0
    on: tuple[str, ...] = ()
    not_on: tuple[str, ...] = ()
    max_backoff: float = 3600.0


class ForEach(Struct, frozen=True, omit_defaults=True):
    """The step is done for each item of the list ``over`` (a reference, or a list of mapping values), at most
    ``concurrency`` at once. ``fail``: the first item that fails ends it; ``continue``: the others go on, and
    it fails where more than ``max_errors`` items did (``None``: however many)."""

    over: Any
    concurrency: int = 8
    on_error: str = "fail"
    max_errors: int | None = None


class Approval(Struct, frozen=True, omit_defaults=True):
    """A person has to agree: one of these roles or principals (none named: whoever may approve runs), not the
    run's owner where ``not_owner``. ``expires`` in seconds; then it counts as ``on_expiry`` says."""

    message: str = ""
    roles: tuple[str, ...] = ()
    principals: tuple[str, ...] = ()
    not_owner: bool = False
    expires: float | None = None
    on_expiry: str = "fail"


class SignalWait(Struct, frozen=True, omit_defaults=True):
    """The step waits for a signal of that name, ``timeout`` seconds at most."""

    name: str
    timeout: float | None = None
    on_timeout: str = "fail"


class Limit(Struct, frozen=True, omit_defaults=True):
    """At most ``concurrency`` steps with this key run at once, and ``rate`` begin each ``per`` seconds: as many at
    once after a quiet time, then evenly spread, so that any ``per`` seconds see at most 2 * rate - 1. ``key`` is
    ``model``, ``provider``, ``tenant``, ``owner``, ``workflow``, or a text of one's own."""

    key: str
    concurrency: int | None = None
    rate: int | None = None
    per: float = 60.0


class StepDefinition(Struct, frozen=True, omit_defaults=True):
    """One step; ``dependencies`` holds the named ones and those that references imply."""

    step_id: str
    task_type: str
    input_mapping: dict[str, Any] = field(default_factory=dict)
    output_mapping: dict[str, str] = field(default_factory=dict)
    dependencies: tuple[str, ...] = ()
    llm_config: dict[str, Any] | None = field(default=None, name="model_config")
    retry: RetryPolicy = RetryPolicy()
    timeout: float | None = None
    #: Told to the handler and to followers when it is passed; the step goes on until ``timeout``.
    soft_timeout: float | None = None
    queue: str = "cpu"
    #: An expression; where it does not hold the step is skipped.
    when: str | None = None
    #: Which ends of its dependencies let it run: ``all`` completed, ``any`` completed, or all ``ended``.
    join: str = "all"
    for_each: ForEach | None = None
    #: ``None``: its failure is the run's; else the failure is dealt with by these steps, or by nobody.
    on_failure: tuple[str, ...] | None = None
    #: The steps whose failure this one deals with.
    handles: tuple[str, ...] = ()
    #: The step that undoes this one where the run ends badly; and, of that one, what it undoes.
    compensate: str | None = None
    undoes: str | None = None
    approval: Approval | None = None
    signal: SignalWait | None = None
    #: A workflow that is run as this step, and the version (hash) that was pinned when the run began.
    workflow: str | None = None
    workflow_hash: str | None = None
    #: For how many seconds an equal step may take this one's result.
    cache_ttl: float | None = None
    limits: tuple[Limit, ...] = ()
    #: One of ``UNKNOWN_OUTCOMES``.
    on_unknown_outcome: str = "retry"
    #: What its calls may cost together: those of all attempts and items, and of the runs it is done as.
    budget: RunBudget | None = None

    @property
    def gated(self) -> bool:
        """Whether more is to be asked than that its dependencies have completed."""
        parked = self.approval is not None or self.signal is not None or self.workflow is not None
        asks = self.when is not None or self.join != "all" or bool(self.handles) or self.undoes is not None
        return parked or asks or self.for_each is not None
