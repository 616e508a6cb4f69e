"""The money and the record of one call: reserve before, settle or release after.

Nothing here waits for the database but ``open`` where this process's share of a budget is used up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

from msgspec import Struct

from gateway.clock import Clock
from gateway.errors import BudgetExceeded, GatewayError
from gateway.ledger.calls import CallLedger, OpenCall
from gateway.ledger.entry import Charge, Settled
from gateway.ledger.savings import Saving, note_of, saved_by_call
from gateway.models.call import CallContext
from gateway.models.llm_models import Usage
from gateway.registry.catalogue import Catalogue, ModelSpec
from gateway.security.access import Caller
from gateway.security.audit import AuditLog
from gateway.serving.answer import Observer
from gateway.serving.worked_out import Tariff

#: So long a call waits at its door for a budget's next window, and so long after it began.
LONGEST_QUEUE_SECONDS = 30.0
_AFTER_SECONDS = 0.05
#: A call about which nothing was found out.
NO_NOTES: Mapping[str, Any] = MappingProxyType({})


class Account(Struct):
    """An open call: what is set aside for it, and whom and what it is for."""

    caller: Caller
    call: CallContext
    spec: ModelSpec
    kind: Literal["llm", "ml"]
    open: OpenCall
    #: What goes into the record of the call beside the usual; its stages may still add to it.
    notes: Mapping[str, Any]
    #: Whether its entry keeps how long it took: it is priced by time, or runs on our own machine.
    timed: bool
    closed: bool = False
    #: Works out what the call saved, by its usage, cost and microseconds, beside what its provider's own cache did;
    #: see ``ledger.savings``.
    saved: Callable[[Usage, int, int], list[Saving]] | None = None
    #: What it is charged by, where it goes to a provider that may have a cache, or service tiers.
    tariff: Tariff | None = None

    def charged_by(self, usage: Usage) -> str:
        """The name of the card that this usage was charged by, where it is not that of the reservation."""
        if not usage.tier or self.tariff is None:
            return ""
        name = self.tariff.of(usage).name
        return "" if name == self.open.opened.card else name

    def told(self, usage: Usage, cost: int, micros: int) -> Mapping[str, Any]:
        """The record of the call, with what it saved."""
        if self.saved is not None:
            saved = self.saved(usage, cost, micros)
        elif self.tariff is not None and (usage.cached_tokens or usage.cache_write_tokens):
            saved = saved_by_call(self.tariff.of, None, 0, usage, cost, micros)
        else:
            return self.notes
        return {**self.notes, **note_of(saved)} if saved else self.notes


class Accounts:
    """Opens and closes the accounts of calls."""

    def __init__(self, calls: CallLedger, audit: AuditLog, clock: Clock, observer: Observer) -> None:
        self._calls = calls
        self._audit = audit
        self._observer = observer
        #: The time by which prices are looked up.
        self.now = clock.now

    async def open(
        self,
        caller: Caller,
        call: CallContext,
        catalogue: Catalogue,
        spec: ModelSpec,
        kind: Literal["llm", "ml"],
        worst_case: int,
        card: str,
        *,
        notes: Mapping[str, Any] = NO_NOTES,
        timed: bool = False,
    ) -> Account:
        """Reserves the worst case, durably, before anything is called. ``BudgetExceeded`` otherwise. A call whose
        price counts its seconds is ``timed``."""
        charge = Charge(
            call.cause,
            kind,
            caller.principal,
            spec.name,
            spec.provider,
            call.request_id,
            caller.key_id,
            caller.team,
            spec.upstream_model or spec.name,
            call.workflow_id,
            call.run_id,
            call.task_id,
            catalogue.epoch,
            caller.project,
            call.tags,
            call.within,
        )
        while (opened := self._calls.open(charge, worst_case, card, call.door)) is None:
            await self._make_room(charge, worst_case)
        if opened.strict:
            try:
                await self._calls.synced()
            except BaseException:
                self._calls.release(opened, "not_durable")
                raise
        return Account(caller, call, spec, kind, opened, notes, timed or kind == "ml")

    async def _make_room(self, charge: Charge, amount: int) -> None:
        """Returns when it is worth trying again. A call that is to wait for the next window of a budget does,
        where that is near; else it is refused, and told when."""
        try:
            await self._calls.make_room(charge, amount)
        except BudgetExceeded as refused:
            if refused.retry_after is None or refused.retry_after > LONGEST_QUEUE_SECONDS:
                raise
            await asyncio.sleep(refused.retry_after + _AFTER_SECONDS)

    def settle(
        self,
        account: Account,
        *,
        cost: int,
        micros: int,
        usage: Usage = Usage(),  # noqa: B008 - a frozen value
        rows: int = 0,
        outcome: str = "completed",
        upstream_model: str | None = None,
    ) -> Settled:
        """Charges the call; its record in the audit trail goes with its entry. Tells whoever counts."""
        account.closed = True
        settled = self._calls.settle(
            account.open,
            cost=cost,
            usage=usage,
            inference_micros=micros if account.timed else 0,
            rows=rows,
            outcome=outcome,
            upstream_model=upstream_model,
            card=account.charged_by(usage) if usage.tier else "",
            note=account.told(usage, cost, micros),
        )
        spec, cost = account.spec, settled.entry.cost
        self._observer.call_ended(account.kind, spec.name, spec.provider, outcome, micros, cost, usage, account.notes)
        return settled

    def release(self, account: Account, code: str, micros: int) -> None:
        """Gives the reservation back: nothing was done upstream."""
        account.closed = True
        self._calls.release(account.open, code, account.notes)
        spec = account.spec
        self._observer.call_ended(account.kind, spec.name, spec.provider, code, micros, 0, None, account.notes)

    def fail(self, account: Account, error: BaseException, micros: int, usage: Usage, cost: int) -> None:
        """Releases, or charges the estimated ``usage`` where the provider may have worked without telling."""
        code = error.code if isinstance(error, GatewayError) else "cancelled"
        answered = isinstance(error, GatewayError) and "upstream_status" in error.details
        reached = not isinstance(error, GatewayError) or bool(error.details.get("reached"))
        if answered or not reached:
            self.release(account, code, micros)
        else:
            self.settle(account, cost=cost, micros=micros, usage=usage, outcome=code)

    def refused(
        self, caller: Caller, call: CallContext, kind: str, model: str, code: str, notes: Mapping[str, Any] = NO_NOTES
    ) -> None:
        """Records a call that was refused before anything was reserved."""
        self._audit.record(
            actor=caller.principal,
            action=f"{kind}.call",
            resource=f"model:{model}",
            outcome=code,
            request_id=call.request_id,
            detail={**notes, "door": call.door},
        )
