"""What every model answer carries beside the answer, and who is told that a call ended."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from gateway.ledger.entry import BudgetAlert
from gateway.models.llm_models import Reply, Usage
from gateway.security.access import Caller
from gateway.security.limits import LimitState


class AnswerMeta(Struct, frozen=True):
    """The facts of a call: who answered, what it cost (units), by which configuration."""

    request_id: str
    model: str
    provider: str
    upstream_model: str
    cost: int
    cache: str = "miss"
    attempts: int = 1
    config_epoch: str = ""
    dropped_params: tuple[str, ...] = ()
    entry_id: str | None = None
    latency_micros: int = 0
    limits: LimitState | None = None
    flags: tuple[str, ...] = ()
    #: Tokens of the input that were saved; ``None`` where nobody asked.
    tokens_saved: int | None = None
    #: Why this deployment answered.
    route: str = ""
    #: What the guards found, such as ``pii=redacted(3),injection=flag``.
    guards: str = ""


class ChatAnswer(Struct, frozen=True):
    """A whole answer and its facts."""

    reply: Reply
    meta: AnswerMeta


class Observer(Protocol):
    """Is told of every ended call: metrics, audit, alerts. Never raises."""

    def call_ended(
        self, kind: str, model: str, provider: str, outcome: str, micros: int, cost: int, usage: Usage | None
    ) -> None:
        """One call ended with ``outcome`` after ``micros``, costing ``cost`` units."""
        ...

    def alerts(self, caller: Caller, alerts: tuple[BudgetAlert, ...]) -> None:
        """Budgets passed a share of their limit."""
        ...
