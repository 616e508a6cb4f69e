"""The record of a kept answer: it has its entry in the ledger too, at nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from gateway.models.call import CallContext
from gateway.registry.catalogue import Catalogue, ModelSpec
from gateway.security.access import Caller
from gateway.security.limits import LimitState
from gateway.serving.accounts import Accounts
from gateway.serving.answer import AnswerMeta
from gateway.serving.answer_cache import Kept


async def replayed(
    accounts: Accounts,
    caller: Caller,
    call: CallContext,
    catalogue: Catalogue,
    asked: ModelSpec,
    kept: Kept,
    notes: Mapping[str, Any],
    limits: LimitState | None,
) -> AnswerMeta:
    """Records that ``kept`` answered this call. ``notes["cache"]`` tells a likeness, where it was one."""
    spec = catalogue.models.get(kept.model, asked)
    started = time.perf_counter_ns()

    free = "from the cache, not charged"
    account = await accounts.open(caller, call, catalogue, spec, "llm", 0, free, notes=notes)
    micros = (time.perf_counter_ns() - started) // 1000
    settled = accounts.settle(account, cost=0, micros=micros, upstream_model=kept.upstream_model)
    return AnswerMeta(
        request_id=call.request_id,
        model=kept.model,
        provider=kept.provider,
        upstream_model=kept.upstream_model,
        cost=0,
        cache="semantic" if "similarity" in notes.get("cache", ()) else "hit",
        created=kept.created,
        attempts=0,
        config_epoch=catalogue.epoch,
        entry_id=settled.entry.entry_id,
        latency_micros=(time.perf_counter_ns() - started) // 1000,
        limits=limits,
    )
