"""Versions of our own predictive models: immutable, addressed by content, found by alias.

A version never changes; an alias (``champion``) points at one and is moved by promotion. Rollback
moves it back to where it pointed before.
"""

from __future__ import annotations

from typing import Any, Protocol

from msgspec import Struct

from gateway.clock import Clock
from gateway.errors import Conflict, ModelNotFound, ModelNotReady, ValidationFailed
from gateway.models.artifacts import ArtifactStore
from gateway.models.ml_models import Family, ModelSchema, ModelVersion

CHAMPION = "champion"


class NewVersion(Struct, frozen=True):
    """A trained model before it has its number. ``content`` is the artifact's bytes."""

    model: str
    family: Family
    format: str
    content: bytes
    schema: ModelSchema
    metrics: dict[str, float]
    card: dict[str, Any]
    data_hash: str
    seed: int
    libraries: dict[str, str]
    created_by: str


class Alias(Struct, frozen=True):
    """A name that points at a version. ``previous`` is what rollback goes back to."""

    model: str
    alias: str
    version: int
    previous: int | None
    updated_by: str
    updated_at: int


class RegistryStore(Protocol):
    """Where versions and aliases are kept. Each method is one transaction."""

    def add(self, version: ModelVersion) -> ModelVersion:
        """Stores the version under the next number of its model (``version.version`` is ignored)."""
        ...

    def version(self, model: str, version: int) -> ModelVersion | None: ...

    def versions(self, model: str) -> list[ModelVersion]:
        """Newest first."""
        ...

    def alias(self, model: str, alias: str) -> Alias | None: ...

    def point(self, model: str, alias: str, version: int, by: str, now: int, *, only_if_absent: bool = False) -> Alias:
        """Moves the alias; what it pointed at becomes ``previous``. ``only_if_absent`` leaves an
        existing alias alone."""
        ...

    def swap_back(self, model: str, alias: str, by: str, now: int) -> Alias | None:
        """Points the alias at its ``previous``; ``None`` where there is none."""
        ...

    def models(self) -> list[str]: ...


class ModelRegistry:
    """Registers, finds, promotes and rolls back versions."""

    def __init__(self, store: RegistryStore, artifacts: ArtifactStore, clock: Clock) -> None:
        self._store = store
        self._artifacts = artifacts
        self._clock = clock

    def register(self, new: NewVersion) -> ModelVersion:
        """Stores the artifact and the version; a model's first version becomes its champion."""
        reference = self._artifacts.put(new.content, f"application/vnd.gateway.{new.format}")
        added = self._store.add(
            ModelVersion(
                model=new.model,
                version=0,
                family=new.family,
                format=new.format,
                artifact=reference.sha256,
                schema=new.schema,
                metrics=new.metrics,
                card=new.card,
                data_hash=new.data_hash,
                seed=new.seed,
                libraries=new.libraries,
                created_at=self._clock.now(),
                created_by=new.created_by,
            )
        )
        self._store.point(new.model, CHAMPION, added.version, new.created_by, self._clock.now(), only_if_absent=True)
        return added

    def resolve(self, model: str, version: int | None = None, alias: str | None = None) -> ModelVersion:
        """The version asked for by number, else by alias, else the champion.

        Raises ``ModelNotReady`` for a model with no version yet, ``ModelNotFound`` for no such
        version or alias.
        """
        if version is not None:
            found = self._store.version(model, version)
            if found is None:
                raise ModelNotFound(
                    f"{model} has no version {version}", mend="GET /models/{name} lists its versions", param="version"
                )
            return found
        name = alias or CHAMPION
        pointed = self._store.alias(model, name)
        if pointed is None:
            if not self._store.versions(model):
                raise ModelNotReady(
                    f"{model} has no trained version yet",
                    mend="it is trained at the first start; run a model_training task, or try again in some seconds",
                    retry_after=2.0,
                    param="model_config.name",
                )
            raise ModelNotFound(f"{model} has no alias {name!r}", mend="GET /models/{name} lists them", param="alias")
        found = self._store.version(model, pointed.version)
        if found is None:
            raise ModelNotFound(f"the alias {name!r} of {model} points at nothing", param="alias")
        return found

    def versions(self, model: str) -> list[ModelVersion]:
        """Every version, newest first."""
        return self._store.versions(model)

    def promote(self, model: str, version: int, *, alias: str = CHAMPION, by: str) -> Alias:
        """Points the alias at the version."""
        if not alias.isidentifier():
            raise ValidationFailed("an alias is a plain name such as champion", param="alias")
        self.resolve(model, version)
        return self._store.point(model, alias, version, by, self._clock.now())

    def rollback(self, model: str, *, alias: str = CHAMPION, by: str) -> Alias:
        """Points the alias at the version before. ``Conflict`` where there was none."""
        back = self._store.swap_back(model, alias, by, self._clock.now())
        if back is None:
            raise Conflict(
                f"the alias {alias!r} of {model} has no earlier version to go back to",
                mend="promote a version first",
            )
        return back
