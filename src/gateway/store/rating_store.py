"""Feedback by who gave it on what: joined with the entries of the calls that it is about."""

from __future__ import annotations

from sqlalchemy import func, select

from gateway.ledger.advice import Rated
from gateway.ledger.usage_ask import UsageAsk
from gateway.ledger.usage_time import Reading
from gateway.store.engine import Database
from gateway.store.learning_tables import feedback
from gateway.store.tables import entry
from gateway.store.usage_store import conditions_of


class SqlRatingStore:
    """See ``serving.saving_report.Ratings``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ratings(self, ask: UsageAsk) -> list[Rated]:
        groups = (entry.c.model, func.coalesce(entry.c.team, ""), func.coalesce(entry.c.workflow_id, ""))
        score = feedback.c.score
        query = (
            select(*groups, func.count(), func.sum(score), func.sum(score * score))
            .join(feedback, feedback.c.entry_id == entry.c.entry_id)
            .where(*conditions_of(ask, Reading("entry", ()), entry.c))
        )
        if ask.since is not None:
            query = query.where(entry.c.at >= ask.since)
        if ask.until is not None:
            query = query.where(entry.c.at < ask.until)
        with self._database.read() as connection:
            found = connection.execute(query.group_by(entry.c.model, entry.c.team, entry.c.workflow_id)).all()
        return sorted((Rated(*row) for row in found), key=lambda item: (item.model, item.team, item.workflow_id))
