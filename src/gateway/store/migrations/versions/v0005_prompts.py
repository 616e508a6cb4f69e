"""Prompts: chats, typed variables, defaults; labels and their moves; results by version."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from gateway.store import guards

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name, default in (("messages", "[]"), ("inputs", "[]"), ("defaults", "{}"), ("comment", "")):
        op.add_column("prompt", sa.Column(name, sa.Text(), nullable=False, server_default=default))
    op.create_table(
        "prompt_label_move",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("targets", sa.Text(), nullable=False),
        sa.Column("previous", sa.BigInteger()),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", "label", "revision"),
    )
    op.create_table(
        "prompt_result",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("bucket", sa.Integer(), nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("cost", sa.BigInteger(), nullable=False),
        sa.Column("micros", sa.BigInteger(), nullable=False),
        sa.Column("scores", sa.BigInteger(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name", "version", "label", "day", "bucket"),
    )
    guards.install(op.get_bind(), guards.PROMPTS)


def downgrade() -> None:
    raise NotImplementedError("schema changes go forward; restore a backup to go back")
