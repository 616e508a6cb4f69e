"""The record of a kept answer: it has its entry in the ledger too, at nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from gateway.errors import GatewayError
from gateway.ledger.pricing import card_for_llm
from gateway.ledger.savings import Saving, saved_by_answer_cache
from gateway.models.call import CallContext
from gateway.models.llm_models import Usage
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
    likeness = "similarity" in notes.get("cache", ())
    account.saved = partial(_saved, accounts.now(), catalogue, spec, used_by(kept), likeness)
    micros = (time.perf_counter_ns() - started) // 1000
    settled = accounts.settle(account, cost=0, micros=micros, upstream_model=kept.upstream_model)
    return AnswerMeta(
        request_id=call.request_id,
        model=kept.model,
        provider=kept.provider,
        upstream_model=kept.upstream_model,
        cost=0,
        cache="semantic" if likeness else "hit",
        created=kept.created,
        attempts=0,
        config_epoch=catalogue.epoch,
        entry_id=settled.entry.entry_id,
        latency_micros=(time.perf_counter_ns() - started) // 1000,
        limits=limits,
    )


def used_by(kept: Kept) -> Usage:
    """What the kept answer used when it was made."""
    if isinstance(kept.value, tuple):
        return next((piece.usage for piece in reversed(kept.value) if piece.usage is not None), Usage())
    return kept.value.usage


def _saved(
    now: int, catalogue: Catalogue, spec: ModelSpec, used: Usage, likeness: bool, *_settled: object
) -> list[Saving]:
    """What making the answer again would cost; nothing where no price is known any more."""
    provider = catalogue.provider(spec.provider)
    try:
        card = card_for_llm(spec.name, provider.price_list, spec.upstream_model, spec.price, now)
    except GatewayError:
        return []
    return saved_by_answer_cache(card, used, alike=likeness)
