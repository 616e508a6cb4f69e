"""Ways to break the gateway on purpose: with each, the storm must find something that does not hold."""

from __future__ import annotations

from pathlib import Path

#: What each breaks, as code that every process runs before its own: the fence (a worker that lost its lease may
#: still finish), the sweep (nobody looks for what a crash left undone), the recovery of the journals of the dead, the
#: care for connections (one that met an error goes back to the pool, as if it were whole).
CONTROLS = {
    "connection": """
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg as Dialect
rolled_back = Dialect.do_rollback
def do_rollback(self, connection):
    try:
        rolled_back(self, connection)
    except Exception:
        pass
Dialect.do_rollback = do_rollback
Dialect.is_disconnect = lambda *_given: False
Connection.invalidate = lambda *_given: None
""",
    "fence": """
import sqlalchemy
import gateway.store.run_store as broken
def moved(self, task_id, _token, _states, values):
    table = broken.step
    query = sqlalchemy.update(table).where(table.c.task_id == task_id).values(values)
    return self.connection.execute(query.returning(table.c.task_id)).first() is not None
broken.SqlEngineTx._moved = moved
""",
    "recovery": """
import gateway.store.journal_recovery as broken
broken.Recovery.run = lambda self: broken.Recovered()
""",
    "sweep": """
import gateway.engine.recovery as broken
broken.sweep = lambda *_given, **_named: broken.Swept(0, 0, 0)
""",
}

#: What the killer does where something is broken, so that it comes to light soon; see ``storm_killer.USUALLY``.
CHANCES = {
    "connection": {"database": 1},
    "fence": {"still": 3, "child": 1},
    "recovery": {"child": 1},
    "sweep": {"child": 1},
}

#: What the races for money can be broken by: every cap is taken to be a twentieth higher; one ended call in forty is
#: never brought into the ledger; a stream that was cut is not charged.
MONEY_CONTROLS = {
    "caps": """
import gateway.ledger.budget as broken
before = broken.Budget.cap.fget
broken.Budget.cap = property(lambda self: before(self) * 21 // 20)
""",
    "lost": """
import gateway.store.call_book as broken
before, seen = broken.SqlCallBook.take, []
def take(self, done):
    seen.append(1)
    if len(seen) % 40:
        before(self, done)
broken.SqlCallBook.take = take
""",
    "cuts": """
import gateway.serving.accounts as broken
before = broken.Accounts.settle
def settle(self, account, **told):
    if told.get("outcome") == "cancelled":
        told["cost"] = 0
    return before(self, account, **told)
broken.Accounts.settle = settle
""",
}


def write_control(folder: Path, name: str) -> Path:
    """A folder for the front of ``PYTHONPATH``."""
    folder.mkdir(parents=True)
    (folder / "sitecustomize.py").write_text({**CONTROLS, **MONEY_CONTROLS}[name])
    return folder
