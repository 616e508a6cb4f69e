"""The rights of the role that the gateway's processes work as, where the schema belongs to another (PostgreSQL).

The owner of a table may do everything with it, triggers or not: whoever must not be able to change the ledger works
as a role that was only granted to add to it.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from gateway.errors import ConfigurationInvalid
from gateway.store.engine import Database
from gateway.store.guards import INSERT_ONLY, PROMPTS, SAVINGS
from gateway.store.tables import metadata

#: Tables to whose rows the service adds, and does nothing else.
ADDED_TO = (*INSERT_ONLY, *PROMPTS, *SAVINGS)


def grant_service(database: Database, role: str) -> None:
    """Gives ``role`` what the gateway needs of the schema, and no more. Done as the owner, after each upgrade.
    ``ConfigurationInvalid`` where there is no such role, or it owns the tables, or the database is SQLite."""
    if database.is_sqlite:
        raise ConfigurationInvalid("SQLite has no roles", mend="leave --service-role out, or use PostgreSQL")
    with database.begin() as connection:
        _check(connection, role)
        name = connection.dialect.identifier_preparer.quote_identifier(role)
        schema = _quoted(connection, str(connection.scalar(text("SELECT current_schema()"))))
        tables = sorted([*metadata.tables, "alembic_version"])
        added_to = ", ".join(ADDED_TO)
        changed = ", ".join(_quoted(connection, table) for table in tables if table not in ADDED_TO)
        for statement in (
            f"GRANT USAGE ON SCHEMA {schema} TO {name}",
            f"REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {name}",
            f"GRANT SELECT, INSERT ON {added_to} TO {name}",
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON {changed} TO {name}",
            f"REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM {name}",
            f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {name}",
        ):
            connection.execute(text(statement))


def may_change_ledger(database: Database) -> bool:
    """Whether whoever works with this database may change or delete what was entered once: its owner may switch off
    what forbids it. Also of SQLite, where there is only one."""
    if database.is_sqlite:
        return True
    query = text("SELECT has_table_privilege('entry', 'UPDATE') OR has_table_privilege('entry', 'DELETE')")
    with database.read() as connection:
        return bool(connection.scalar(query))


def _check(connection: Connection, role: str) -> None:
    if connection.scalar(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": role}) is None:
        raise ConfigurationInvalid(
            f"the database has no role {role[:60]!r}", mend="make it first: CREATE ROLE … LOGIN PASSWORD …"
        )
    owner = "SELECT relowner FROM pg_class WHERE oid = 'entry'::regclass"
    powers = f"SELECT rolsuper OR pg_has_role(:role, ({owner}), 'MEMBER') FROM pg_roles WHERE rolname = :role"  # noqa: S608
    if connection.scalar(text(powers), {"role": role}):
        raise ConfigurationInvalid(
            f"the role {role[:60]!r} owns the tables, or may do everything: rights cannot bind it",
            mend="name another role than the one that upgrades the schema",
        )


def _quoted(connection: Connection, name: str) -> str:
    return connection.dialect.identifier_preparer.quote_identifier(name)
