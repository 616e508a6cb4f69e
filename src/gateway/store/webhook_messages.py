"""What is to be told by webhook, as rows of the outbox: written in the transaction of what they tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, bindparam, insert, select

from gateway.clock import rfc3339
from gateway.engine.rows import RunRow
from gateway.events.event import EventDraft
from gateway.ids import new_id
from gateway.store.codec import from_json, to_json
from gateway.store.prepared import Prepared
from gateway.store.tables import webhook_delivery, webhook_subscription


def listening() -> ColumnElement[bool]:
    """Subscriptions that are told something now: neither ended nor disabled."""
    return and_(webhook_subscription.c.active, webhook_subscription.c.disabled_at.is_(None))


class Listener(NamedTuple):
    """A subscription: what it is told, everything where nothing is named."""

    subscription_id: str
    url: str
    events: Sequence[str]


_OF_OWNER = Prepared(
    select(webhook_subscription.c.subscription_id, webhook_subscription.c.url, webhook_subscription.c.events).where(
        webhook_subscription.c.owner == bindparam("of_owner"), listening()
    )
)


def listeners_of(connection: Connection, owner: str) -> list[Listener]:
    """Who is told something of that owner's runs now."""
    found = _OF_OWNER.all(connection, of_owner=owner)
    return [Listener(row["subscription_id"], row["url"], from_json(row["events"]) or ()) for row in found]


def insert_deliveries(
    connection: Connection,
    listeners: Sequence[Listener],
    held: RunRow,
    event: str,
    task_id: str | None,
    body: dict[str, Any],
    now: int,
    default_url: str,
) -> None:
    """A delivery for each matching subscription of the ``listeners``, and one for the run's own address (else the
    default one) unless a subscription leads there. One row a target, in the transaction of the event: it is told
    once."""
    targets: dict[str, str | None] = {}
    for one in listeners:
        if not one.events or event in one.events:
            targets.setdefault(one.url, one.subscription_id)
    own = held.webhook_url or default_url
    if own:
        targets.setdefault(own, None)
    if not targets:
        return
    text = to_json(body)
    rows = [
        {
            **_pending(url, held.owner, event, text, subscription_id, now),
            "task_id": task_id,
            "run_id": held.run_id,
        }
        for url, subscription_id in targets.items()
    ]
    connection.execute(insert(webhook_delivery), rows)


def insert_notices(
    connection: Connection, draft: EventDraft, owners: Sequence[str], now: int, default_url: str
) -> None:
    """A delivery of an event that belongs to no run: to the default address, and for each subscription of
    these owners that names its type (those that take all events are told of runs alone)."""
    targets: dict[str, tuple[str, str | None]] = {default_url: (draft.owner, None)} if default_url else {}
    query = select(webhook_subscription).where(webhook_subscription.c.owner.in_(owners), listening())
    for row in connection.execute(query):
        if draft.type in from_json(row.events):
            targets.setdefault(row.url, (row.owner, row.subscription_id))
    if not targets:
        return
    text = to_json({"event": draft.type, "timestamp": rfc3339(now), **draft.payload})
    rows = [
        _pending(url, owner, draft.type, text, subscription_id, now)
        for url, (owner, subscription_id) in targets.items()
    ]
    connection.execute(insert(webhook_delivery), rows)


def _pending(url: str, owner: str, event: str, body: str, subscription_id: str | None, now: int) -> dict[str, Any]:
    """A delivery that nobody has tried yet."""
    return {
        "delivery_id": new_id("msg"),
        "url": url,
        "owner": owner,
        "event": event,
        "body": body,
        "state": "pending",
        "attempts": 0,
        "not_before": now,
        "created_at": now,
        "subscription_id": subscription_id,
    }
