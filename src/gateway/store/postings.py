"""The double entry of charges, and the balances that it moves, in the transaction that enters them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from gateway.ledger.entry import Entry
from gateway.store.many_rows import insert_rows
from gateway.store.tables import balance, posting

_ADDED = (
    "(account) DO UPDATE SET amount = balance.amount + excluded.amount, entries = balance.entries + excluded.entries"
)


def post(connection: Connection, made: Sequence[Entry]) -> None:
    """The caller is debited what the provider is credited. Balances are moved in the order of their accounts, once
    for all entries: two writers wait for each other, and never in a ring."""
    pairs: list[tuple[str, str, int]] = []
    sums: dict[tuple[str, str], list[int]] = {}
    for item in made:
        entry_id, cost, key = item.entry_id, item.cost, (item.principal, item.provider)
        pairs += (entry_id, f"caller:{key[0]}", cost), (entry_id, f"provider:{key[1]}", -cost)
        total = sums.get(key)
        if total is None:
            sums[key] = [cost, 1]
        else:
            total[0] += cost
            total[1] += 1
    insert_rows(connection, posting, ("entry_id", "account", "amount"), pairs)
    insert_rows(connection, balance, ("account", "amount", "entries"), _moved(sums), conflict=_ADDED)


def _moved(sums: dict[tuple[str, str], list[int]]) -> list[tuple[str, int, int]]:
    """What each account is moved by, and by how many entries."""
    moved: dict[str, tuple[int, int]] = {}
    for (principal, provider), (cost, count) in sums.items():
        for account, amount in ((f"caller:{principal}", cost), (f"provider:{provider}", -cost)):
            before = moved.get(account, (0, 0))
            moved[account] = before[0] + amount, before[1] + count
    return [(account, *total) for account, total in sorted(moved.items())]
