"""What the service's own role may do on PostgreSQL: all that its work needs, but no change to what is written once.

The triggers of ``guards`` stop a slip; whoever owns a table can drop them. So the service may run as a role
that owns nothing: it reads and adds everywhere, and has neither UPDATE nor DELETE nor TRUNCATE on the entries,
postings, savings, audit records, prompts and moves of labels. The owner's role makes the schema and grants this.
"""

from __future__ import annotations

from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url

from gateway.errors import ConfigurationInvalid
from gateway.store.guards import INSERT_ONLY, PROMPTS, SAVINGS

#: Every table whose rows are never changed.
WRITTEN_ONCE = (*INSERT_ONLY, *PROMPTS, *SAVINGS)
_CHANGES = ("UPDATE", "DELETE", "TRUNCATE")


def grant_service(connection: Connection, service_url: str) -> str:
    """Gives the user of ``service_url`` what the service needs, and takes what it must not have; the role's name.

    Makes the role, with the password of the address, where there is none. Again: the same. Needs the owner of
    the tables. ``ConfigurationInvalid`` where the address names nobody, or the owner.
    """
    address = make_url(service_url)
    role = address.username or ""
    if not role or connection.scalar(text("SELECT current_user")) == role:
        raise ConfigurationInvalid(
            "DATABASE_URL names no role of its own for the service",
            mend="give DATABASE_URL a user who is not that of GATEWAY_DATABASE_OWNER_URL",
        )
    found = connection.execute(text("SELECT rolsuper FROM pg_roles WHERE rolname = :role"), {"role": role}).first()
    if found is None:
        _run(connection, "CREATE ROLE %I LOGIN PASSWORD %L", role, address.password)
    elif found.rolsuper:
        raise ConfigurationInvalid(
            f"the role {role} is a superuser, so no right can be taken from it",
            mend="let the service have a role of its own",
        )
    schema = str(connection.scalar(text("SELECT current_schema()")))
    _run(connection, "GRANT USAGE ON SCHEMA %I TO %I", schema, role)
    _run(connection, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I TO %I", schema, role)
    _run(connection, "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA %I TO %I", schema, role)
    _run(connection, "REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM %I", role)
    for table in WRITTEN_ONCE:
        _run(connection, f"REVOKE {', '.join(_CHANGES)} ON {table} FROM %I", role)
    return role


def changeable(connection: Connection) -> tuple[str, ...]:
    """The tables that are written once and that the role of this connection may change all the same."""
    query = text("SELECT has_table_privilege(current_user, CAST(:name AS text), :rights)")
    rights = ", ".join(_CHANGES)
    return tuple(name for name in WRITTEN_ONCE if connection.scalar(query, {"name": name, "rights": rights}))


def _run(connection: Connection, form: str, *names: str | None) -> None:
    """Runs a statement that takes no parameters: the database itself quotes the names for it."""
    places = ", ".join(f"CAST(:name{number} AS text)" for number in range(len(names)))
    values = {f"name{number}": name for number, name in enumerate(names)}
    made = connection.scalar(text(f"SELECT format(:form, {places})"), {"form": form, **values})
    connection.exec_driver_sql(str(made).replace("%", "%%"))
