"""The money and the record of a request that went by a provider's batch API: charged at the batch price."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from msgspec.structs import replace

from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.ids import new_id
from gateway.ledger.intents import Ended, Released, done, unresolved
from gateway.ledger.outcome import outcome_of
from gateway.ledger.pricing import cost_llm
from gateway.ledger.savings import Saving, note_of
from gateway.models.batch_models import BatchApi, BatchResult
from gateway.models.llm_models import Reply, Usage
from gateway.money import plain_usd
from gateway.serving.answer import Observer
from gateway.serving.chat_order import estimated
from gateway.serving.tokens import flagged, guessed, said_by, said_nothing, untold
from gateway.store.provider_batch_money import SqlBatchMoney, opened_of
from gateway.store.provider_batch_store import Ask

_log = logging.getLogger(__name__)


class BatchSettling:
    """Ends requests: settles or releases, writes the record, keeps what the provider said. Doing it again
    for the same request changes nothing."""

    def __init__(self, money: SqlBatchMoney, clock: Clock, observer: Observer) -> None:
        self._money = money
        self._clock = clock
        self._observer = observer

    async def ended(self, ask: Ask, result: BatchResult, api: BatchApi, batch_id: str) -> None:
        """A request that the provider told the end of."""
        if not result.answer:
            await self.undone(ask, result.code, result.message, result.status)
            return
        try:
            reply = api.decode(result.answer)
        except GatewayError as error:  # it was worked on, whatever it says
            usage, model, outcome = estimated(ask.terms.input_estimate, 0), "", error.code
            kept: dict[str, Any] = {"error": _problem(error.code, error.message, 502)}
        else:
            usage, model, outcome = _used(ask, reply), reply.model, "cancelled" if ask.unwanted else "completed"
            kept = {"answer": result.answer.decode()}
        await asyncio.to_thread(self._settle, ask, usage, model, outcome, batch_id, kept)

    async def undone(self, ask: Ask, code: str, message: str, status: int = 0) -> None:
        """A request that the provider did no work for: what was set aside comes back."""
        await asyncio.to_thread(self._undo, ask, code, message, status)

    async def given_up(self, ask: Ask, message: str, batch_id: str | None) -> None:
        """A request that the provider may have done and will not tell of: charged in full, as ``unresolved``."""
        await asyncio.to_thread(self._give_up, ask, message, batch_id)

    def _settle(self, ask: Ask, usage: Usage, model: str, outcome: str, batch_id: str, kept: dict[str, Any]) -> None:
        terms = ask.terms
        cost, full = cost_llm(terms.card, usage), cost_llm(terms.full, usage)
        result, flags = outcome_of(cost, usage, 0, 0, outcome, upstream_model=model or None)
        if cost > ask.amount:
            result = replace(result, flags=(*flags, "over_reservation"))
            _log.warning("%s cost %s USD, %s USD were reserved", ask.hold_id, plain_usd(cost), plain_usd(ask.amount))
        way = {
            "way": "provider",
            "batch": batch_id,
            "full_price_usd": plain_usd(full),
            "saved_usd": plain_usd(full - cost),
        }
        saved = note_of([Saving("batch_discount", full - cost, usage.total_tokens)])
        end = Ended(ask.hold_id, self._clock.now(), new_id("entry"), result, {**terms.notes, "batch": way, **saved})
        ended = done(opened_of(ask), end, segment=0, position=(0, 0))
        if self._money.end(ask, ended, full_cost=full, **kept):
            self._tell(ask, outcome, cost, usage)

    def _undo(self, ask: Ask, code: str, message: str, status: int) -> None:
        end = Released(ask.hold_id, self._clock.now(), code, {**ask.terms.notes, "batch": {"way": "provider"}})
        ended = done(opened_of(ask), end, segment=0, position=(0, 0))
        if self._money.end(ask, ended, error=_problem(code, message, status)):
            self._tell(ask, code, 0, None)

    def _give_up(self, ask: Ask, message: str, batch_id: str | None) -> None:
        note = {**ask.terms.notes, "batch": {"way": "provider", "batch": batch_id}}
        ended = unresolved(opened_of(ask), new_id("entry"), self._clock.now(), note)
        if self._money.end(ask, ended, error=_problem("no_result", message, 0), full_cost=ask.amount):  # nothing saved
            self._tell(ask, "unresolved", ask.amount, None)

    def _tell(self, ask: Ask, outcome: str, cost: int, usage: Usage | None) -> None:
        charge, micros = ask.terms.charge, self._clock.now() - ask.created_at
        notes = ask.terms.notes
        self._observer.call_ended("llm", charge.model, charge.provider, outcome, micros, cost, usage, notes)


def _used(ask: Ask, reply: Reply) -> Usage:
    """What the provider told, where it can be; else what is known of it, and the rest estimated."""
    if not untold(reply.usage):
        return reply.usage
    told, said = flagged(reply.usage), said_by(reply)
    return reply.usage if said_nothing(said, told) else guessed(said, told, ask.terms.input_estimate)


def _problem(code: str, message: str, status: int) -> dict[str, Any]:
    return {"code": code, "message": message[:1000], "status": status}
