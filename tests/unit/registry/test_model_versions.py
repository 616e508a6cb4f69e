"""Model versions over a real database."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from fixtures.ledger_house import together
from fixtures.money_kit import ManualClock, open_database
from gateway.errors import Conflict, GatewayError, ModelNotFound, ModelNotReady
from gateway.models.ml_models import ModelSchema
from gateway.registry.model_registry import ModelRegistry, NewVersion
from gateway.store.artifact_store import SqlArtifactStore
from gateway.store.engine import Database
from gateway.store.registry_store import SqlRegistryStore


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = open_database(f"sqlite:///{tmp_path / 'gateway.db'}")
    yield database
    database.close()


@pytest.fixture
def registry(database: Database) -> ModelRegistry:
    return ModelRegistry(SqlRegistryStore(database), SqlArtifactStore(database, ManualClock()), ManualClock())


def new(content: bytes = b"weights", seed: int = 1) -> NewVersion:
    return NewVersion(
        model="risk",
        family="classification",
        format="test",
        content=content,
        schema=ModelSchema(features=()),
        metrics={"auc": 0.9},
        card={"limits": "a test"},
        data_hash="d" * 64,
        seed=seed,
        libraries={},
        created_by="alice",
    )


def test_the_first_version_is_the_champion_and_later_ones_are_promoted(registry: ModelRegistry) -> None:
    with pytest.raises((ModelNotFound, ModelNotReady)):
        registry.resolve("risk")
    assert registry.register(new()).version == 1
    second = registry.register(new(b"other"))
    assert (second.version, registry.resolve("risk").version) == (2, 1)
    registry.promote("risk", 2, by="alice")
    assert registry.resolve("risk").version == 2
    assert registry.resolve("risk", version=1).version == 1
    assert registry.rollback("risk", by="alice").version == 1
    assert registry.resolve("risk").version == 1
    registry.promote("risk", 2, alias="challenger", by="alice")
    assert registry.resolve("risk", alias="challenger").version == 2
    with pytest.raises(Conflict):
        registry.rollback("risk", alias="challenger", by="alice")
    for wish in ({"version": 9}, {"alias": "nobody"}):
        with pytest.raises(ModelNotFound):
            registry.resolve("risk", **wish)


def test_versions_are_numbered_once_each(registry: ModelRegistry) -> None:
    results = together(lambda number: registry.register(new(bytes([number]), number)).version, 6)
    assert sorted(number for number in results if isinstance(number, int)) == [1, 2, 3, 4, 5, 6]


def test_an_artifact_is_its_hash(registry: ModelRegistry, database: Database) -> None:
    version = registry.register(new(b"weights"))
    store = SqlArtifactStore(database, ManualClock())
    assert version.artifact == hashlib.sha256(b"weights").hexdigest()
    assert store.get(version.artifact) == b"weights"
    with database.begin() as connection:
        connection.execute(text("UPDATE artifact SET content = :content"), {"content": b"tampered"})
    with pytest.raises(GatewayError):
        store.get(version.artifact)
