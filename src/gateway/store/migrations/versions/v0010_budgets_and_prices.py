"""Budgets of projects, providers and single runs, with time zones, rolling windows and what happens at the cap;
entries say what was odd about their usage; hours of unusual spending."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("flags", "usage_detail"):
        op.add_column("entry", sa.Column(name, sa.Text(), nullable=False, server_default=""))
    corrections = sa.text("kind = 'correction'")
    op.create_index("entry_correction", "entry", ["hold_id"], sqlite_where=corrections, postgresql_where=corrections)
    for name, default in (("time_zone", ""), ("slots", "[]"), ("at_cap", "refuse"), ("degrade_to", "[]")):
        op.add_column("budget", sa.Column(name, sa.Text(), nullable=False, server_default=default))
    op.add_column("budget", sa.Column("parent", sa.Text(), nullable=True))
    for name in ("extra", "asked"):
        op.add_column("budget", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    op.create_index("ix_budget_parent", "budget", ["parent"])
    op.add_column("api_key", sa.Column("project", sa.Text(), nullable=True))
    op.create_table(
        "spend_anomaly",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("hour", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("spent", sa.BigInteger(), nullable=False),
        sa.Column("usual", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "subject", "hour"),
    )


def downgrade() -> None:
    raise NotImplementedError("schema changes go forward; restore a backup to go back")
