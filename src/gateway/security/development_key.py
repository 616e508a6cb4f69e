"""The admin key of a development start: a new one each time. Every start ends those of earlier ones, so that a
production start makes the first admin's key though development came before it, and none is left that only a
forgotten terminal knows."""

from __future__ import annotations

from gateway.security.access import caller_for
from gateway.security.identity import Identity

_DEV_KEY = "development start"


def development_key(identity: Identity) -> str:
    """A fresh admin key for this start."""
    _, secret = identity.create_key(caller_for("admin", "admin"), name=_DEV_KEY, role="admin", principal="admin")
    return secret


def end_development_keys(identity: Identity) -> None:
    """The keys of earlier development starts end."""
    admin = caller_for("admin", "admin")
    cursor: str | None = None
    while True:
        page, cursor = identity.list_keys(admin, cursor=cursor)
        for record in page:
            if record.name == _DEV_KEY and record.revoked_at is None:
                identity.revoke_key(admin, record.key_id)
        if cursor is None:
            break
