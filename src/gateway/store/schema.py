"""Which schema this version needs, and whether a database has it: asked at every start, so without Alembic."""

from __future__ import annotations

from sqlalchemy import inspect, text

from gateway.store.engine import Database

#: The newest revision in ``migrations/versions``.
HEAD = "0022"


def is_current(database: Database) -> bool:
    """Whether the database's schema is this version's."""
    with database.read() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return False
        found: object = connection.scalar(text("SELECT version_num FROM alembic_version"))
        return found == HEAD
