"""Steps that branch, fan out, wait for people and signals, and undo; runs that pause, with a result of their own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("run", sa.Column("output_mapping", sa.Text()))
    op.add_column("run", sa.Column("not_before", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("run", sa.Column("origin", sa.Text()))
    op.add_column("step", sa.Column("role", sa.Text(), nullable=False, server_default="step"))
    op.add_column("step", sa.Column("parent", sa.Text()))
    op.add_column("step", sa.Column("item_index", sa.Integer()))
    op.add_column("step", sa.Column("item", sa.Text()))
    op.add_column("step", sa.Column("gated", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("step", sa.Column("wake_at", sa.BigInteger()))
    op.add_column("step", sa.Column("decision", sa.Text()))
    op.add_column("step", sa.Column("record", sa.Text()))
    op.create_index("step_by_parent", "step", ["parent", "state", "item_index"])
    op.create_index("step_by_run", "step", ["run_id", "role", "state"])
    op.create_table(
        "signal",
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("run_id", sa.Text(), sa.ForeignKey("run.run_id"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("taken_by", sa.Text()),
    )
    op.create_index("signal_by_run", "signal", ["run_id", "name", "taken_by"])


def downgrade() -> None:
    raise NotImplementedError("schema changes go forward; restore a backup to go back")
