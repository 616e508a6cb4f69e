"""Brings a database's schema to this version's, once, whoever else tries at the same time."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import ProgrammingError

from gateway.errors import ConfigurationInvalid
from gateway.store.engine import Database
from gateway.store.schema import HEAD

_SCRIPTS = Path(__file__).with_name("migrations")
#: Any number will do, as long as no other program locks the same one.
_LOCK = 5_318_008_001
#: What PostgreSQL says to a role without the right.
_NO_RIGHT = "42501"


def upgrade(database: Database) -> str:
    """Runs the migrations that are missing and returns the revision. One transaction: all or nothing.
    ``ConfigurationInvalid`` for a role that may not."""
    try:
        return _upgrade(database)
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", "") != _NO_RIGHT:
            raise
        raise ConfigurationInvalid(
            "the database's schema is not this version's, and the role of DATABASE_URL may not change the schema",
            mend="run `ai-gateway db upgrade` with the owner's address in GATEWAY_DATABASE_OWNER_URL",
        ) from error


def _upgrade(database: Database) -> str:
    with database.begin() as connection:
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        if revision_of(connection) != HEAD:
            config = Config()
            config.set_main_option("script_location", str(_SCRIPTS))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    return HEAD


def revision_of(connection: Connection) -> str | None:
    """The revision of a database; ``None`` for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return MigrationContext.configure(connection).get_current_revision()
