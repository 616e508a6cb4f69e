"""Sums of usage by hour and day, tags and workflows of entries, and what calls saved.

Entries that are there already are summed once. What they were tagged with, and which workflow they belong
to, was not kept: both are empty for them, in the entries as in the sums.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from gateway.store import guards
from gateway.store.usage_rollups import series_id

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_SERIES = (
    "principal", "key_id", "team", "model", "provider", "workflow_id", "kind", "outcome", "basis", "tags",
)  # fmt: skip
_SUMS = (
    "calls", "entries", "input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens",
    "inference_micros", "rows", "cost",
)  # fmt: skip
_ADDED_UP = """
SELECT principal, coalesce(key_id, '') AS key_id, coalesce(team, '') AS team, model, provider,
  coalesce(workflow_id, '') AS workflow_id, kind, outcome, basis, tags, at / {width} AS slot,
  sum(CASE WHEN kind = 'correction' THEN 0 ELSE 1 END) AS calls, count(*) AS entries,
  sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens, sum(cached_tokens) AS cached_tokens,
  sum(cache_write_tokens) AS cache_write_tokens, sum(reasoning_tokens) AS reasoning_tokens,
  sum(inference_micros) AS inference_micros, sum("rows") AS "rows", sum(cost) AS cost
FROM entry
GROUP BY principal, coalesce(key_id, ''), coalesce(team, ''), model, provider, coalesce(workflow_id, ''), kind,
  outcome, basis, tags, at / {width}
"""
_HOUR = 3_600_000_000


def upgrade() -> None:
    op.add_column("entry", sa.Column("workflow_id", sa.Text()))
    op.add_column("entry", sa.Column("tags", sa.Text(), nullable=False, server_default=""))
    op.create_table(
        "usage_series",
        sa.Column("series_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in _SERIES),
    )
    for slot in ("hour", "day"):
        op.create_table(
            f"usage_{slot}",
            sa.Column("series_id", sa.BigInteger(), primary_key=True, autoincrement=False),
            sa.Column(slot, sa.BigInteger(), primary_key=True, autoincrement=False),
            *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _SUMS),
            sqlite_with_rowid=False,
        )
    op.create_table(
        "saving",
        sa.Column("entry_id", sa.Text(), sa.ForeignKey("entry.entry_id"), primary_key=True),
        sa.Column("method", sa.Text(), primary_key=True),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "usage_saving",
        sa.Column("series_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("day", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("method", sa.Text(), primary_key=True),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("calls", "amount", "tokens")),
        sqlite_with_rowid=False,
    )
    guards.install(op.get_bind(), guards.SAVINGS)
    for slot, width in (("hour", _HOUR), ("day", 24 * _HOUR)):
        _sum(slot, width)


def downgrade() -> None:
    raise NotImplementedError("schema changes go forward; restore a backup to go back")


def _sum(slot: str, width: int) -> None:
    connection = op.get_bind()
    new = ", ".join(f":{name}" for name in ("series_id", *_SERIES))
    series = sa.text(f"INSERT INTO usage_series VALUES ({new}) ON CONFLICT DO NOTHING")  # noqa: S608 - names of ours
    sums = ", ".join(f":{name}" for name in ("series_id", "slot", *_SUMS))
    summed = sa.text(f"INSERT INTO usage_{slot} VALUES ({sums})")  # noqa: S608 - names of ours
    query = sa.text(_ADDED_UP.format(width=width))
    found = connection.execute(query, execution_options={"stream_results": True}).mappings()
    while rows := found.fetchmany(1000):
        numbered = [{**row, "series_id": series_id(tuple(row[name] for name in _SERIES))} for row in rows]
        connection.execute(series, numbered)
        connection.execute(summed, [{name: row[name] for name in ("series_id", "slot", *_SUMS)} for row in numbered])
