"""Webhooks: what is to be delivered, when it is tried again, and how it is signed.

Signatures follow the Standard Webhooks specification: ``webhook-id``, ``webhook-timestamp`` and
``webhook-signature: v1,BASE64(HMAC-SHA256(secret, "id.timestamp.body"))``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import random

from msgspec import Struct

#: Seconds between tries: about fifteen hours in all, then the delivery is dead (and can be replayed).
SCHEDULE = (5, 30, 120, 600, 1800, 3600, 7200, 14400, 28800)
LEASE_SECONDS = 60
SECRET_PREFIX = "whsec_"  # noqa: S105 - the prefix of such secrets, not one


class Delivery(Struct, frozen=True):
    """One message to one address; ``delivery_id`` is the same on every try. ``body`` is JSON text."""

    delivery_id: str
    url: str
    owner: str
    event: str
    task_id: str | None
    run_id: str | None
    body: str
    state: str
    attempts: int
    not_before: int
    lease_until: int | None
    last_error: str | None
    created_at: int
    completed_at: int | None


class Subscription(Struct, frozen=True):
    """An owner's wish to be told; no ``events`` means all of them."""

    subscription_id: str
    owner: str
    url: str
    events: tuple[str, ...]
    secret: str
    active: bool
    created_at: int


def next_try(attempts: int) -> float | None:
    """Seconds until the next try after ``attempts`` failed ones; ``None``: no more."""
    if attempts > len(SCHEDULE):
        return None
    pause = SCHEDULE[attempts - 1]
    return pause * (0.9 + 0.2 * random.random())


def signature(secret: str, delivery_id: str, timestamp: int, body: bytes) -> str:
    """The ``webhook-signature`` header. ``secret`` is ``whsec_`` and base64, or any text."""
    digest = hmac.digest(_key(secret), f"{delivery_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(digest).decode()


def headers(secret: str, delivery_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of one try; unsigned where there is no secret."""
    made = {
        "content-type": "application/json",
        "user-agent": "gnanam-ai-gateway",
        "webhook-id": delivery_id,
        "webhook-timestamp": str(timestamp),
    }
    if secret:
        made["webhook-signature"] = signature(secret, delivery_id, timestamp, body)
    return made


def _key(secret: str) -> bytes:
    if secret.startswith(SECRET_PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
        except ValueError:
            return secret.encode()
    return secret.encode()
