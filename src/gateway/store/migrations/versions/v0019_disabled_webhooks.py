"""A subscription to webhooks can be disabled, and says since when and why."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("webhook_subscription", sa.Column("disabled_at", sa.BigInteger()))
    op.add_column("webhook_subscription", sa.Column("disabled_reason", sa.Text()))


def downgrade() -> None:
    raise NotImplementedError("schema changes go forward; restore a backup to go back")
