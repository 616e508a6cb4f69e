"""Entries of calls with their corrections, and new corrections, in SQL; see ``ledger.rerating``."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import and_, func, or_, select
from sqlalchemy.exc import IntegrityError

from gateway.errors import Conflict
from gateway.ledger.entry import Entry
from gateway.ledger.rerating import Charged
from gateway.store.engine import Database
from gateway.store.many_rows import insert_rows
from gateway.store.postings import post
from gateway.store.tables import entry
from gateway.store.usage_rollups import add_usage


class SqlRerateStore:
    """See ``ledger.rerating.RerateStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def charged(
        self, since: int, until: int, team: str | None, model: str | None, after: tuple[int, str], limit: int
    ) -> list[Charged]:
        at, entry_id = after
        query = (
            select(entry)
            .where(entry.c.at >= since, entry.c.at < until, entry.c.kind.in_(("llm", "ml")))
            .where(entry.c.hold_id.is_not(None))  # what a script stated the cost of has no price of ours
            .where(or_(entry.c.at > at, and_(entry.c.at == at, entry.c.entry_id > entry_id)))
            .order_by(entry.c.at, entry.c.entry_id)
            .limit(limit)
        )
        for column, value in ((entry.c.team, team), (entry.c.model, model)):
            if value is not None:
                query = query.where(column == value)
        with self._database.read() as connection:
            found = [Entry(**row._mapping) for row in connection.execute(query)]
            sums = select(entry.c.hold_id, func.sum(entry.c.cost).label("cost"), func.count().label("number")).where(
                entry.c.kind == "correction", entry.c.hold_id.in_([item.hold_id for item in found])
            )
            made = {row.hold_id: row for row in connection.execute(sums.group_by(entry.c.hold_id))} if found else {}
        return [
            Charged(item, int(made[item.hold_id].cost), int(made[item.hold_id].number))
            if item.hold_id in made
            else Charged(item)
            for item in found
        ]

    def book(self, corrections: Sequence[Entry]) -> None:
        if not corrections:
            return
        try:
            with self._database.begin() as connection:
                rows = [msgspec.structs.astuple(made) for made in corrections]
                insert_rows(connection, entry, Entry.__struct_fields__, rows)
                post(connection, corrections)
                add_usage(connection, corrections)
        except IntegrityError as error:
            raise Conflict(
                "somebody else is booking corrections of the same calls", mend="look again with a dry run"
            ) from error
