"""What the task type ``llm_batch`` works with, beside what every step has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.errors import GatewayError
from gateway.ledger.cost_tracker import Ledger
from gateway.models.call import CallContext
from gateway.models.llm_models import Chat, Reply
from gateway.security.access import Caller
from gateway.serving.batch_offers import BatchOffers
from gateway.store.batch_store import SqlBatchStore
from gateway.store.file_store import SqlFileStore
from gateway.store.provider_batch_store import SqlProviderBatchStore

#: The doors whose requests a batch may hold.
ENDPOINTS = ("/v1/chat/completions", "/v1/responses", "/v1/embeddings")


class LinePort(Protocol):
    """Answers a line as the door it names would; the doors' own code, see ``api.lines``."""

    async def answer(
        self, caller: Caller, endpoint: str, body: Mapping[str, Any], call: CallContext
    ) -> dict[str, Any]: ...

    def chat(self, endpoint: str, body: Mapping[str, Any]) -> Chat | None: ...

    async def told(self, caller: Caller, endpoint: str, body: Mapping[str, Any], reply: Reply) -> dict[str, Any]: ...

    def refusal(self, error: GatewayError, request_id: str) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class BatchTools:
    """Batches, the files they read and write, the doors, and the way to providers' batch APIs."""

    batches: SqlBatchStore
    files: SqlFileStore
    lines: LinePort
    #: Requests that go by the batch APIs of providers, and the ledger that sums what a batch cost.
    offers: BatchOffers
    asks: SqlProviderBatchStore
    ledger: Ledger
    #: How often one that waits for a provider's batch looks, in seconds.
    every: float
