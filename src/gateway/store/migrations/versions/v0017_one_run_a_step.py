"""A step, or an item of one, is done as one run of another workflow, never two: the schema says so too."""

from __future__ import annotations

from alembic import op

revision = "0017"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("run_by_parent_task", "run")
    op.create_index("run_by_parent_task", "run", ["parent_task"], unique=True)


def downgrade() -> None:
    raise NotImplementedError("schema changes go forward; restore a backup to go back")
