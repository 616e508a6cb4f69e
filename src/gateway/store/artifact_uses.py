"""Who names which artifact, so that one which nobody names can go.

A use is noted in the transaction that writes the name: of a large value its claim check, of a reference in JSON
(``"sha256": "…"``) whatever row it stands in. Holders are run ids and task ids, whose uses go with their run, and
kept results. Versions of models name theirs by foreign key, definitions and schedules in their text.

The collector takes away only what was not used for a long time (``artifact_collection.py``). Whoever notes a use of
such a one renews ``used_at`` first: that waits for a collector which has the row in its hands, and turns back one
that comes later.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, literal, select, update

from gateway.clock import SECOND
from gateway.store.dialect import insert_into
from gateway.store.tables import artifact, artifact_use

#: Of what belongs to no run and is never removed.
FOR_GOOD = "kept"
#: What was used within it is not written again: far below the collector's grace, far above a transaction's time.
_FRESH = 3600 * SECOND
_MARK = '"sha256":"'
_NAME = re.compile(_MARK + '([0-9a-f]{64})"')
#: Names in one statement.
_AT_ONCE = 500


def result_holder(key: str) -> str:
    """The holder of a result that equal steps may take."""
    return f"result:{key}"


def names_in(text: str) -> Sequence[str]:
    """The artifacts that JSON of ours refers to."""
    return _NAME.findall(text) if _MARK in text else ()


def note(connection: Connection, holder: str, names: Iterable[str], now: int) -> None:
    """Holds the artifacts of these names; one that is not there is not."""
    known = sorted(set(names))  # in one order: two writers never wait for each other in a ring
    for at in range(0, len(known), _AT_ONCE):
        some = known[at : at + _AT_ONCE]
        touch(connection, some, now)
        there = select(artifact.c.sha256, literal(holder)).where(artifact.c.sha256.in_(some))
        use = insert_into(connection, artifact_use).from_select(["sha256", "holder"], there)
        connection.execute(use.on_conflict_do_nothing())


def touch(connection: Connection, names: Sequence[str], now: int) -> None:
    """Renews when they were used, where that is long ago."""
    old = (artifact.c.sha256.in_(names), artifact.c.used_at < now - _FRESH)
    connection.execute(update(artifact).where(*old).values(used_at=now))
