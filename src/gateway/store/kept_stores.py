"""The stores of what is kept for callers, together, and what ends with its time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.clock import Clock
from gateway.store.batch_store import SqlBatchStore
from gateway.store.engine import Database
from gateway.store.file_store import SqlFileStore
from gateway.store.idempotency_store import SqlIdempotencyStore
from gateway.store.provider_batch_store import SqlProviderBatchStore
from gateway.store.response_store import SqlResponseStore


@dataclass(frozen=True, slots=True)
class KeptStores:
    """One of each."""

    responses: SqlResponseStore
    files: SqlFileStore
    batches: SqlBatchStore
    idempotency: SqlIdempotencyStore
    provider_batches: SqlProviderBatchStore

    @classmethod
    def over(cls, database: Database, clock: Clock, catch_up: Callable[[], object] = lambda: None) -> KeptStores:
        """All of them in one database. ``catch_up`` brings into the ledger what calls have cost."""
        return cls(
            SqlResponseStore(database, clock),
            SqlFileStore(database, clock),
            SqlBatchStore(database, clock, catch_up),
            SqlIdempotencyStore(database, clock, catch_up),
            SqlProviderBatchStore(database, clock),
        )

    def sweep(self) -> int:
        """Ends batches that nobody will end, and deletes what is past its time; how many."""
        ended = self.batches.sweep() + self.provider_batches.sweep()
        return ended + self.files.sweep() + self.responses.sweep() + self.idempotency.sweep()
