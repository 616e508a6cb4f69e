"""The money and the record of a request that went by a provider's batch API: charged at the batch price."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.ledger.cost_tracker import Ledger
from gateway.ledger.entry import BudgetAlert, Hold
from gateway.ledger.pricing import cost_llm
from gateway.models.batch_models import BatchApi, BatchResult
from gateway.models.llm_models import Usage
from gateway.money import plain, usd
from gateway.security.audit import AuditLog
from gateway.serving.answer import Observer
from gateway.serving.chat_order import estimated
from gateway.store.provider_batch_store import Ask, SqlProviderBatchStore


class BatchSettling:
    """Ends requests: settles or releases, writes the record, keeps what the provider said. Doing it again
    for the same request charges nothing twice."""

    def __init__(
        self,
        store: SqlProviderBatchStore,
        ledger: Ledger,
        audit: AuditLog,
        clock: Clock,
        observer: Observer,
        alerts: Callable[[str, tuple[BudgetAlert, ...]], None],
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._audit = audit
        self._clock = clock
        self._observer = observer
        self._alerts = alerts

    async def ended(self, ask: Ask, result: BatchResult, api: BatchApi, batch_id: str) -> None:
        """A request that the provider told the end of."""
        if not result.answer:
            await self.undone(ask, result.code, result.message, result.status)
            return
        try:
            reply = api.decode(result.answer)
        except GatewayError as error:  # it was worked on, whatever it says
            usage, model, outcome = estimated(ask.terms.input_estimate, 0), "", error.code
            kept: dict[str, Any] = {"error": {"code": error.code, "message": error.message, "status": 502}}
        else:
            usage, model, outcome = reply.usage, reply.model, "cancelled" if ask.unwanted else "completed"
            if usage.basis == "none":
                usage = estimated(ask.terms.input_estimate, sum(len(choice.text()) for choice in reply.choices))
            kept = {"answer": result.answer.decode()}
        await asyncio.to_thread(self._settle, ask, usage, model, outcome, batch_id, kept)

    async def undone(self, ask: Ask, code: str, message: str, status: int = 0) -> None:
        """A request that the provider did no work for: what was set aside comes back."""
        await asyncio.to_thread(self._undo, ask, code, message, status)

    def _settle(self, ask: Ask, usage: Usage, model: str, outcome: str, batch_id: str, kept: dict[str, Any]) -> None:
        terms = ask.terms
        cost, full = cost_llm(terms.card, usage), cost_llm(terms.full, usage)
        hold = Hold(ask.hold_id, terms.charge.cause, ask.amount, terms.card.name)
        settled = self._ledger.settle(hold, cost=cost, usage=usage, outcome=outcome, upstream_model=model or None)
        way = {
            "way": "provider",
            "batch": batch_id,
            "full_price_usd": plain(usd(full)),
            "saved_usd": plain(usd(full - cost)),
        }
        detail = {"entry_id": settled.entry.entry_id, "cost_usd": plain(usd(settled.entry.cost)), "batch": way}
        self._record(ask, outcome, detail)
        self._store.end(ask.ask_id, cost=settled.entry.cost, full_cost=full, **kept)
        if not settled.repeated:
            self._alerts(terms.charge.principal, settled.alerts)
            self._tell(ask, outcome, settled.entry.cost, usage)

    def _undo(self, ask: Ask, code: str, message: str, status: int) -> None:
        charge = ask.terms.charge
        self._ledger.release(Hold(ask.hold_id, charge.cause, ask.amount, ask.terms.card.name), code)
        self._record(ask, code, {"cost_usd": "0", "batch": {"way": "provider"}})
        self._store.end(ask.ask_id, error={"code": code, "message": message[:1000], "status": status})
        self._tell(ask, code, 0, None)

    def _record(self, ask: Ask, outcome: str, detail: dict[str, Any]) -> None:
        terms, charge = ask.terms, ask.terms.charge
        self._audit.record(
            actor=charge.principal,
            action="llm.call",
            resource=f"model:{charge.model}",
            outcome=outcome,
            request_id=charge.request_id,
            detail={
                **terms.notes,
                **detail,
                "door": terms.door,
                "key_id": charge.key_id,
                "task_id": charge.task_id,
            },
        )

    def _tell(self, ask: Ask, outcome: str, cost: int, usage: Usage | None) -> None:
        charge, micros = ask.terms.charge, self._clock.now() - ask.created_at
        self._observer.call_ended("llm", charge.model, charge.provider, outcome, micros, cost, usage)
        if ask.terms.notes:
            self._observer.noted(ask.terms.notes, outcome, micros, cost)
