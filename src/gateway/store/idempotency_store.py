"""Idempotency keys in SQL: the first request of a key is answered; the same again gets the same answer."""

from __future__ import annotations

from msgspec import Struct
from sqlalchemy import delete, select, update

from gateway.clock import SECOND, Clock
from gateway.errors import Conflict, IdempotencyMismatch
from gateway.store.codec import from_json, to_json
from gateway.store.dialect import insert_into
from gateway.store.engine import Database
from gateway.store.tables import idempotency

#: How long an answer is kept, and how long an unanswered first request blocks its key.
KEEP_SECONDS = 24 * 3600
RUNNING_SECONDS = 600


class KeptAnswer(Struct, frozen=True):
    """What the first request of a key was answered."""

    status: int
    headers: dict[str, str]
    body: str


class SqlIdempotencyStore:
    """Keeps keys by owner."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def begin(self, owner: str, key: str, body_hash: str) -> KeptAnswer | None:
        """``None``: this request is the first, go on. An answer: give that again.

        ``Conflict`` while the first is still running, ``IdempotencyMismatch`` for another body.
        """
        now = self._clock.now()
        table = idempotency
        mine = (table.c.owner == owner) & (table.c.key == key)
        with self._database.begin() as connection:
            connection.execute(
                delete(table).where(
                    mine,
                    (table.c.created_at < now - KEEP_SECONDS * SECOND)
                    | ((table.c.state == "running") & (table.c.created_at < now - RUNNING_SECONDS * SECOND)),
                )
            )
            added = connection.execute(
                insert_into(connection, table)
                .values(owner=owner, key=key, body_hash=body_hash, state="running", created_at=now)
                .on_conflict_do_nothing(index_elements=[table.c.owner, table.c.key])
                .returning(table.c.key)
            ).first()
            if added is not None:
                return None
            row = connection.execute(select(table).where(mine)).one()
        if row.body_hash != body_hash:
            raise IdempotencyMismatch(mend="send the body of the first request, or a new key")
        if row.state == "running":
            raise Conflict(
                "a request with this Idempotency-Key is still running", mend="try again shortly", retry_after=1.0
            )
        return KeptAnswer(row.status, from_json(row.headers), row.answer)

    def finish(self, owner: str, key: str, answer: KeptAnswer) -> None:
        """Keeps the answer of the first request."""
        with self._database.begin() as connection:
            connection.execute(
                update(idempotency)
                .where(idempotency.c.owner == owner, idempotency.c.key == key)
                .values(state="done", status=answer.status, headers=to_json(answer.headers), answer=answer.body)
            )

    def forget(self, owner: str, key: str) -> None:
        """The first request did nothing: the key is free again."""
        with self._database.begin() as connection:
            connection.execute(delete(idempotency).where(idempotency.c.owner == owner, idempotency.c.key == key))
