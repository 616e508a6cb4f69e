"""Whether an intended charge was made already, by this run of it or by one that ended before it could say so."""

from __future__ import annotations

from sqlalchemy import Connection, select

from gateway.store.tables import entry

#: A call's second and later tries add their number to its cause; no plan has more.
_MOST_TRIES = 16


def was_charged(connection: Connection, cause: str) -> bool:
    """Whether doing it again could charge twice: an entry stands under the cause, or a later try of it. What
    calls of this process, and of dead ones, have cost is to be brought into the ledger before."""
    causes = [cause, *(f"{cause}#{number}" for number in range(2, _MOST_TRIES + 1))]
    return connection.execute(select(entry.c.entry_id).where(entry.c.cause.in_(causes)).limit(1)).first() is not None
