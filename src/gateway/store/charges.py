"""Whether an intended charge was made already, by this run of it or by one that ended before it could say so."""

from __future__ import annotations

from sqlalchemy import Connection, select

from gateway.store.tables import entry, hold

#: A call's second and later tries add their number to its cause; no plan has more.
_MOST_TRIES = 16


def was_charged(connection: Connection, cause: str) -> bool:
    """Whether doing it again could charge twice: an entry stands under the cause, or a later try of it
    still holds money. (A first try that holds does not count: the same cause gives the same hold.)"""
    later = [f"{cause}#{number}" for number in range(2, _MOST_TRIES + 1)]
    settled = connection.execute(select(entry.c.entry_id).where(entry.c.cause.in_([cause, *later])).limit(1)).first()
    if settled is not None:
        return True
    held = select(hold.c.hold_id).where(hold.c.cause.in_(later), hold.c.state == "held").limit(1)
    return connection.execute(held).first() is not None
