"""Who names which artifact is noted, so that one which nobody names can go; deliveries are found by their run.

Who names what is there already is not known. It is kept until every run is gone that began before uses were noted
(``counter``: until when an older process may have written without; a day for upgrades that overlap).
"""

from __future__ import annotations

import time

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_DAY = 86_400 * 1_000_000


def upgrade() -> None:
    op.add_column("artifact", sa.Column("used_at", sa.BigInteger()))
    op.create_table(
        "artifact_use",
        sa.Column("sha256", sa.Text(), sa.ForeignKey("artifact.sha256"), primary_key=True),
        sa.Column("holder", sa.Text(), primary_key=True),
    )
    op.create_index("artifact_use_by_holder", "artifact_use", ["holder"])
    op.create_index("webhook_by_run", "webhook_delivery", ["run_id"])
    since = sa.text("INSERT INTO counter (name, value) VALUES ('artifact_uses', :value)")
    op.get_bind().execute(since, {"value": time.time_ns() // 1000 + _DAY})


def downgrade() -> None:
    raise NotImplementedError("schema changes go forward; restore a backup to go back")
