"""Calls go through a journal of their process: shares of budgets, and how far each journal is in the ledger."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "budget_lease",
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("budget_id", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("amount >= 0", name="budget_lease_not_negative"),
        sa.ForeignKeyConstraint(["budget_id"], ["budget.budget_id"]),
        sa.PrimaryKeyConstraint("holder", "budget_id"),
    )
    op.create_table(
        "journal_mark",
        sa.Column("journal", sa.Text(), nullable=False),
        sa.Column("segment", sa.BigInteger(), nullable=False),
        sa.Column("applied", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("journal"),
    )


def downgrade() -> None:
    raise NotImplementedError("schema changes go forward; restore a backup to go back")
