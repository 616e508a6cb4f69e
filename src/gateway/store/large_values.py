"""Large JSON values of runs: beyond 64 KB they are kept as artifacts by content, and the row holds a claim check."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection

from gateway.errors import ArtifactCorrupt
from gateway.store import artifact_bytes, artifact_uses
from gateway.store.artifact_bytes import LARGEST_IN_ROW
from gateway.store.codec import from_json, to_json

#: How a claim check begins.
CLAIM = '{"$large":'
_MEDIA_TYPE = "application/json"


def keep(connection: Connection, value: Any, now: int, holder: str) -> str | None:
    """What the row holds of the value; ``None`` stays ``None``. Artifacts that it names are noted as used by
    ``holder`` (a run or a task: see ``artifact_uses``)."""
    return None if value is None else keep_text(connection, to_json(value), now, holder)


def keep_text(connection: Connection, text: str, now: int, holder: str) -> str:
    """As ``keep``, of JSON text."""
    if named := artifact_uses.names_in(text):
        artifact_uses.note(connection, holder, named, now)
    content = text.encode()
    if len(content) <= LARGEST_IN_ROW and not text.startswith(CLAIM):
        return text
    sha256 = artifact_bytes.put(connection, content, _MEDIA_TYPE, now, holder)
    return f'{CLAIM}{{"sha256":"{sha256}","size":{len(content)}}}}}'


def fetch(connection: Connection, text: str | None) -> Any:
    """The value behind what the row holds. ``ArtifactCorrupt`` where its bytes are gone or others."""
    return from_json(fetch_text(connection, text) if text is not None else None)


def fetch_text(connection: Connection, text: str) -> str:
    """As ``fetch``, as JSON text."""
    if not text.startswith(CLAIM):
        return text
    claim = msgspec.json.decode(text)["$large"]["sha256"]
    content = artifact_bytes.get(connection, claim)
    if content is None:
        raise ArtifactCorrupt(
            f"no row names artifact {claim}", mend="restore the database from a backup, or begin the run again"
        )
    return content.decode()
