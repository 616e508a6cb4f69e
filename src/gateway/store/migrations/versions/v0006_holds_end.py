"""Calls go through journals alone: holds of older versions that still stand are settled as ``unresolved`` at
their reservation, and their tables go.

Whoever held them is gone: no process of this version works on the schema of an older one. What became of
their calls nobody can say, so each is charged in full, as the sweep of the older version would have done.
"""

from __future__ import annotations

import time

import msgspec
import sqlalchemy as sa
from alembic import op

from gateway.ids import new_id
from gateway.ledger.budgets import window_start

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_ENTRY = (
    "entry_id", "cause", "hold_id", "kind", "principal", "key_id", "team", "model", "provider", "upstream_model",
    "cost", "basis", "price_card", "outcome", "config_epoch", "request_id", "run_id", "task_id", "at",
)  # fmt: skip
_COUNTS = (
    "input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens", "inference_micros",
    "rows",
)  # fmt: skip
_entry = sa.table("entry", *(sa.column(name) for name in (*_ENTRY, *_COUNTS)))
_posting = sa.table("posting", *(sa.column(name) for name in ("entry_id", "account", "amount")))


def upgrade() -> None:
    connection = op.get_bind()
    now = time.time_ns() // 1000
    held = sa.text("SELECT hold_id, cause, amount, request FROM hold WHERE state = 'held' ORDER BY hold_id")
    for row in connection.execute(held).all():
        _settle(connection, row, now)
    op.drop_table("hold_budget")
    op.drop_table("hold")


def downgrade() -> None:
    raise NotImplementedError("schema changes go forward; restore a backup to go back")


def _settle(connection: sa.Connection, row: sa.Row[tuple[str, str, int, str]], now: int) -> None:
    intent = msgspec.json.decode(row.request)
    charge = intent["charge"]
    taken = sa.text("SELECT 1 FROM entry WHERE cause = :cause")
    cause = row.cause if connection.scalar(taken, {"cause": row.cause}) is None else f"{row.cause}#{row.hold_id}"
    entry_id = new_id("entry")
    values = {
        **{name: charge.get(name) for name in _ENTRY},
        **dict.fromkeys(_COUNTS, 0),
        "entry_id": entry_id,
        "cause": cause,
        "hold_id": row.hold_id,
        "upstream_model": charge.get("upstream_model", ""),
        "config_epoch": charge.get("config_epoch", ""),
        "cost": row.amount,
        "basis": "estimated",
        "price_card": intent["card"],
        "outcome": "unresolved",
        "at": now,
    }
    connection.execute(sa.insert(_entry).values(values))
    for account, amount in (
        (f"caller:{charge['principal']}", row.amount),
        (f"provider:{charge['provider']}", -row.amount),
    ):
        connection.execute(sa.insert(_posting).values(entry_id=entry_id, account=account, amount=amount))
        connection.execute(
            sa.text(
                "INSERT INTO balance (account, amount, entries) VALUES (:account, :amount, 1) ON CONFLICT (account) "
                "DO UPDATE SET amount = balance.amount + excluded.amount, entries = balance.entries + 1"
            ),
            {"account": account, "amount": amount},
        )
    _spend(connection, row.hold_id, row.amount, now)


def _spend(connection: sa.Connection, hold_id: str, cost: int, now: int) -> None:
    """What the hold had reserved is spent, in the window that runs now."""
    query = sa.text(
        'SELECT budget.budget_id, budget."window", budget.window_start, hold_budget.amount FROM hold_budget '
        "JOIN budget ON budget.budget_id = hold_budget.budget_id WHERE hold_budget.hold_id = :hold_id "
        "ORDER BY budget.budget_id"
    )
    change = sa.text(
        "UPDATE budget SET reserved = reserved - :amount, spent = :kept * spent + :cost, window_start = :start, "
        "alerted = CASE WHEN :kept = 1 THEN alerted ELSE '[]' END WHERE budget_id = :budget_id"
    )
    for row in connection.execute(query, {"hold_id": hold_id}).all():
        current = window_start(row.window, now)
        values = {"budget_id": row.budget_id, "amount": row.amount, "cost": cost}
        rolled = current > row.window_start
        values |= {"kept": 0 if rolled else 1, "start": current if rolled else row.window_start}
        connection.execute(change, values)
