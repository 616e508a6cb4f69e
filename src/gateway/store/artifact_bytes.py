"""The one way in and out of the artifact table: small bytes in the row, large ones in the place that the database has.

A row whose ``content`` is empty though its ``size`` is not is a claim check for bytes in the place. They are written
within the transaction that holds the row, so before its commit: a crash leaves bytes without a row, never the reverse.
"""

from __future__ import annotations

import hashlib

from sqlalchemy import Connection, func, select

from gateway.errors import ArtifactCorrupt
from gateway.store import artifact_uses
from gateway.store.artifact_place import ArtifactPlace
from gateway.store.dialect import insert_into
from gateway.store.tables import artifact

#: Bytes that a row holds itself.
LARGEST_IN_ROW = 64 * 1024
#: The execution option of an engine whose large values lie outside it.
PLACE = "artifact_place"


def put(connection: Connection, content: bytes, media_type: str, now: int, holder: str = "") -> str:
    """Keeps the bytes; their SHA-256. ``Unavailable`` where the place takes none, and the transaction must end.
    Without a ``holder`` nothing keeps them but their freshness, until something names them."""
    sha256 = hashlib.sha256(content).hexdigest()
    place = _place(connection) if len(content) > LARGEST_IN_ROW else None
    row = {
        "sha256": sha256,
        "media_type": media_type,
        "size": len(content),
        "content": b"" if place is not None else content,
        "created_at": now,
        "used_at": now,
    }
    new = insert_into(connection, artifact).values(**row).on_conflict_do_nothing(index_elements=[artifact.c.sha256])
    while (added := connection.scalar(new.returning(artifact.c.sha256))) is None:
        artifact_uses.touch(connection, [sha256], now)  # waits for a collector that takes it away right now
        if connection.scalar(select(artifact.c.sha256).where(artifact.c.sha256 == sha256)) is not None:
            break
    if holder:
        artifact_uses.note(connection, holder, [sha256], now)
    if place is None:
        return sha256
    # a row that was there has its bytes, unless somebody removed or cut them: then this mends it
    if added or (not _in_row(connection, sha256) and place.size(sha256) != len(content)):
        place.write(sha256, content)
    return sha256


def get(connection: Connection, sha256: str) -> bytes | None:
    """The bytes, or ``None`` where no row names them. ``ArtifactCorrupt`` where they are gone or others."""
    row = connection.execute(
        select(artifact.c.content, artifact.c.size).where(artifact.c.sha256 == sha256)
    ).one_or_none()
    if row is None:
        return None
    outside = row.size > 0 and not row.content
    place = _place(connection)
    if not outside:
        content, where = bytes(row.content), "the database"
    elif place is None:
        raise ArtifactCorrupt(
            f"the bytes of artifact {sha256} lie outside the database, and this process has no place for artifacts",
            mend="set GATEWAY_ARTIFACTS to the place where they were written",
        )
    else:
        found, where = place.read(sha256), place.address
        if found is None:
            raise ArtifactCorrupt(
                f"the bytes of artifact {sha256} are not in {where}",
                mend="set GATEWAY_ARTIFACTS to the place where they were written, or restore it from a backup",
            )
        content = found
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ArtifactCorrupt(
            f"the bytes of artifact {sha256} in {where} are not those that were written",
            mend=f"restore {where} from a backup, or make them again: begin the run, or train the model, anew",
        )
    return content


def _in_row(connection: Connection, sha256: str) -> bool:
    return bool(connection.scalar(select(func.length(artifact.c.content) > 0).where(artifact.c.sha256 == sha256)))


def _place(connection: Connection) -> ArtifactPlace | None:
    place: ArtifactPlace | None = connection.get_execution_options().get(PLACE)
    return place
