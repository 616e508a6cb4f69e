"""Artifacts in SQL: bytes under their SHA-256, readable by every process that reads the database."""

from __future__ import annotations

import hashlib

from sqlalchemy import select

from gateway.clock import Clock
from gateway.errors import ArtifactCorrupt, NotFound, ValidationFailed
from gateway.models.artifacts import ArtifactRef
from gateway.store.dialect import insert_into
from gateway.store.engine import Database
from gateway.store.tables import artifact

#: The largest artifact, in bytes.
LARGEST = 256 * 1024 * 1024


class SqlArtifactStore:
    """See ``models.artifacts.ArtifactStore``."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def put(self, content: bytes, media_type: str) -> ArtifactRef:
        if len(content) > LARGEST:
            raise ValidationFailed(f"an artifact of {len(content)} bytes is larger than the {LARGEST} that are kept")
        sha256 = hashlib.sha256(content).hexdigest()
        with self._database.begin() as connection:
            connection.execute(
                insert_into(connection, artifact)
                .values(
                    sha256=sha256,
                    media_type=media_type,
                    size=len(content),
                    content=content,
                    created_at=self._clock.now(),
                )
                .on_conflict_do_nothing(index_elements=[artifact.c.sha256])
            )
        return ArtifactRef(sha256, media_type, len(content))

    def get(self, sha256: str) -> bytes:
        with self._database.read() as connection:
            content = connection.scalar(select(artifact.c.content).where(artifact.c.sha256 == sha256))
        if content is None:
            raise NotFound("no artifact of that hash is stored", param="artifact.sha256")
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ArtifactCorrupt(mend="restore the database from a backup, or train the model again")
        return bytes(content)

    def describe(self, sha256: str) -> ArtifactRef | None:
        """Its reference, without its bytes."""
        with self._database.read() as connection:
            row = connection.execute(
                select(artifact.c.sha256, artifact.c.media_type, artifact.c.size).where(artifact.c.sha256 == sha256)
            ).one_or_none()
        return None if row is None else ArtifactRef(row.sha256, row.media_type, row.size)
