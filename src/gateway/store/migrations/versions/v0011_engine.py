"""Steps that branch, fan out, wait for people and signals, and undo; runs that pause, with a result of their own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("run", sa.Column("output_mapping", sa.Text()))
    op.add_column("run", sa.Column("not_before", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("run", sa.Column("origin", sa.Text()))
    op.add_column("run", sa.Column("parent_run", sa.Text()))
    op.add_column("run", sa.Column("parent_task", sa.Text()))
    op.add_column("run", sa.Column("pins", sa.Text()))
    op.create_index("run_by_parent", "run", ["parent_run"])
    op.create_index("run_by_parent_task", "run", ["parent_task"])
    op.add_column("step", sa.Column("limited", sa.Boolean(), nullable=False, server_default=sa.false()))
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
    _limits_and_results()
    _schedules_and_dead_letters()
    _calls()


def _calls() -> None:
    op.create_table(
        "step_call",
        sa.Column("task_id", sa.Text(), sa.ForeignKey("step.task_id"), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer()),
        sa.Column("notes", sa.Text(), nullable=False),
        sa.Column("entry_id", sa.Text()),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("task_id", "generation", "request", "number"),
    )


def _limits_and_results() -> None:
    op.create_table(
        "step_limit",
        sa.Column("task_id", sa.Text(), sa.ForeignKey("step.task_id"), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("concurrency", sa.Integer()),
        sa.Column("rate", sa.Integer()),
        sa.Column("per", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("task_id", "key"),
    )
    op.create_index("step_limit_by_key", "step_limit", ["key"])
    op.create_table(
        "limiter",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "step_result",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("output", sa.Text(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index("ix_step_result_expires_at", "step_result", ["expires_at"])


def _schedules_and_dead_letters() -> None:
    op.create_table(
        "schedule",
        sa.Column("schedule_id", sa.Text(), nullable=False),
        sa.Column("workflow_id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("cron", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("catch_up", sa.Text(), nullable=False),
        sa.Column("overlap", sa.Text(), nullable=False),
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger()),
        sa.Column("last_run_id", sa.Text()),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("schedule_id"),
    )
    op.create_index("ix_schedule_owner", "schedule", ["owner"])
    op.create_index("schedule_by_due", "schedule", ["active", "next_at"])
    op.create_table(
        "dead_letter",
        sa.Column("task_id", sa.Text(), sa.ForeignKey("step.task_id"), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("closed_at", sa.BigInteger()),
        sa.Column("closed_by", sa.Text()),
        sa.Column("closed_as", sa.Text()),
        sa.PrimaryKeyConstraint("task_id"),
    )
    op.create_index("dead_letter_by_owner", "dead_letter", ["owner", "closed_at", "at"])


def downgrade() -> None:
    raise NotImplementedError("schema changes go forward; restore a backup to go back")
