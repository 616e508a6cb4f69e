"""What the database itself refuses: to change or delete what was written once.

Entries, postings, audit records, prompts and moves of their labels are insert-only. The refusal is a
trigger in both databases, so that a slip in our own code, or a hand at the database's prompt, is
stopped as well.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, text

#: Tables whose rows are never updated nor deleted.
INSERT_ONLY = ("entry", "posting", "audit")
#: The same, of later making.
PROMPTS = ("prompt", "prompt_label_move")
SAVINGS = ("saving",)

_POSTGRESQL_FUNCTION = """
CREATE OR REPLACE FUNCTION gateway_insert_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% is insert-only', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END $$
"""


def statements(dialect: str, tables: Sequence[str] = INSERT_ONLY) -> tuple[str, ...]:
    """The DDL that guards these tables, for ``sqlite`` or ``postgresql``; running it again is harmless."""
    if dialect == "sqlite":
        return tuple(
            f"CREATE TRIGGER IF NOT EXISTS {table}_no_{verb} BEFORE {verb.upper()} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is insert-only'); END"
            for table in tables
            for verb in ("update", "delete")
        )
    return (
        _POSTGRESQL_FUNCTION,
        *(
            f"CREATE OR REPLACE TRIGGER {table}_insert_only BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION gateway_insert_only()"
            for table in tables
        ),
        *(
            f"CREATE OR REPLACE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION gateway_insert_only()"
            for table in tables
        ),
    )


def install(connection: Connection, tables: Sequence[str] = INSERT_ONLY) -> None:
    """Sets the guards up; the tables must exist."""
    for statement in statements(connection.dialect.name, tables):
        connection.execute(text(statement))
