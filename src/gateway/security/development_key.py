"""The admin key of a development start: a new one each time, and the last one's end."""

from __future__ import annotations

from gateway.security.access import caller_for
from gateway.security.identity import Identity

_DEV_KEY = "development start"


def development_key(identity: Identity) -> str:
    """A fresh admin key for this start; those of earlier starts end."""
    admin = caller_for("admin", "admin")
    cursor: str | None = None
    while True:
        page, cursor = identity.list_keys(admin, cursor=cursor)
        for record in page:
            if record.name == _DEV_KEY and record.revoked_at is None:
                identity.revoke_key(admin, record.key_id)
        if cursor is None:
            break
    _, secret = identity.create_key(admin, name=_DEV_KEY, role="admin", principal="admin")
    return secret
