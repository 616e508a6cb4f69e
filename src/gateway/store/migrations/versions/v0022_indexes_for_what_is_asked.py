"""Indexes for what is asked, and no more: a change of a step is written into fewer of them (decision 14).

The table ``edge`` stays, for processes of the version before still write it while the schema is brought up to date.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _runs()
    _steps()
    op.drop_index("edge_by_dependency", "edge")
    if op.get_bind().dialect.name == "sqlite":
        _make_events_again()
    else:
        op.drop_index("ix_event_run_id", "event")
        op.drop_index("ix_event_task_id", "event")
    op.create_index("event_by_run", "event", ["run_id", "id"], **_only("run_id IS NOT NULL"))


def downgrade() -> None:
    raise NotImplementedError("schema changes go forward; restore a backup to go back")


def _only(condition: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def _runs() -> None:
    for name in ("parent", "parent_task", "owner", "status"):
        op.drop_index(f"run_by_{name}", "run")
    op.create_index("run_by_parent", "run", ["parent_run"], **_only("parent_run IS NOT NULL"))
    there = _only("parent_task IS NOT NULL")
    op.create_index("run_by_parent_task", "run", ["parent_task"], unique=True, **there)
    op.create_index("run_by_owner", "run", ["owner", "run_id"])
    op.create_index("run_by_time", "run", ["created_at", "run_id"])
    op.create_index("run_live", "run", ["status", "deadline"], **_only("status IN ('pending', 'running', 'paused')"))
    op.create_index("run_ended_badly", "run", ["status", "run_id"], **_only("status IN ('failed', 'cancelled')"))


def _steps() -> None:
    for name in ("parent", "run", "state", "lease"):
        op.drop_index(f"step_by_{name}", "step")
    for name, columns, condition in (
        ("step_shown", ["run_id", "parent"], "parent IS NULL"),
        ("step_by_parent", ["parent", "item_index"], "parent IS NOT NULL"),
        ("step_item_waiting", ["parent", "state", "item_index"], "parent IS NOT NULL AND state = 'waiting'"),
        ("step_ready", ["run_id", "not_before"], "state = 'ready'"),
        ("step_leased", ["state", "lease_until"], "state IN ('queued', 'running')"),
        ("step_resting", ["state", "wake_at"], "state IN ('parked', 'gathering')"),
        ("step_ended_badly", ["state", "parent"], "state IN ('failed', 'cancelled', 'skipped')"),
    ):
        op.create_index(name, "step", columns, **_only(condition))


def _make_events_again() -> None:
    """SQLite keeps the rows of a table in the order of its key, without an index of it, where the key is INTEGER."""
    op.create_table(
        "event_again",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text()),
        sa.Column("task_id", sa.Text()),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    columns = "id, type, run_id, task_id, owner, payload, created_at"
    op.execute(f"INSERT INTO event_again ({columns}) SELECT {columns} FROM event ORDER BY id")  # noqa: S608
    op.drop_table("event")
    op.rename_table("event_again", "event")
