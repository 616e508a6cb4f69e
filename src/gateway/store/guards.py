"""What the database itself refuses: to change or delete what was written once.

Entries, postings and audit records are insert-only. The refusal is a trigger in both databases, so
that a slip in our own code, or a hand at the database's prompt, is stopped as well.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

#: Tables whose rows are never updated nor deleted.
INSERT_ONLY = ("entry", "posting", "audit")

_POSTGRESQL_FUNCTION = """
CREATE OR REPLACE FUNCTION gateway_insert_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% is insert-only', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END $$
"""


def statements(dialect: str) -> tuple[str, ...]:
    """The DDL that sets the guards up, for ``sqlite`` or ``postgresql``; running it again is harmless."""
    if dialect == "sqlite":
        return tuple(
            f"CREATE TRIGGER IF NOT EXISTS {table}_no_{verb} BEFORE {verb.upper()} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is insert-only'); END"
            for table in INSERT_ONLY
            for verb in ("update", "delete")
        )
    return (
        _POSTGRESQL_FUNCTION,
        *(
            f"CREATE OR REPLACE TRIGGER {table}_insert_only BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION gateway_insert_only()"
            for table in INSERT_ONLY
        ),
        *(
            f"CREATE OR REPLACE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION gateway_insert_only()"
            for table in INSERT_ONLY
        ),
    )


def install(connection: Connection) -> None:
    """Sets the guards up; the tables must exist."""
    for statement in statements(connection.dialect.name):
        connection.execute(text(statement))
