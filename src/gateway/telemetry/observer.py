"""Tells metrics, and the stream of events, what became of calls. Never raises: the call is done."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gateway.clock import Clock, rfc3339
from gateway.errors import GatewayError
from gateway.events.event import EventDraft
from gateway.ledger.entry import BudgetAlert
from gateway.models.llm_models import Usage
from gateway.money import UNITS_PER_USD, usd
from gateway.registry.prompt_results import PromptResults
from gateway.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)


class CallObserver:
    """See ``serving.answer.Observer``."""

    def __init__(
        self,
        metrics: Metrics,
        add_events: Callable[[Sequence[EventDraft], int], None],
        clock: Clock,
        prompts: PromptResults,
    ) -> None:
        self._prompts = prompts
        self._metrics = metrics
        self._add_events = add_events
        self._clock = clock

    def call_ended(
        self, kind: str, model: str, provider: str, outcome: str, micros: int, cost: int, usage: Usage | None
    ) -> None:
        self._metrics.model_call(kind, model, provider, outcome, micros, cost / UNITS_PER_USD, usage)

    def noted(self, notes: Mapping[str, Any], outcome: str, micros: int, cost: int) -> None:
        if "prompt" in notes:
            self._prompts.call_ended(notes["prompt"], outcome, micros, cost)

    def alerts(self, principal: str, alerts: tuple[BudgetAlert, ...]) -> None:
        """Budgets passed a share of their limit by a call of ``principal``'s."""
        if not alerts:
            return
        drafts = []
        for alert in alerts:
            self._metrics.budget_alert(alert.scope)
            _log.warning(
                "budget %s of %s %s is at %s of its limit", alert.budget_id, alert.scope, alert.subject, alert.share
            )
            payload = {
                "budget_id": alert.budget_id,
                "scope": alert.scope,
                "subject": alert.subject,
                "window": alert.window,
                "share": alert.share,
                "limit_usd": usd(alert.limit),
                "spent_usd": usd(alert.spent),
                "resets_at": None if alert.resets_at is None else rfc3339(alert.resets_at),
                "soft": alert.soft,
            }
            drafts.append(EventDraft("budget_alert", principal, payload=payload))
        try:
            self._add_events(drafts, self._clock.now())
        except GatewayError as error:
            _log.warning("a budget alert could not be told: %s", error.message)
