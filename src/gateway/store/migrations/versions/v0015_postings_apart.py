"""Entries are cheaper to add: a posting's entry is no longer looked up for each posting, for they are written in
one transaction and the ledger's check finds one without the other; and only entries of runs are indexed by them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from gateway.store.guards import install

revision = "0015"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        op.drop_constraint("posting_entry_id_fkey", "posting", type_="foreignkey")
    else:
        _make_again(connection)
    for name in ("run_id", "task_id"):
        op.drop_index(f"ix_entry_{name}", "entry")
        there = sa.text(f"{name} IS NOT NULL")
        op.create_index(f"ix_entry_{name}", "entry", [name], sqlite_where=there, postgresql_where=there)


def downgrade() -> None:
    raise NotImplementedError("schema changes go forward; restore a backup to go back")


def _make_again(connection: sa.Connection) -> None:
    """SQLite drops no constraint of a table that is there; in the new one, a posting stands in its key's order."""
    op.create_table(
        "posting_apart",
        sa.Column("entry_id", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("entry_id", "account"),
        sqlite_with_rowid=False,
    )
    columns = "entry_id, account, amount"
    op.execute(f"INSERT INTO posting_apart ({columns}) SELECT {columns} FROM posting ORDER BY entry_id, account")  # noqa: S608
    op.drop_table("posting")
    op.rename_table("posting_apart", "posting")
    install(connection, ("posting",))
