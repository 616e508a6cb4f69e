"""Webhooks: what is to be delivered, when it is tried again, and how it is signed.

Signatures follow the Standard Webhooks specification: ``webhook-id``, ``webhook-timestamp`` and
``webhook-signature: v1,BASE64(HMAC-SHA256(secret, "id.timestamp.body"))``; while a secret is being
rotated the header holds a signature of each, so that a receiver may change over when it likes.
"""

from __future__ import annotations

import base64
import email.utils
import hashlib
import hmac
import random
import secrets as randomness
from collections.abc import Sequence

from msgspec import Struct

from gateway.clock import SECOND

#: Seconds between tries: about fifteen hours in all, then the delivery is dead (and can be replayed).
SCHEDULE = (5, 30, 120, 600, 1800, 3600, 7200, 14400, 28800)
LEASE_SECONDS = 60
#: No receiver puts a try off for longer than this many seconds.
LONGEST_PAUSE = 86_400.0
#: Answers with which a receiver may say when to come back.
_BUSY = (429, 503)
SECRET_PREFIX = "whsec_"  # noqa: S105 - the prefix of such secrets, not one


class Delivery(Struct, frozen=True):
    """One message to one address; ``delivery_id`` is the same on every try. ``body`` is JSON text. Without a
    ``subscription_id`` it goes to the address that a task, a run or the operator named."""

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
    subscription_id: str | None = None


class Receipt(Struct, frozen=True):
    """What a receiver answered: the HTTP status, and its ``Retry-After`` as it stands there."""

    status: int
    retry_after: str = ""


class Subscription(Struct, frozen=True):
    """An owner's wish to be told; no ``events`` means all of them. ``old_secret`` signs beside ``secret``
    until ``old_secret_until``. From ``disabled_at`` on it is told nothing, until somebody enables it."""

    subscription_id: str
    owner: str
    url: str
    events: tuple[str, ...]
    secret: str
    active: bool
    created_at: int
    old_secret: str | None = None
    old_secret_until: int | None = None
    disabled_at: int | None = None
    disabled_reason: str | None = None

    def signers(self, now: int) -> tuple[str, ...]:
        """The secrets that sign now, the newest first."""
        overlap = self.old_secret is not None and self.old_secret_until is not None and now < self.old_secret_until
        return (self.secret, self.old_secret) if overlap and self.old_secret else (self.secret,)


def next_try(attempts: int, asked: float = 0.0) -> float | None:
    """Seconds until the next try after ``attempts`` failed ones, not before the ``asked`` ones; ``None``: no more."""
    if attempts > len(SCHEDULE):
        return None
    pause = SCHEDULE[attempts - 1]
    return max(pause * (0.9 + 0.2 * random.random()), asked)


def asked_pause(receipt: Receipt, now: int) -> float:
    """Seconds in which the receiver wants no other try, a day at most: its ``Retry-After``, in seconds or as an HTTP
    date, where it said that it is busy. 0 where it says nothing, or nothing that can be read."""
    said = receipt.retry_after.strip()
    if receipt.status not in _BUSY or not said:
        return 0.0
    if said.isascii() and said.isdigit():
        return min(float(said), LONGEST_PAUSE)
    try:
        until = email.utils.parsedate_to_datetime(said).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):  # what its parser raises for nonsense
        return 0.0
    return min(max(until - now / SECOND, 0.0), LONGEST_PAUSE)


def signature(secret: str, delivery_id: str, timestamp: int, body: bytes) -> str:
    """The ``webhook-signature`` header. ``secret`` is ``whsec_`` and base64, or any text."""
    digest = hmac.digest(_key(secret), f"{delivery_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(digest).decode()


def headers(secrets: Sequence[str], delivery_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of one try, signed with each of the secrets; unsigned where there is none."""
    made = {
        "content-type": "application/json",
        "user-agent": "gnanam-ai-gateway",
        "webhook-id": delivery_id,
        "webhook-timestamp": str(timestamp),
    }
    signatures = [signature(secret, delivery_id, timestamp, body) for secret in secrets if secret]
    if signatures:
        made["webhook-signature"] = " ".join(signatures)
    return made


def new_secret() -> str:
    """A signing secret for one subscription: 32 random bytes."""
    return SECRET_PREFIX + base64.b64encode(randomness.token_bytes(32)).decode()


def secret_of(owner: str, master: str) -> str:
    """The secret that signs what goes to addresses which ``owner`` names in tasks and runs: one for each
    owner, so that nobody who may check the messages of one can forge those of another."""
    return (
        SECRET_PREFIX
        + base64.b64encode(hmac.digest(master.encode(), b"webhooks of " + owner.encode(), hashlib.sha256)).decode()
    )


def _key(secret: str) -> bytes:
    if secret.startswith(SECRET_PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
        except ValueError:
            return secret.encode()
    return secret.encode()
