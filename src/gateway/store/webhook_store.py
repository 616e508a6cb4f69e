"""The webhook outbox and subscriptions in SQL.

A delivery is written in the transaction of the event it tells (``webhook_messages``); it is claimed with a lease, so
that several orchestrators never send the same try at once, and keeps one id over all tries.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from gateway.events.event import EventDraft
from gateway.events.outbox import Delivery, Subscription
from gateway.store.codec import from_json, to_json
from gateway.store.engine import Database
from gateway.store.event_store import insert_events
from gateway.store.live_work import webhook_due
from gateway.store.tables import webhook_delivery, webhook_subscription
from gateway.store.webhook_messages import listening


class SqlWebhookStore:
    """Deliveries and subscriptions; see ``events.outbox``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim_due(self, now: int, lease_until: int, limit: int) -> list[Delivery]:
        """Takes deliveries that are due: attempts + 1, leased."""
        table = webhook_delivery
        due = (
            select(table.c.delivery_id)
            .where(table.c.state == "pending", table.c.not_before <= now)
            .where((table.c.lease_until.is_(None)) | (table.c.lease_until < now))
            .order_by(table.c.not_before)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        with self._database.begin() as connection:
            chosen = list(connection.scalars(due))
            if not chosen:
                return []
            taken = connection.execute(
                update(table)
                .where(table.c.delivery_id.in_(chosen))
                .values(lease_until=lease_until, attempts=table.c.attempts + 1)
                .returning(table)
            )
            return [_delivery_of(row) for row in taken]

    def any_due(self, now: int) -> bool:
        """Whether a claim would find work; takes no write lock."""
        return webhook_due(self._database, now)

    def delivered(self, delivery_id: str, now: int) -> None:
        """The receiver took it."""
        self._end(delivery_id, {"state": "delivered", "completed_at": now, "last_error": None})

    def retry(self, delivery_id: str, not_before: int, error: str) -> None:
        """The try failed; another follows."""
        self._end(delivery_id, {"not_before": not_before, "last_error": error[:500]})

    def bury(self, delivery_id: str, now: int, error: str) -> None:
        """Every try failed: it stays visible and can be replayed."""
        self._end(delivery_id, {"state": "dead", "completed_at": now, "last_error": error[:500]})

    def replay(self, delivery_id: str, now: int) -> bool:
        """Puts an ended delivery back in the queue. False: no such delivery, or it is pending."""
        table = webhook_delivery
        with self._database.begin() as connection:
            done = connection.execute(
                update(table)
                .where(table.c.delivery_id == delivery_id, table.c.state != "pending")
                .values(state="pending", attempts=0, not_before=now, lease_until=None, completed_at=None)
                .returning(table.c.delivery_id)
            )
            return done.first() is not None

    def deliveries(
        self,
        owner: str | None,
        *,
        state: str | None,
        limit: int,
        subscription_id: str | None = None,
        before: str | None = None,
    ) -> list[Delivery]:
        """Newest first, older than ``before``. ``owner`` ``None``: everybody's."""
        table = webhook_delivery
        query = select(table).order_by(table.c.delivery_id.desc()).limit(limit)
        for column, value in (("owner", owner), ("state", state), ("subscription_id", subscription_id)):
            if value is not None:
                query = query.where(table.c[column] == value)
        if before is not None:
            query = query.where(table.c.delivery_id < before)
        with self._database.read() as connection:
            return [_delivery_of(row) for row in connection.execute(query)]

    def counts(self) -> dict[str, int]:
        """How many deliveries wait, and how many are dead."""
        table = webhook_delivery
        query = (
            select(table.c.state, func.count()).where(table.c.state.in_(("pending", "dead"))).group_by(table.c.state)
        )
        with self._database.read() as connection:
            found = {row[0]: int(row[1]) for row in connection.execute(query)}
        return {"pending": found.get("pending", 0), "dead": found.get("dead", 0)}

    def delivery(self, delivery_id: str) -> Delivery | None:
        """One delivery."""
        query = select(webhook_delivery).where(webhook_delivery.c.delivery_id == delivery_id)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _delivery_of(row)

    def subscribe(self, subscription: Subscription) -> bool:
        """Adds a subscription. False: the owner has one to that address."""
        table = webhook_subscription
        values = {name: getattr(subscription, name) for name in subscription.__struct_fields__}
        same = select(table.c.subscription_id).where(
            table.c.owner == subscription.owner, table.c.url == subscription.url, table.c.active
        )
        with self._database.begin() as connection:
            if connection.execute(same).first() is not None:
                return False
            connection.execute(insert(table).values({**values, "events": to_json(subscription.events)}))
        return True

    def subscription(self, subscription_id: str) -> Subscription | None:
        """One subscription, also an ended one."""
        table = webhook_subscription
        with self._database.read() as connection:
            row = connection.execute(select(table).where(table.c.subscription_id == subscription_id)).one_or_none()
        return None if row is None else _subscription_of(row)

    def rotate(self, subscription_id: str, owner: str | None, secret: str, until: int) -> Subscription | None:
        """Gives the subscription a new secret; the one it had signs too until ``until``."""
        table = webhook_subscription
        statement = update(table).where(table.c.subscription_id == subscription_id, table.c.active)
        if owner is not None:
            statement = statement.where(table.c.owner == owner)
        changed = statement.values(old_secret=table.c.secret, old_secret_until=until, secret=secret).returning(table)
        with self._database.begin() as connection:
            row = connection.execute(changed).one_or_none()
        return None if row is None else _subscription_of(row)

    def subscriptions(self, owner: str | None) -> list[Subscription]:
        """Active ones, newest first."""
        table = webhook_subscription
        query = select(table).where(table.c.active).order_by(table.c.subscription_id.desc())
        if owner is not None:
            query = query.where(table.c.owner == owner)
        with self._database.read() as connection:
            return [_subscription_of(row) for row in connection.execute(query)]

    def unsubscribe(self, subscription_id: str, owner: str | None, now: int) -> bool:
        """Ends a subscription, and what was still to be delivered for it. False: there is none for that owner."""
        table = webhook_subscription
        statement = update(table).where(table.c.subscription_id == subscription_id, table.c.active)
        if owner is not None:
            statement = statement.where(table.c.owner == owner)
        with self._database.begin() as connection:
            done = connection.execute(statement.values(active=False).returning(table.c.subscription_id))
            if done.first() is None:
                return False
            _bury_waiting(connection, subscription_id, now, "the subscription was ended")
        return True

    def disable(self, subscription_id: str, now: int, reason: str) -> Subscription | None:
        """Tells the subscription nothing more until it is enabled, buries what waits for it, and stores the event
        that says so to its owner; one transaction. ``None``: it is disabled or ended already."""
        table = webhook_subscription
        changed = (
            update(table)
            .where(table.c.subscription_id == subscription_id, listening())
            .values(disabled_at=now, disabled_reason=reason[:500])
            .returning(table)
        )
        with self._database.begin() as connection:
            row = connection.execute(changed).one_or_none()
            if row is None:
                return None
            _bury_waiting(connection, subscription_id, now, f"the subscription was disabled: {reason}")
            payload = {"subscription_id": subscription_id, "url": row.url, "reason": reason}
            insert_events(connection, (EventDraft("webhook_disabled", row.owner, payload=payload),), now)
        return _subscription_of(row)

    def enable(self, subscription_id: str, owner: str | None) -> Subscription | None:
        """Tells it again what happens from now on; also where it was not disabled. ``None``: there is none for
        that owner."""
        table = webhook_subscription
        statement = update(table).where(table.c.subscription_id == subscription_id, table.c.active)
        if owner is not None:
            statement = statement.where(table.c.owner == owner)
        with self._database.begin() as connection:
            changed = connection.execute(statement.values(disabled_at=None, disabled_reason=None).returning(table))
            row = changed.one_or_none()
        return None if row is None else _subscription_of(row)

    def _end(self, delivery_id: str, values: dict[str, Any]) -> None:
        with self._database.begin() as connection:
            connection.execute(
                update(webhook_delivery)
                .where(webhook_delivery.c.delivery_id == delivery_id)
                .values({**values, "lease_until": None})
            )


def _bury_waiting(connection: Connection, subscription_id: str, now: int, why: str) -> None:
    table = webhook_delivery
    connection.execute(
        update(table)
        .where(table.c.subscription_id == subscription_id, table.c.state == "pending")
        .values(state="dead", completed_at=now, lease_until=None, last_error=why[:500])
    )


def _delivery_of(row: Row[Any]) -> Delivery:
    return Delivery(**row._mapping)


def _subscription_of(row: Row[Any]) -> Subscription:
    return Subscription(**{**row._mapping, "events": tuple(from_json(row.events))})
