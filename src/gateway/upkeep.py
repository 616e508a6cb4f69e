"""What is done once and by itself: preparing a data directory, training what is missing, checks and proofs.

Each of these opens what it needs and is done; the processes that stay are ``bootstrap``'s.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from gateway.bootstrap import check_catalogue, make_audit, make_core, make_identity
from gateway.clock import SystemClock
from gateway.errors import ConfigurationInvalid
from gateway.ledger.cost_tracker import Ledger
from gateway.registry.catalogue import Catalogue
from gateway.registry.loader import load_catalogue
from gateway.registry.model_registry import ModelRegistry
from gateway.security.development_key import development_key, end_development_keys
from gateway.settings import Settings
from gateway.store.artifact_place import checked_place
from gateway.store.artifact_store import SqlArtifactStore
from gateway.store.engine import Database
from gateway.store.journal_check import journal_problems
from gateway.store.ledger_store import SqlLedgerStore
from gateway.store.registry_store import SqlRegistryStore
from gateway.store.rights import changeable, grant_service
from gateway.store.schema import HEAD, is_current


@dataclass(frozen=True, slots=True)
class Verified:
    """What a check of the ledger or the audit trail found."""

    ok: bool
    checked: int
    problems: tuple[str, ...]
    seconds: float


def prepare(settings: Settings) -> dict[str, Any]:
    """The schema, the admin key, and whether models are to be trained: before anything is served."""
    database = Database(settings.database_url)
    _migrate(database)
    clock = SystemClock()
    identity = make_identity(settings, database, clock)
    end_development_keys(identity)
    if settings.dev and not settings.admin_key:
        admin_key: str | None = development_key(identity)
    else:
        made = identity.ensure_admin(settings.admin_key or None)
        admin_key = settings.admin_key if settings.dev else made
    registry = ModelRegistry(SqlRegistryStore(database), SqlArtifactStore(database, clock), clock)
    catalogue = load_catalogue(settings.config_dir, settings.environ)
    own = [spec.name for spec in catalogue.models.values() if catalogue.provider(spec.provider).type == "local"]
    return {"admin_key": admin_key, "train": any(not registry.versions(name) for name in own)}


def train_missing(settings: Settings, say: Callable[[str], None]) -> None:
    """Trains the built-in models that have no version yet, and registers them."""
    core = make_core(settings)
    builtin = import_module("gateway.workflows.builtin_models")
    data = import_module("gateway.risk.market_data").bundled("sp500-20")
    for name in builtin.missing(core.registry):
        started = time.monotonic()
        trained = builtin.train_builtin(name, data)
        added = core.registry.register(builtin.new_version(name, trained, "gateway"))
        say(f"{name} version {added.version} trained in {time.monotonic() - started:.1f} s")


def check_configuration(settings: Settings) -> Catalogue:
    """Reads the configuration as the service would. ``ConfigurationInvalid`` or ``DefinitionInvalid`` otherwise."""
    catalogue = load_catalogue(settings.config_dir, settings.environ)
    check_catalogue(catalogue)
    return catalogue


def check_database(settings: Settings) -> None:
    """``Unavailable`` where the database does not answer."""
    Database(settings.database_url).ping()


def check_artifacts(settings: Settings) -> None:
    """``ConfigurationInvalid`` where large values could not be kept."""
    checked_place(settings.artifacts_url)


def upgrade_database(settings: Settings, owner_url: str = "") -> tuple[str, str]:
    """Brings the schema up to date: its revision. With ``owner_url`` (PostgreSQL) as the owner, who grants the
    user of DATABASE_URL what the service needs and no change to what is written once: that role's name too."""
    if owner_url and "sqlite" in (owner_url[:6], settings.database_url[:6]):
        raise ConfigurationInvalid("SQLite has no roles", mend="leave GATEWAY_DATABASE_OWNER_URL out")
    with closing(Database(owner_url or settings.database_url)) as database:
        revision = _migrate(database)
        if not owner_url:
            return revision, ""
        with database.begin() as connection:
            return revision, grant_service(connection, settings.database_url)


def check_rights(settings: Settings) -> str:
    """What of the ledger and the audit trail the service's role may change, by the rights it has in PostgreSQL;
    empty where there is nothing, or no right at all as with SQLite (triggers refuse in both)."""
    with closing(Database(settings.database_url)) as database:
        if database.is_sqlite or not is_current(database):
            return ""
        with database.read() as connection:
            return ", ".join(changeable(connection))


def verify_ledger(settings: Settings) -> Verified:
    """Proves the ledger of the database, and that no call is left in the journal of a process that is gone."""
    started, database, clock = time.monotonic(), _current(settings), SystemClock()
    report = Ledger(SqlLedgerStore(database), clock).verify()
    left = tuple(journal_problems(settings.data_dir / "journal", database, clock.now()))
    return Verified(report.ok and not left, report.entries, (*left, *report.problems), time.monotonic() - started)


def verify_audit(settings: Settings) -> Verified:
    """Proves the audit trail of the database against its checkpoints."""
    started = time.monotonic()
    report = make_audit(settings, _current(settings), SystemClock()).verify()
    problems = tuple(f"{item.kind} at {item.seq}: {item.text}" for item in report.problems)
    return Verified(report.ok, report.records, problems, time.monotonic() - started)


def _current(settings: Settings) -> Database:
    """The database, where its schema is this version's; ``ConfigurationInvalid`` otherwise."""
    database = Database(settings.database_url)
    if not is_current(database):
        database.close()
        raise ConfigurationInvalid(
            "the database's schema is not this version's, so there is nothing to prove",
            mend="run `ai-gateway db upgrade`, or see that DATABASE_URL or GATEWAY_DATA_DIR is the service's",
        )
    return database


def _migrate(database: Database) -> str:
    """Runs the migrations that are missing. Alembic is loaded only where there are some."""
    if not is_current(database):
        import_module("gateway.store.migrate").upgrade(database)
    return HEAD
