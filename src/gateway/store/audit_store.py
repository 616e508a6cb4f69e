"""The audit chain in SQL, and its witness in files.

The row of the counter ``audit`` is locked while a batch is appended, so numbers, links and commits
have one order in all processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, select

from gateway.security.audit import GENESIS, AuditDraft, AuditFilter, AuditRecord, link
from gateway.store.engine import Database, next_value
from gateway.store.many_rows import insert_rows
from gateway.store.tables import audit, counter

_COUNTER = "audit"
_BATCH = 1000


class SqlAuditSink:
    """Keeps the chain; see ``security.audit.AuditSink``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, drafts: Sequence[AuditDraft]) -> list[AuditRecord]:
        with self._database.begin() as connection:
            return append_records(connection, drafts)

    def chain(self) -> Iterator[AuditRecord]:
        query = select(audit).order_by(audit.c.seq).execution_options(yield_per=_BATCH)
        with self._database.read() as connection:
            for row in connection.execute(query):
                yield _record_of(row)

    def count(self) -> int:
        with self._database.read() as connection:
            return connection.scalar(select(counter.c.value).where(counter.c.name == _COUNTER)) or 0

    def find(self, where: AuditFilter, *, before: int | None, limit: int) -> list[AuditRecord]:
        query = select(audit).order_by(audit.c.seq.desc()).limit(limit)
        if before is not None:
            query = query.where(audit.c.seq < before)
        for name in ("actor", "action", "resource", "request_id"):
            if (value := getattr(where, name)) is not None:
                query = query.where(audit.c[name] == value)
        if where.since is not None:
            query = query.where(audit.c.at >= where.since)
        if where.until is not None:
            query = query.where(audit.c.at < where.until)
        with self._database.read() as connection:
            return [_record_of(row) for row in connection.execute(query)]


def append_records(connection: Connection, drafts: Sequence[AuditDraft]) -> list[AuditRecord]:
    """Adds the drafts to the end of the chain; the chain is locked until the transaction ends."""
    last = next_value(connection, _COUNTER, len(drafts))
    first = last - len(drafts) + 1
    previous = connection.scalar(select(audit.c.hash).where(audit.c.seq == first - 1)) or GENESIS
    records: list[AuditRecord] = []
    for seq, draft in enumerate(drafts, first):
        record = link(previous, seq, draft)
        records.append(record)
        previous = record.hash
    rows = [msgspec.structs.astuple(record) for record in records]
    insert_rows(connection, audit, AuditRecord.__struct_fields__, rows)
    return records


def _record_of(row: Row[Any]) -> AuditRecord:
    return AuditRecord(**row._mapping)
