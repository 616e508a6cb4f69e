"""Large JSON values of runs: beyond 64 KB they are kept as artifacts by content, and the row holds a claim check."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from sqlalchemy import Connection, select

from gateway.errors import ArtifactCorrupt
from gateway.store.codec import from_json, to_json
from gateway.store.dialect import insert_into
from gateway.store.tables import artifact

#: Bytes of JSON that a row holds itself.
LARGEST_IN_ROW = 64 * 1024
_MARK = '{"$large":'
_MEDIA_TYPE = "application/json"


def keep(connection: Connection, value: Any, now: int) -> str | None:
    """What the row holds of the value; ``None`` stays ``None``."""
    return None if value is None else keep_text(connection, to_json(value), now)


def keep_text(connection: Connection, text: str, now: int) -> str:
    """As ``keep``, of JSON text."""
    content = text.encode()
    if len(content) <= LARGEST_IN_ROW and not text.startswith(_MARK):
        return text
    sha256 = hashlib.sha256(content).hexdigest()
    row = {"sha256": sha256, "media_type": _MEDIA_TYPE, "size": len(content), "content": content, "created_at": now}
    connection.execute(
        insert_into(connection, artifact).values(**row).on_conflict_do_nothing(index_elements=[artifact.c.sha256])
    )
    return f'{_MARK}{{"sha256":"{sha256}","size":{len(content)}}}}}'


def fetch(connection: Connection, text: str | None) -> Any:
    """The value behind what the row holds. ``ArtifactCorrupt`` where its bytes are gone or others."""
    return from_json(fetch_text(connection, text) if text is not None else None)


def fetch_text(connection: Connection, text: str) -> str:
    """As ``fetch``, as JSON text."""
    if not text.startswith(_MARK):
        return text
    claim = msgspec.json.decode(text)["$large"]["sha256"]
    content = connection.scalar(select(artifact.c.content).where(artifact.c.sha256 == claim))
    if content is None or hashlib.sha256(content).hexdigest() != claim:
        raise ArtifactCorrupt(mend="restore the database from a backup, or begin the run again")
    return bytes(content).decode()
