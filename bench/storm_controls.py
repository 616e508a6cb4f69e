"""Ways to break the gateway on purpose: with each, the storm must find something that does not hold."""

from __future__ import annotations

from pathlib import Path

#: What each breaks, as code that every process runs before its own: the fence (a worker that lost its lease may
#: still finish), the sweep (nobody looks for what a crash left undone), the recovery of the journals of the dead.
CONTROLS = {
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
broken.sweep = lambda *_given, **_named: 0
""",
}


def write_control(folder: Path, name: str) -> Path:
    """A folder for the front of ``PYTHONPATH``."""
    folder.mkdir(parents=True)
    (folder / "sitecustomize.py").write_text(CONTROLS[name])
    return folder
