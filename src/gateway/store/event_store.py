"""Events in SQL: numbered in commit order without gaps, so a reader that remembers a number misses nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, select

from gateway.events.event import Event, EventDraft
from gateway.store.artifact_uses import FOR_GOOD
from gateway.store.engine import Database
from gateway.store.large_values import fetch, keep
from gateway.store.many_rows import array
from gateway.store.step_statements import COUNT_AND_ADD_EVENTS, COUNT_ON, add_events
from gateway.store.tables import event, step
from gateway.store.webhook_messages import insert_notices

_COUNTER = "event"
#: Rows of one statement.
_AT_ONCE = 16


def insert_events(connection: Connection, drafts: Sequence[EventDraft], now: int) -> None:
    """Numbers and stores the drafts; call it last in a transaction."""
    events_of(connection, drafts, now)()


def events_of(connection: Connection, drafts: Sequence[EventDraft], now: int) -> Callable[[], None]:
    """What numbers and stores the drafts, by one statement on PostgreSQL; call it last in a transaction."""
    if not drafts:
        return lambda: None
    payloads = [_payload(connection, draft, now) for draft in drafts]
    if connection.dialect.name != "postgresql":
        return lambda: _add_some_at_once(connection, drafts, payloads, now)
    given: dict[str, Any] = {
        "name": _COUNTER,
        "count": len(drafts),
        "now": now,
        "types": array([draft.type for draft in drafts], text=True),
        "runs": array([draft.run_id for draft in drafts], text=True),
        "tasks": array([draft.task_id for draft in drafts], text=True),
        "owners": array([draft.owner for draft in drafts], text=True),
        "payloads": array(payloads, text=True),
    }
    return lambda: COUNT_AND_ADD_EVENTS.send(connection, **given)


def _add_some_at_once(
    connection: Connection, drafts: Sequence[EventDraft], payloads: Sequence[str | None], now: int
) -> None:
    counted = COUNT_ON.one(connection, name=_COUNTER, count=len(drafts))
    assert counted is not None  # noqa: S101 - the statement always returns the row
    first = int(counted["value"]) - len(drafts) + 1
    for at in range(0, len(drafts), _AT_ONCE):
        some = drafts[at : at + _AT_ONCE]
        values: dict[str, Any] = {}
        for place, draft in enumerate(some):
            values |= {
                f"id_{place}": first + at + place,
                f"type_{place}": draft.type,
                f"run_id_{place}": draft.run_id,
                f"task_id_{place}": draft.task_id,
                f"owner_{place}": draft.owner,
                f"payload_{place}": payloads[at + place],
                f"created_at_{place}": now,
            }
        add_events(len(some)).run(connection, **values)


def _payload(connection: Connection, draft: EventDraft, now: int) -> str | None:
    return keep(connection, draft.payload, now, draft.run_id or draft.task_id or FOR_GOOD)


def tell(
    connection: Connection, draft: EventDraft, now: int, owners: Sequence[str] = (), default_url: str = ""
) -> None:
    """Stores an event that belongs to no run, and has it delivered to whoever of ``owners`` (the event's own,
    where none are named) subscribed to it, and to the default address."""
    insert_notices(connection, draft, owners or (draft.owner,), now, default_url)
    insert_events(connection, (draft,), now)


class SqlEventStore:
    """Reads events; writes those that belong to no run. ``default_url`` is told of those that ``notify`` brings."""

    def __init__(self, database: Database, *, default_url: str = "") -> None:
        self._database = database
        self._default_url = default_url

    def notify(self, draft: EventDraft, now: int, owners: Sequence[str] = ()) -> None:
        """Stores an event in a transaction of its own, and has it delivered by webhook; see ``tell``."""
        with self._database.begin() as connection:
            tell(connection, draft, now, owners, self._default_url)

    def add(self, drafts: Sequence[EventDraft], now: int) -> None:
        """Stores events in a transaction of their own."""
        with self._database.begin() as connection:
            insert_events(connection, drafts, now)

    def after(
        self,
        after: int,
        *,
        owner: str | None = None,
        run_id: str | None = None,
        task_id: str | None = None,
        types: Sequence[str] = (),
        limit: int = 500,
    ) -> list[Event]:
        """Events with ids above ``after``, in order. ``owner`` ``None``: everybody's."""
        query = select(event).where(event.c.id > after).order_by(event.c.id).limit(limit)
        if owner is not None:
            query = query.where(event.c.owner == owner)
        if run_id is not None:
            query = query.where(event.c.run_id == run_id)
        if task_id is not None:
            of_run = select(step.c.run_id).where(step.c.task_id == task_id).scalar_subquery()
            query = query.where(event.c.run_id == of_run, event.c.task_id == task_id)  # there is an index of runs only
        if types:
            query = query.where(event.c.type.in_(types))
        with self._database.read() as connection:
            return [_event_of(row, connection) for row in connection.execute(query).all()]

    def stamp(self) -> tuple[int, int] | None:
        """Where it is another than before there may be new events; ``None``: only ``latest`` tells."""
        return self._database.stamp()

    def latest(self) -> int:
        """The newest id, 0 where there is none."""
        with self._database.read() as connection:
            return connection.scalar(select(func.max(event.c.id))) or 0


def _event_of(row: Row[Any], connection: Connection) -> Event:
    return Event(row.id, row.type, row.owner, row.run_id, row.task_id, fetch(connection, row.payload), row.created_at)
