"""Requests for providers' batch APIs in SQL: who asked, which batch each went in, and what it gave.

Requests come and end together with their money: see ``provider_batch_money``.
Couriers of any number of processes share the work: a part is worked on by whoever holds its lease.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Row, and_, delete, func, insert, or_, select, update

from gateway.clock import SECOND, Clock
from gateway.ids import new_id
from gateway.ledger.entry import Charge
from gateway.ledger.price_card import PriceCard
from gateway.store.batch_store import ENDED as BATCH_ENDED
from gateway.store.codec import from_json
from gateway.store.engine import Database
from gateway.store.tables import batch, batch_ask, batch_part, step

#: The most requests and bytes of one part: less than any provider allows, and what a process can hold.
MOST_REQUESTS, MOST_BYTES = 10_000, 32 * 1024 * 1024
#: How the causes of what goes by a provider's batch API end: if it is refused there, the usual path has another.
CAUSE = ":provider"
_PAGE = 500
#: How long what has ended is kept beyond its owner, in microseconds.
_KEPT = 30 * 86_400 * SECOND
_STEP_ENDED = ("completed", "failed", "cancelled", "skipped")


class Terms(Struct, frozen=True):
    """Whom a request is for, and what it costs in a batch and what it would alone."""

    charge: Charge
    door: str
    card: PriceCard
    full: PriceCard
    input_estimate: int
    notes: dict[str, Any] = {}


class Ask(Struct, frozen=True):
    """A request. ``owner`` is a batch of ours or a task; those of one ``gathering`` may go together. Its worst
    case is ``amount`` (units), set aside in ``budgets`` (ids) until it is done."""

    ask_id: str
    owner: str
    line: int
    gathering: str
    provider: str
    model: str
    hold_id: str
    amount: int
    terms: Terms
    body: str
    state: str = "offered"
    part_id: str | None = None
    unwanted: bool = False
    answer: str | None = None
    error: dict[str, Any] | None = None
    cost: int = 0
    full_cost: int = 0
    created_at: int = 0
    budgets: tuple[str, ...] = ()


class Part(Struct, frozen=True):
    """A batch at a provider; times in microseconds."""

    part_id: str
    provider: str
    model: str
    state: str
    requests: int
    upstream_id: str | None
    upstream_status: str
    cancel_asked: bool
    problem: str
    created_at: int
    submitted_at: int | None


class Totals(Struct, frozen=True):
    """The requests of one owner: how many are not done yet, and what the done ones cost and would have cost."""

    requests: int
    open: int
    cost: int
    full_cost: int


class SqlProviderBatchStore:
    """Keeps requests and parts. Every method blocks."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    # -- for who asks -----------------------------------------------------------------------------

    def seal(self, owner: str) -> None:
        """No further request of the owner comes: they may go."""
        with self._database.begin() as connection:
            where = (batch_ask.c.owner == owner, batch_ask.c.state == "offered")
            connection.execute(update(batch_ask).where(*where).values(state="ready", created_at=self._clock.now()))

    def lines(self, owner: str) -> set[int]:
        """Lines of the owner that are kept here, done or not."""
        with self._database.read() as connection:
            return set(connection.scalars(select(batch_ask.c.line).where(batch_ask.c.owner == owner)))

    def ask(self, owner: str, line: int) -> Ask | None:
        """The request of that line."""
        where = and_(batch_ask.c.owner == owner, batch_ask.c.line == line)
        with self._database.read() as connection:
            row = connection.execute(select(batch_ask).where(where)).one_or_none()
        return None if row is None else _ask_of(row)

    def done(self, owner: str, after: int, limit: int) -> list[Ask]:
        """Requests that are done, by line, after the line ``after``."""
        where = (batch_ask.c.owner == owner, batch_ask.c.state == "done", batch_ask.c.line > after)
        with self._database.read() as connection:
            rows = connection.execute(select(batch_ask).where(*where).order_by(batch_ask.c.line).limit(limit))
            return [_ask_of(row) for row in rows]

    def totals(self, owner: str) -> Totals:
        """Counts and costs of the owner's requests."""
        done = batch_ask.c.state == "done"
        query = select(
            func.count(),
            func.count().filter(~done),
            func.coalesce(func.sum(batch_ask.c.cost), 0),
            func.coalesce(func.sum(batch_ask.c.full_cost), 0),
        ).where(batch_ask.c.owner == owner)
        with self._database.read() as connection:
            return Totals(*(int(value) for value in connection.execute(query).one()))

    def parts(self, owner: str) -> list[Part]:
        """The batches at providers that the owner's requests went in."""
        mine = select(batch_ask.c.part_id).where(batch_ask.c.owner == owner).distinct()
        query = select(batch_part).where(batch_part.c.part_id.in_(mine)).order_by(batch_part.c.part_id)
        with self._database.read() as connection:
            return [_part_of(row) for row in connection.execute(query)]

    def unwant(self, owner: str) -> None:
        """Nobody waits for the owner's requests any more: their batches are called off."""
        with self._database.begin() as connection:
            self._unwant(connection, batch_ask.c.owner == owner)

    def drop(self, owner: str, line: int) -> None:
        """Forgets a request that is done, so that it can be asked anew."""
        where = (batch_ask.c.owner == owner, batch_ask.c.line == line, batch_ask.c.state == "done")
        with self._database.begin() as connection:
            connection.execute(delete(batch_ask).where(*where))

    # -- for couriers -----------------------------------------------------------------------------

    def gather(self, ripe: int) -> int:
        """Puts ready requests into new parts: those whose oldest is from before ``ripe`` (microseconds), and
        full ones. How many parts."""
        made = 0
        names = (batch_ask.c.gathering, batch_ask.c.provider, batch_ask.c.model)
        free = and_(batch_ask.c.state == "ready", batch_ask.c.unwanted.is_(False))
        with self._database.read() as connection:
            if connection.execute(select(batch_ask.c.ask_id).where(free).limit(1)).first() is None:
                return 0
        with self._database.begin() as connection:
            groups = connection.execute(
                select(*names)
                .where(free)
                .group_by(*names)
                .having(or_(func.min(batch_ask.c.created_at) <= ripe, func.count() >= MOST_REQUESTS))
            ).all()
            for group in groups:
                where = and_(free, *(column == value for column, value in zip(names, group, strict=True)))
                while chosen := _fitting(connection, where):
                    made += 1
                    self._put_together(connection, group.provider, group.model, chosen)
        return made

    def claim(self, holder: str, lease_until: int) -> Part | None:
        """A part that is due and nobody works on; the lease is the holder's then."""
        now = self._clock.now()
        due = and_(batch_part.c.state != "ended", batch_part.c.next_look <= now, batch_part.c.lease_until < now)
        first = select(batch_part.c.part_id).where(due).order_by(batch_part.c.next_look).limit(1)
        with self._database.read() as connection:
            if connection.scalar(first) is None:
                return None
        with self._database.begin() as connection:
            name = connection.scalar(first.with_for_update(skip_locked=True))
            taken = connection.execute(
                update(batch_part)
                .where(batch_part.c.part_id == name, due)
                .values(holder=holder, lease_until=lease_until)
                .returning(batch_part)
            ).one_or_none()
        return None if taken is None else _part_of(taken)

    def save(self, part_id: str, holder: str, **values: Any) -> bool:
        """Changes the part; false where the lease is somebody else's by now."""
        with self._database.begin() as connection:
            moved = connection.execute(
                update(batch_part)
                .where(batch_part.c.part_id == part_id, batch_part.c.holder == holder)
                .values(values)
                .returning(batch_part.c.part_id)
            )
            return moved.first() is not None

    def state(self, part_id: str) -> str:
        """How far the part is."""
        with self._database.read() as connection:
            return str(connection.scalar(select(batch_part.c.state).where(batch_part.c.part_id == part_id)))

    def asks(self, part_id: str, *, undone: bool = False) -> Iterator[Ask]:
        """The requests of a part, in the order of their names."""
        last = ""
        while True:
            where = [batch_ask.c.part_id == part_id, batch_ask.c.ask_id > last]
            if undone:
                where.append(batch_ask.c.state != "done")
            query = select(batch_ask).where(*where).order_by(batch_ask.c.ask_id).limit(_PAGE)
            with self._database.read() as connection:
                page = [_ask_of(row) for row in connection.execute(query)]
            yield from page
            if len(page) < _PAGE:
                return
            last = page[-1].ask_id

    def named(self, ask_id: str) -> Ask | None:
        """The request of that name."""
        with self._database.read() as connection:
            row = connection.execute(select(batch_ask).where(batch_ask.c.ask_id == ask_id)).one_or_none()
        return None if row is None else _ask_of(row)

    def wanted(self, part_id: str) -> bool:
        """Whether anybody still waits for a request of the part."""
        where = (batch_ask.c.part_id == part_id, batch_ask.c.unwanted.is_(False), batch_ask.c.state != "done")
        with self._database.read() as connection:
            return connection.execute(select(batch_ask.c.ask_id).where(*where).limit(1)).first() is not None

    def loose(self, limit: int = _PAGE) -> list[Ask]:
        """Requests that nobody wants and that went nowhere yet."""
        where = (batch_ask.c.state.in_(("offered", "ready")), batch_ask.c.unwanted.is_(True))
        with self._database.read() as connection:
            return [_ask_of(row) for row in connection.execute(select(batch_ask).where(*where).limit(limit))]

    def taken(self, provider: str) -> frozenset[str]:
        """The ids of every batch of ours at the provider."""
        query = select(batch_part.c.upstream_id).where(batch_part.c.provider == provider)
        with self._database.read() as connection:
            return frozenset(name for name in connection.scalars(query) if name)

    def sweep(self) -> int:
        """Calls off what nobody waits for any more, and forgets what ended long ago; how many requests."""
        over = or_(
            batch_ask.c.owner.in_(select(batch.c.batch_id).where(batch.c.status.in_(BATCH_ENDED))),
            batch_ask.c.owner.in_(select(step.c.task_id).where(step.c.state.in_(_STEP_ENDED))),
        )
        live = and_(batch_ask.c.state != "done", batch_ask.c.unwanted.is_(False))
        past = self._clock.now() - _KEPT
        gone = and_(batch_ask.c.state == "done", batch_ask.c.ended_at < past)
        with self._database.read() as connection:
            unwanted = connection.execute(select(batch_ask.c.ask_id).where(live, over).limit(1)).first()
            old = connection.execute(select(batch_ask.c.ask_id).where(gone).limit(1)).first()
        if unwanted is None and old is None:
            return 0
        with self._database.begin() as connection:
            changed = self._unwant(connection, over)
            connection.execute(delete(batch_ask).where(gone, over))
            connection.execute(delete(batch_part).where(batch_part.c.state == "ended", batch_part.c.ended_at < past))
        return changed

    @staticmethod
    def _unwant(connection: Connection, which: Any) -> int:
        """Marks the requests, and has their parts looked at soon."""
        live = and_(batch_ask.c.state != "done", batch_ask.c.unwanted.is_(False), which)
        parts = set(connection.scalars(select(batch_ask.c.part_id).where(live)))
        changed = connection.execute(
            update(batch_ask).where(live).values(unwanted=True).returning(batch_ask.c.ask_id)
        ).all()
        named = [name for name in parts if name]
        if named:
            connection.execute(update(batch_part).where(batch_part.c.part_id.in_(named)).values(next_look=0))
        return len(changed)

    def _put_together(self, connection: Connection, provider: str, model: str, asks: Sequence[str]) -> None:
        part_id = new_id("part")
        values = {
            "part_id": part_id,
            "provider": provider,
            "model": model,
            "state": "new",
            "requests": len(asks),
            "upstream_status": "",
            "cancel_asked": False,
            "problem": "",
            "next_look": 0,
            "holder": "",
            "lease_until": 0,
            "created_at": self._clock.now(),
        }
        connection.execute(insert(batch_part).values(values))
        for at in range(0, len(asks), _PAGE):
            some = batch_ask.c.ask_id.in_(asks[at : at + _PAGE])
            connection.execute(update(batch_ask).where(some).values(state="sent", part_id=part_id))


def _fitting(connection: Connection, where: Any) -> list[str]:
    """As many requests as go in one part, oldest first."""
    query = select(batch_ask.c.ask_id, batch_ask.c.size).where(where).order_by(batch_ask.c.ask_id)
    chosen: list[str] = []
    size = 0
    for row in connection.execute(query.limit(MOST_REQUESTS).with_for_update(skip_locked=True)):
        size += row.size
        if chosen and size > MOST_BYTES:
            break
        chosen.append(row.ask_id)
    return chosen


def _ask_of(row: Row[Any]) -> Ask:
    values = {name: getattr(row, name) for name in Ask.__struct_fields__}
    values["terms"] = msgspec.json.decode(values["terms"], type=Terms)
    values["error"] = from_json(values["error"])
    values["budgets"] = msgspec.json.decode(values["budgets"], type=tuple[str, ...])
    return Ask(**values)


def _part_of(row: Row[Any]) -> Part:
    return Part(**{name: getattr(row, name) for name in Part.__struct_fields__})
