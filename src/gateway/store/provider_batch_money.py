"""The money of requests that are with a provider's batch API for hours, and outlive every process meanwhile.

A journal of calls is one process's. Here the intent is the request's own row: it comes, with its worst case set
aside in the name of its owner, in one transaction, before anything is handed over; and it ends in one, with its
entry, its record and what is left of its share. So whoever dies, a request is charged once, and as long as it is
not done its money is set aside: no sweep takes it for the share of a dead process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection, update

from gateway.clock import SECOND, Clock
from gateway.errors import BudgetExceeded
from gateway.ledger.budgets import subjects_of
from gateway.ledger.entry import BudgetAlert
from gateway.ledger.intents import Done, Opened
from gateway.ledger.outcome import check_amount
from gateway.security.audit import AuditRecord, Witness, checkpoint_of
from gateway.store.budget_leases import ask_for_more, batch_holder, forget_empty, return_shares, set_aside
from gateway.store.call_entries import Alerts, enter_without_journal
from gateway.store.codec import to_json_or_none
from gateway.store.dialect import insert_into
from gateway.store.engine import Database
from gateway.store.provider_batch_store import Ask
from gateway.store.tables import batch_ask

_log = logging.getLogger(__name__)
#: By then every request has ended: a day to be gathered in, two until its part is given up, and one to spare.
#: What stands longer is reported by the ledger's check.
SHARE_SECONDS = 4 * 86_400


class SqlBatchMoney:
    """Keeps requests with their money, and ends them with it. Every method blocks. ``alerted`` and ``witness``
    are told after the commit; ``budgets`` false sets nothing aside and refuses nothing."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        witness: Witness,
        budgets: bool,
        threshold: int | None,
        alerted: Callable[[str, tuple[BudgetAlert, ...]], None],
    ) -> None:
        self._database = database
        self._clock = clock
        self._witness = witness
        self._budgets = budgets
        self._threshold = threshold
        self._alerted = alerted

    def keep(self, ask: Ask) -> None:
        """Keeps a request and sets its worst case aside, both or neither; one of the same owner and line that is
        there stays as it is. ``BudgetExceeded`` where a budget has not so much left; where more may be
        approved, its owner is asked for it."""
        check_amount(ask.amount)
        now = self._clock.now()
        try:
            self._keep(ask, now)
        except BudgetExceeded as refused:
            ask_for_more(self._database, refused, ask.amount, now)
            raise

    def _keep(self, ask: Ask, now: int) -> None:
        with self._database.begin() as connection:
            if not _insert(connection, ask, now) or not self._budgets:
                return
            subjects, until = subjects_of(ask.terms.charge), now + SHARE_SECONDS * SECOND
            held = set_aside(connection, batch_holder(ask.owner), subjects, ask.amount, now, until)
            if held:
                connection.execute(
                    update(batch_ask)
                    .where(batch_ask.c.ask_id == ask.ask_id)
                    .values(budgets=msgspec.json.encode(held).decode())
                )

    def end(
        self,
        ask: Ask,
        ended: Done,
        *,
        answer: str | None = None,
        error: Mapping[str, Any] | None = None,
        full_cost: int = 0,
    ) -> bool:
        """Ends a request as ``ended`` (of ``opened_of``) says: what it cost is spent, the rest of what was set
        aside goes back. False, and nothing, where it was done before: the first word counts."""
        cost = 0 if ended.entry is None else ended.entry.cost
        values = {
            "state": "done",
            "answer": answer,
            "error": to_json_or_none(error),
            "cost": cost,
            "full_cost": full_cost,
            "body": "",
            "ended_at": ended.end.at,
        }
        where = (batch_ask.c.ask_id == ask.ask_id, batch_ask.c.state != "done")
        with self._database.begin() as connection:
            moved = connection.execute(update(batch_ask).where(*where).values(values).returning(batch_ask.c.ask_id))
            if moved.first() is None:
                return False
            holder = batch_holder(ask.owner)
            # First: the audit trail, which the entry goes with, is locked last everywhere.
            return_shares(connection, holder, dict.fromkeys(ask.budgets, max(ask.amount - cost, 0)))
            alerts, record = enter_without_journal(connection, holder, [ended], self._threshold)
            forget_empty(connection, holder, ask.budgets)
        self._tell(alerts, record)
        return True

    def _tell(self, alerts: Alerts, record: AuditRecord | None) -> None:
        if record is not None:
            try:
                self._witness.note(checkpoint_of(record))
            except OSError as error:
                _log.error("the audit trail's checkpoint could not be kept: %s", error)
        for principal, told in alerts:
            self._alerted(principal, told)


def opened_of(ask: Ask) -> Opened:
    """The intent that a request's row is."""
    terms = ask.terms
    return Opened(ask.hold_id, ask.created_at, ask.amount, terms.card.name, terms.door, terms.charge, ask.budgets)


def _insert(connection: Connection, ask: Ask, now: int) -> bool:
    """Whether it is new."""
    values = {
        **{name: getattr(ask, name) for name in Ask.__struct_fields__},
        "terms": msgspec.json.encode(ask.terms).decode(),
        "budgets": "[]",
        "error": None,
        "size": len(ask.body.encode()),
        "created_at": now,
        "ended_at": None,
    }
    added = connection.execute(
        insert_into(connection, batch_ask)
        .values(values)
        .on_conflict_do_nothing(index_elements=[batch_ask.c.owner, batch_ask.c.line])
        .returning(batch_ask.c.ask_id)
    )
    return added.first() is not None
