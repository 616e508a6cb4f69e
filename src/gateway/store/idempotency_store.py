"""Idempotency keys in SQL: the first request of a key is answered; the same again gets the same answer.

Whoever answers a key holds a lease on it and renews it; a process that dies lets it run out. The next
request then takes over under the same ``cause``, unless the ledger shows that the first one was charged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, Row, delete, select, update

from gateway.clock import SECOND, Clock
from gateway.errors import Conflict, IdempotencyMismatch, StillRunning
from gateway.ids import new_id
from gateway.store.charges import was_charged
from gateway.store.codec import from_json, to_json
from gateway.store.dialect import insert_into
from gateway.store.engine import Database
from gateway.store.tables import idempotency

#: How long an answer is kept, and how long a silent first request blocks its key.
KEEP_SECONDS = 24 * 3600
LEASE_SECONDS = 60


class KeptAnswer(Struct, frozen=True):
    """What the first request of a key was answered."""

    status: int
    headers: dict[str, str]
    body: str


class Turn(Struct, frozen=True):
    """The right and the duty to answer a key. ``cause`` is that of whatever is charged for it."""

    owner: str
    key: str
    cause: str
    token: int


class SqlIdempotencyStore:
    """Keeps keys by owner. ``catch_up`` brings into the ledger what calls have cost, before it is asked."""

    def __init__(self, database: Database, clock: Clock, catch_up: Callable[[], object] = lambda: None) -> None:
        self._database = database
        self._clock = clock
        self._catch_up = catch_up

    def begin(self, owner: str, key: str, body_hash: str) -> KeptAnswer | Turn:
        """A turn: this request is the first, go on. An answer: give that again.

        ``StillRunning`` while the first is, ``Conflict`` where it was charged and its answer is lost,
        ``IdempotencyMismatch`` for another body or path. ``body_hash`` is a hash, a space, and the route.
        """
        now = self._clock.now()
        if self._is_left(owner, key, now):
            self._catch_up()
        table = idempotency
        with self._database.begin() as connection:
            connection.execute(delete(table).where(_mine(owner, key), table.c.created_at < now - KEEP_SECONDS * SECOND))
            turn = Turn(owner, key, new_id("once"), 1)
            added = connection.execute(
                insert_into(connection, table)
                .values(
                    owner=owner,
                    key=key,
                    body_hash=body_hash,
                    state="running",
                    cause=turn.cause,
                    token=turn.token,
                    running_until=now + LEASE_SECONDS * SECOND,
                    created_at=now,
                )
                .on_conflict_do_nothing(index_elements=[table.c.owner, table.c.key])
                .returning(table.c.key)
            ).first()
            if added is not None:
                return turn
            row = connection.execute(select(table).where(_mine(owner, key)).with_for_update()).one()
            return self._again(connection, row, body_hash, now)

    def _is_left(self, owner: str, key: str, now: int) -> bool:
        """Whether a first request of the key ended without an answer."""
        table = idempotency
        left = (table.c.state == "running") & (table.c.running_until <= now)
        with self._database.read() as connection:
            return connection.execute(select(table.c.key).where(_mine(owner, key), left)).first() is not None

    def _again(self, connection: Connection, row: Row[Any], body_hash: str, now: int) -> KeptAnswer | Turn:
        left = row.state == "running" and row.running_until <= now
        charged = left and was_charged(connection, row.cause)
        same = _hash(row.body_hash) == _hash(body_hash)
        if not same and (not left or charged):
            raise other_use(row.body_hash, body_hash)
        if row.state == "done":
            return KeptAnswer(row.status, from_json(row.headers), row.answer)
        if not left:
            raise StillRunning(mend="try again shortly", retry_after=1.0)
        if charged:
            raise Conflict(
                "the first request of this Idempotency-Key was charged, and its answer is lost",
                mend="look at GET /usage/entries; to ask again, use a new key",
                cause=row.cause,
            )
        cause = row.cause if same and row.cause else new_id("once")
        turn = Turn(row.owner, row.key, cause, row.token + 1)
        connection.execute(
            update(idempotency)
            .where(_mine(row.owner, row.key))
            .values(body_hash=body_hash, cause=cause, token=turn.token, running_until=now + LEASE_SECONDS * SECOND)
        )
        return turn

    def renew(self, turn: Turn) -> bool:
        """Keeps the turn alive; false where another has taken it over."""
        return self._change(turn, running_until=self._clock.now() + LEASE_SECONDS * SECOND)

    def finish(self, turn: Turn, answer: KeptAnswer) -> bool:
        """Keeps the answer. One that is an error is kept only where it was charged: else the key is
        free for another try. True where it is kept."""
        if answer.status >= 400:
            self._catch_up()
        with self._database.begin() as connection:
            if answer.status >= 400 and not was_charged(connection, turn.cause):
                _set(connection, turn, running_until=0)
                return False
            kept = {"status": answer.status, "headers": to_json(answer.headers), "answer": answer.body}
            return _set(connection, turn, state="done", **kept)

    def abandon(self, turn: Turn) -> None:
        """The turn ended without an answer: the next request of the key takes over at once."""
        self._change(turn, running_until=0)

    def sweep(self) -> int:
        """Deletes answers past their time; how many."""
        oldest = self._clock.now() - KEEP_SECONDS * SECOND
        with self._database.begin() as connection:
            return connection.execute(delete(idempotency).where(idempotency.c.created_at < oldest)).rowcount

    def _change(self, turn: Turn, **values: Any) -> bool:
        with self._database.begin() as connection:
            return _set(connection, turn, **values)


def other_use(first: str, again: str) -> IdempotencyMismatch:
    """What to tell whoever uses a key for something else. Keys of before a route was kept with them have none."""
    route = first.partition(" ")[2]
    if route and route != again.partition(" ")[2]:
        return IdempotencyMismatch(
            f"this Idempotency-Key was used at another path: {route}", mend="use a new key here", first_used_at=route
        )
    return IdempotencyMismatch(mend="send the body of the first request, or a new key")


def _hash(kept: str) -> str:
    return kept.partition(" ")[0]


def _set(connection: Connection, turn: Turn, **values: Any) -> bool:
    """Only where the turn is still this one's."""
    mine = _mine(turn.owner, turn.key) & (idempotency.c.token == turn.token) & (idempotency.c.state == "running")
    return connection.execute(update(idempotency).where(mine).values(**values)).rowcount > 0


def _mine(owner: str, key: str) -> Any:
    return (idempotency.c.owner == owner) & (idempotency.c.key == key)
