"""Large values, by content: a reference is the SHA-256 of the bytes, so it can never point at other bytes."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct


class ArtifactRef(Struct, frozen=True):
    """Where a large value is kept. ``size`` in bytes."""

    sha256: str
    media_type: str
    size: int


class ArtifactStore(Protocol):
    """The port: durable, content-addressed bytes that every process of the gateway can read."""

    def put(self, content: bytes, media_type: str) -> ArtifactRef:
        """Stores the bytes (again: the same reference)."""
        ...

    def get(self, sha256: str) -> bytes:
        """The bytes, checked against their hash. ``NotFound`` or ``ArtifactCorrupt`` otherwise."""
        ...


class HeldArtifacts(ArtifactStore, Protocol):
    """A store that is told for whom."""

    def put(self, content: bytes, media_type: str, holder: str = "") -> ArtifactRef:
        """As ``ArtifactStore.put``, for as long as ``holder``, a run or a task, is kept; without one for a day,
        within which something must name it."""
        ...
