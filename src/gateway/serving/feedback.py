"""What callers say of answers: a score for a call of their own, from which ``auto`` learns."""

from __future__ import annotations

from gateway.clock import Clock
from gateway.errors import NotFound, ValidationFailed
from gateway.ledger.cost_tracker import Ledger
from gateway.ledger.entry import Entry, UsageFilter
from gateway.routing.learning import Feedback, FeedbackStore
from gateway.security.access import Caller
from gateway.security.audit import AuditLog

#: The most attempts and steps of one request that are looked through.
_MOST_ENTRIES = 100


class FeedbackService:
    """Takes feedback. Every method blocks on the database: call it from a thread."""

    def __init__(self, store: FeedbackStore, ledger: Ledger, audit: AuditLog, clock: Clock) -> None:
        self._store = store
        self._ledger = ledger
        self._audit = audit
        self._clock = clock

    def give(
        self,
        caller: Caller,
        *,
        score: float,
        comment: str = "",
        of_request: str = "",
        of_entry: str = "",
        request_id: str = "",
    ) -> Feedback:
        """Scores the call that answered ``of_request``, or that of the ledger entry ``of_entry``.

        ``NotFound`` for a call that is not the caller's own, or none. ``request_id`` is of this request.
        """
        entry = self._entry(caller, of_request, of_entry)
        given = Feedback(entry.entry_id, entry.model, caller.principal, score, comment, self._clock.now())
        self._audit.record(
            actor=caller.principal,
            action="feedback",
            resource=f"entry:{entry.entry_id}",
            outcome="given",
            request_id=request_id,
            detail={"model": entry.model, "score": score, "of_request": entry.request_id, "key_id": caller.key_id},
        )
        self._store.keep(given)
        return given

    def _entry(self, caller: Caller, of_request: str, of_entry: str) -> Entry:
        where = UsageFilter(
            principal=caller.principal, kind="llm", request_id=of_request or None, entry_id=of_entry or None
        )
        found, _ = self._ledger.entries(where, limit=_MOST_ENTRIES)
        answered = [entry for entry in found if entry.outcome == "completed"] or found
        if not answered:
            raise NotFound(
                "no call of a language model of yours has this id",
                mend="the id stands in x-request-id of its answer; entry ids are in GET /usage/entries",
            )
        if len({entry.task_id for entry in answered}) > 1:
            raise ValidationFailed(
                "this request made several calls", mend="name one of them by its entry_id", param="request_id"
            )
        return answered[0]
