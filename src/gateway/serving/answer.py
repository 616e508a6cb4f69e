"""What every model answer carries beside the answer, and who is told that a call ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from msgspec import Struct

from gateway.models.llm_models import Reply, Usage
from gateway.security.limits import LimitState


class AnswerMeta(Struct, frozen=True):
    """The facts of a call: who answered, what it cost (units), by which configuration."""

    request_id: str
    model: str
    provider: str
    upstream_model: str
    cost: int
    cache: str = "miss"
    #: When the answer was first given, in seconds of Unix time: a kept one says so again.
    created: int = 0
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
    """Is told of every ended call. Never raises."""

    def call_ended(
        self,
        kind: str,
        model: str,
        provider: str,
        outcome: str,
        micros: int,
        cost: int,
        usage: Usage | None,
        notes: Mapping[str, Any],
    ) -> None:
        """One call ended with ``outcome`` after ``micros``, costing ``cost`` units; ``notes`` is what its stages left
        in its record."""
        ...
