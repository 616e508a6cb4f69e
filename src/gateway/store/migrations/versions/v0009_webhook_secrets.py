"""A delivery knows its subscription; a subscription has two secrets while one is being rotated."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("webhook_delivery", sa.Column("subscription_id", sa.Text()))
    op.add_column("webhook_subscription", sa.Column("old_secret", sa.Text()))
    op.add_column("webhook_subscription", sa.Column("old_secret_until", sa.BigInteger()))


def downgrade() -> None:
    raise NotImplementedError("schema changes go forward; restore a backup to go back")
