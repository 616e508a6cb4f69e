"""The sweep: whatever a crash left undone is found here and put back on its way."""

from __future__ import annotations

from msgspec import Struct

from gateway.engine.advance import cancel_run, lost
from gateway.engine.children import tell_ends
from gateway.engine.claim import dispatch
from gateway.engine.control import oversleep
from gateway.engine.ports import EngineStore, Executor


class Swept(Struct, frozen=True):
    """What one sweep did."""

    dispatched: int
    recovered: int
    timed_out: int

    @property
    def busy(self) -> bool:
        return bool(self.dispatched or self.recovered or self.timed_out)


def sweep(store: EngineStore, executor: Executor, now: int, *, limit: int = 200) -> Swept:
    """One pass: expired leases, runs past their deadline, steps that waited for somebody long enough, ready steps
    nobody rang for. Each is a transaction of its own, so that one bad row cannot hold up the rest."""
    with store.read() as tx:
        expired = tx.expired_leases(now, limit)
        overdue = tx.overdue_runs(now, limit)
        overslept = tx.overslept(now, limit)
    recovered = 0
    for step in expired:
        with store.begin() as tx:
            recovered += lost(tx, step, now)
    timed_out = 0
    for run_id in overdue:
        reason = {"code": "run_timeout", "message": "the run passed its timeout", "mend": "give it a longer timeout"}
        with store.begin() as tx:
            timed_out += cancel_run(tx, run_id, reason, now)
    for step in overslept:
        with store.begin() as tx:
            timed_out += oversleep(tx, step, now)
    recovered += tell_ends(store, executor, now, limit=limit)
    with store.begin() as tx:
        doorbells = dispatch(tx, now, limit=limit)
    executor.ring(doorbells)
    return Swept(len(doorbells), recovered, timed_out)
