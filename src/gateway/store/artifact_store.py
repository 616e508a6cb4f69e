"""Artifacts: bytes under their SHA-256, readable by every process that has the database and the place of artifacts."""

from __future__ import annotations

from sqlalchemy import select

from gateway.clock import Clock
from gateway.errors import NotFound, ValidationFailed
from gateway.models.artifacts import ArtifactRef
from gateway.store import artifact_bytes
from gateway.store.engine import Database
from gateway.store.tables import artifact

#: The largest artifact, in bytes.
LARGEST = 256 * 1024 * 1024


class SqlArtifactStore:
    """See ``models.artifacts.ArtifactStore``."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def put(self, content: bytes, media_type: str, holder: str = "") -> ArtifactRef:
        if len(content) > LARGEST:
            raise ValidationFailed(f"an artifact of {len(content)} bytes is larger than the {LARGEST} that are kept")
        with self._database.begin() as connection:
            sha256 = artifact_bytes.put(connection, content, media_type, self._clock.now(), holder)
        return ArtifactRef(sha256, media_type, len(content))

    def get(self, sha256: str) -> bytes:
        with self._database.read() as connection:
            content = artifact_bytes.get(connection, sha256)
        if content is None:
            raise NotFound("no artifact of that hash is stored", param="artifact.sha256")
        return content

    def describe(self, sha256: str) -> ArtifactRef | None:
        """Its reference, without its bytes."""
        with self._database.read() as connection:
            row = connection.execute(
                select(artifact.c.sha256, artifact.c.media_type, artifact.c.size).where(artifact.c.sha256 == sha256)
            ).one_or_none()
        return None if row is None else ArtifactRef(row.sha256, row.media_type, row.size)
