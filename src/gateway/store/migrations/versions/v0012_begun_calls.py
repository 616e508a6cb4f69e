"""Calls of steps are noted before they are made."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "step_call_begun",
        sa.Column("task_id", sa.Text(), sa.ForeignKey("step.task_id"), nullable=False),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("followed_by", sa.Text()),
        sa.PrimaryKeyConstraint("task_id", "token", "request", "number"),
    )


def downgrade() -> None:
    raise NotImplementedError("schema changes go forward; restore a backup to go back")
