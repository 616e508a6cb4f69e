"""Tells metrics, and the stream of events, what became of calls. Never raises: the call is done."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gateway.clock import SECOND, Clock, rfc3339
from gateway.errors import GatewayError
from gateway.events.event import EventDraft
from gateway.ledger.anomaly import Anomaly
from gateway.ledger.entry import BudgetAlert
from gateway.models.llm_models import Usage
from gateway.money import UNITS_PER_USD, plain_usd, usd
from gateway.registry.prompt_results import PromptResults
from gateway.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)


class CallObserver:
    """See ``serving.answer.Observer``."""

    def __init__(
        self,
        metrics: Metrics,
        notify: Callable[[EventDraft, int, Sequence[str]], None],
        clock: Clock,
        prompts: PromptResults,
    ) -> None:
        self._prompts = prompts
        self._metrics = metrics
        self._notify = notify
        self._clock = clock

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
        self._metrics.model_call(kind, model, provider, outcome, micros, cost / UNITS_PER_USD, usage)
        if "prompt" in notes:
            self._prompts.call_ended(notes["prompt"], outcome, micros, cost)

    def alerts(self, principal: str, alerts: tuple[BudgetAlert, ...]) -> None:
        """Budgets passed a share of their limit by a call of ``principal``'s."""
        if not alerts:
            return
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
            self._told(EventDraft("budget_alert", principal, payload=payload), {principal, alert.created_by})

    def anomaly(self, found: Anomaly) -> None:
        """An hour's spending is far above the usual."""
        self._metrics.spend_anomaly(found.scope)
        spent, usual = plain_usd(found.spent), plain_usd(found.usual)
        _log.warning("%s %s has spent %s USD this hour; %s is usual", found.scope, found.subject, spent, usual)
        payload = {
            "scope": found.scope,
            "subject": found.subject,
            "hour": rfc3339(found.hour * 3600 * SECOND),
            "spent_usd": usd(found.spent),
            "usual_usd": usd(found.usual),
        }
        self._told(EventDraft("spend_anomaly", "gateway", payload=payload), {"gateway"})

    def _told(self, draft: EventDraft, owners: set[str]) -> None:
        try:
            self._notify(draft, self._clock.now(), sorted(owners - {""}))
        except GatewayError as error:
            _log.warning("%s could not be told: %s", draft.type, error.message)
