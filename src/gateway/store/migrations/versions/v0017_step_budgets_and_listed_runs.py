"""Budgets of steps, found by name also from runs within them; a step, or an item, is one run of another, never two."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("run", sa.Column("bounds", sa.Text()))
    op.create_index(
        "budget_in_force", "budget", ["scope", "parent"],
        sqlite_where=sa.text("active = 1"), postgresql_where=sa.text("active"),
    )  # fmt: skip
    op.drop_index("run_by_parent_task", "run")
    op.create_index("run_by_parent_task", "run", ["parent_task"], unique=True)


def downgrade() -> None:
    raise NotImplementedError("schema changes go forward; restore a backup to go back")
