"""The durable intent: no upstream is called before the ledger has said, on disk, that it will be.

A hold is that intent. Its states, and the only ways between them:

    held ──settle──▶ settled       the call ended and its cost is an entry
      ├───release──▶ released      the upstream was never reached, or surely did no work: no entry
      └────sweep───▶ unresolved    nobody came back in time: an entry at the full reservation

``settled``, ``released`` and ``unresolved`` are ends, with two exceptions that keep the ledger equal
to reality: a released cause may be reserved again (nothing was charged for it), and a call that
comes back after its hold was swept adds a *correction* entry over the difference, so that the sum of
both is what it truly cost. Nothing is ever updated in or deleted from the entries.

The hold and its budgets commit in one transaction, before the call; the entry, its postings, the
balances and the budgets commit in one transaction, after it. A process killed between the two leaves
a hold that expires; a process killed inside either leaves nothing. Hence after any crash each intent
ends settled, released or ``unresolved`` at its reservation, and no budget stays reserved for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from msgspec import Struct

from gateway.ledger.entry import Charge, Entry, Hold, HoldState
from gateway.ledger.pricing import repaired
from gateway.models.llm_models import Usage
from gateway.money import MAX_UNITS

#: From each state, the states that may follow.
TRANSITIONS: Mapping[HoldState, frozenset[HoldState]] = MappingProxyType(
    {
        "held": frozenset({"settled", "released", "unresolved"}),
        "settled": frozenset(),
        "released": frozenset({"held"}),
        "unresolved": frozenset(),
    }
)
#: How long a hold may stand before the sweep resolves it, in seconds, unless the caller says so.
DEFAULT_TTL_SECONDS = 600


class Outcome(Struct, frozen=True):
    """How a call ended: what it cost (units), what it used, and who says so (``basis``).

    ``provider`` and ``upstream_model`` name whoever answered, where that is not who was planned.
    """

    cost: int
    outcome: str
    basis: str
    usage: Usage = Usage()
    inference_micros: int = 0
    rows: int = 0
    provider: str | None = None
    upstream_model: str | None = None


def may_follow(current: HoldState, following: HoldState) -> bool:
    """Whether a hold may go from ``current`` to ``following``."""
    return following in TRANSITIONS[current]


def entry_of(entry_id: str, charge: Charge, outcome: Outcome, *, card: str, hold_id: str | None, at: int) -> Entry:
    """The entry that a charge and its outcome make."""
    usage = outcome.usage
    return Entry(
        entry_id=entry_id,
        cause=charge.cause,
        hold_id=hold_id,
        kind=charge.kind,
        principal=charge.principal,
        key_id=charge.key_id,
        team=charge.team,
        model=charge.model,
        provider=outcome.provider or charge.provider,
        upstream_model=charge.upstream_model if outcome.upstream_model is None else outcome.upstream_model,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cached_tokens=usage.cached_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        inference_micros=outcome.inference_micros,
        rows=outcome.rows,
        cost=outcome.cost,
        basis=outcome.basis,
        price_card=card,
        outcome=outcome.outcome,
        config_epoch=charge.config_epoch,
        request_id=charge.request_id,
        run_id=charge.run_id,
        task_id=charge.task_id,
        workflow_id=charge.workflow_id,
        tags=charge.tags,
        at=at,
    )


def correction_cause(cause: str) -> str:
    """The cause of the entry that sets right a hold that was swept too early."""
    return f"{cause}#correction"


def correction_of(first: Entry, late: Entry) -> Entry:
    """The entry over the difference between what the sweep assumed (``first``) and what a call that
    came back ``late`` truly used; with ``first`` it sums to ``late``, except that both name the
    provider and model of ``first``, whose accounts it corrects."""
    return Entry(
        entry_id=late.entry_id,
        cause=correction_cause(first.cause),
        hold_id=first.hold_id,
        kind="correction",
        principal=first.principal,
        key_id=first.key_id,
        team=first.team,
        model=first.model,
        provider=first.provider,
        upstream_model=first.upstream_model,
        input_tokens=late.input_tokens - first.input_tokens,
        output_tokens=late.output_tokens - first.output_tokens,
        cached_tokens=late.cached_tokens - first.cached_tokens,
        cache_write_tokens=late.cache_write_tokens - first.cache_write_tokens,
        reasoning_tokens=late.reasoning_tokens - first.reasoning_tokens,
        inference_micros=late.inference_micros - first.inference_micros,
        rows=late.rows - first.rows,
        cost=late.cost - first.cost,
        basis=late.basis,
        price_card=late.price_card,
        outcome=late.outcome,
        config_epoch=first.config_epoch,
        request_id=first.request_id,
        run_id=first.run_id,
        task_id=first.task_id,
        workflow_id=first.workflow_id,
        tags=first.tags,
        at=late.at,
    )


def outcome_of(
    cost: int,
    usage: Usage,
    inference_micros: int,
    rows: int,
    outcome: str,
    basis: str | None,
    provider: str | None,
    upstream_model: str | None,
) -> tuple[Outcome, tuple[str, ...]]:
    """How a call ended, and a flag for each rule that its usage had to be repaired by."""
    check_amount(cost)
    sound, flags = repaired(usage)
    said: Any = basis or sound.basis
    return (
        Outcome(
            cost=cost,
            outcome=outcome,
            basis="estimated" if flags else said,
            usage=sound,
            inference_micros=max(inference_micros, 0),
            rows=max(rows, 0),
            provider=provider,
            upstream_model=upstream_model,
        ),
        flags,
    )


def check_amount(amount: int) -> None:
    """``ValueError`` for an amount that no single charge has."""
    if not 0 <= amount <= MAX_UNITS:
        raise ValueError("an amount is from 0 to 900 million USD")


def held(hold: Hold) -> bool:
    """Whether the hold still stands."""
    return hold.state == "held"
