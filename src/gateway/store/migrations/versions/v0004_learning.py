"""What is learned of deployments: outcomes by hour, feedback by call; and calls are found by their request."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "deployment_outcome",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("hour", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("answered", sa.BigInteger(), nullable=False),
        sa.Column("failed", sa.BigInteger(), nullable=False),
        sa.Column("micros", sa.BigInteger(), nullable=False),
        sa.Column("measured", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("model", "hour"),
    )
    op.create_table(
        "feedback",
        sa.Column("entry_id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("principal", sa.Text(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("score >= 0 AND score <= 1", name="feedback_score_is_a_share"),
        sa.ForeignKeyConstraint(["entry_id"], ["entry.entry_id"]),
        sa.PrimaryKeyConstraint("entry_id"),
    )
    op.create_index("ix_feedback_at", "feedback", ["at"])
    op.create_index("feedback_by_model", "feedback", ["model", "at"])
    op.create_index("entry_by_request", "entry", ["request_id"])


def downgrade() -> None:
    raise NotImplementedError("schema changes go forward; restore a backup to go back")
