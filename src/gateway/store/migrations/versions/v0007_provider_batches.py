"""Requests that are handed to providers' batch APIs, and which way the lines of a batch went."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("batch", sa.Column("handling", sa.Text(), nullable=False, server_default="{}"))
    op.create_table(
        "batch_part",
        sa.Column("part_id", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("upstream_id", sa.Text()),
        sa.Column("upstream_status", sa.Text(), nullable=False),
        sa.Column("cancel_asked", sa.Boolean(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.Column("next_look", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("submitted_at", sa.BigInteger()),
        sa.Column("ended_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("part_id"),
    )
    op.create_index("batch_part_by_look", "batch_part", ["state", "next_look"])
    op.create_table(
        "batch_ask",
        sa.Column("ask_id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("gathering", sa.Text(), nullable=False),
        sa.Column("part_id", sa.Text()),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("unwanted", sa.Boolean(), nullable=False),
        sa.Column("hold_id", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("budgets", sa.Text(), nullable=False),
        sa.Column("terms", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text()),
        sa.Column("error", sa.Text()),
        sa.Column("cost", sa.BigInteger(), nullable=False),
        sa.Column("full_cost", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("ask_id"),
        sa.UniqueConstraint("owner", "line", name="batch_ask_once"),
    )
    op.create_index("ix_batch_ask_part_id", "batch_ask", ["part_id"])
    op.create_index("batch_ask_by_state", "batch_ask", ["state", "part_id"])


def downgrade() -> None:
    raise NotImplementedError("schema changes go forward; restore a backup to go back")
