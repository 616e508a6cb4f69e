"""Users and teams have rate limits of their own, and whoever has limits may have one on calls at once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rate_limit",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("requests_per_minute", sa.Integer()),
        sa.Column("tokens_per_minute", sa.Integer()),
        sa.Column("max_concurrent", sa.Integer()),
        sa.Column("set_by", sa.Text(), nullable=False),
        sa.Column("set_at", sa.BigInteger(), nullable=False),
    )
    op.add_column("api_key", sa.Column("max_concurrent", sa.Integer()))


def downgrade() -> None:
    raise NotImplementedError("schema changes go forward; restore a backup to go back")
