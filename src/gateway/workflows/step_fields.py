"""The fields of a step written in Python, by the names that YAML and JSON have for them; see ``engine.step_fields``
for what each may hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, TypedDict

from gateway.workflows.reference import Reference, Step


class Named(Protocol):
    """A ``Workflow``."""

    workflow_id: str


class RetryFields(TypedDict, total=False):
    """How often, after which pauses in seconds, and after which error codes an attempt is repeated."""

    max_attempts: int
    backoff: float
    max_backoff: float
    on: Sequence[str]
    not_on: Sequence[str]


#: ``in`` is a reference to a list, or a list of values and references.
ForEachFields = TypedDict(
    "ForEachFields",
    {
        "in": Reference | Sequence[Any] | Mapping[str, Any] | str,
        "concurrency": int,
        "on_error": Literal["fail", "continue"],
        "max_errors": int,
    },
    total=False,
)


class ApprovalFields(TypedDict, total=False):
    """Who is asked, and what for; ``expires`` in seconds."""

    message: str
    roles: Sequence[str]
    principals: Sequence[str]
    not_owner: bool
    expires: float
    on_expiry: Literal["fail", "skip"]


class SignalFields(TypedDict, total=False):
    """The signal that is waited for, and how many seconds."""

    name: str
    timeout: float
    on_timeout: Literal["fail", "skip"]


class CacheFields(TypedDict):
    """For how many seconds an equal step may take the result."""

    ttl: float


class LimitFields(TypedDict, total=False):
    """At most ``concurrency`` at once, and ``rate`` begun each ``per`` seconds, of all steps with this key."""

    key: str
    concurrency: int
    rate: int
    per: float


class BudgetFields(TypedDict, total=False):
    """What the calls of the step may cost together, in USD, and what happens then."""

    limit_usd: str | int | float
    at_limit: Literal["stop", "degrade"]
    degrade_to: str


class StepFields(TypedDict, total=False):
    """What ``Workflow.step`` takes beside what the step does. ``None`` is as if the field were left out."""

    name: str | None
    description: str | None
    retry: RetryFields | None
    timeout: float | None
    soft_timeout: float | None
    when: str | None
    join: Literal["all", "any", "ended"] | None
    for_each: Reference | ForEachFields | Sequence[Any] | str | None
    on_failure: Step | str | Sequence[Step | str] | None
    compensate: Step | str | None
    approval: ApprovalFields | None
    signal: SignalFields | str | None
    workflow: Named | str | None
    cache: CacheFields | None
    limits: Sequence[LimitFields] | None
    budget: BudgetFields | None
    on_unknown_outcome: Literal["retry", "fail", "ask"] | None
