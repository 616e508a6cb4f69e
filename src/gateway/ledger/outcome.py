"""How a call ended, and the entry that it makes."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from gateway.ledger.entry import Charge, Entry
from gateway.ledger.pricing import repaired
from gateway.models.llm_models import Usage
from gateway.money import MAX_UNITS


class Outcome(Struct, frozen=True, gc=False):
    """How a call ended: what it cost (units), what it used, and who says so (``basis``).

    ``upstream_model`` names the model that answered, where that is not the one that was planned, and ``card`` what
    it was charged by, where that is not the card of its reservation.
    """

    cost: int
    outcome: str
    basis: str
    usage: Usage = Usage()
    inference_micros: int = 0
    rows: int = 0
    upstream_model: str | None = None
    flags: tuple[str, ...] = ()
    card: str = ""


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
        provider=charge.provider,
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
        price_card=outcome.card or card,
        outcome=outcome.outcome,
        config_epoch=charge.config_epoch,
        request_id=charge.request_id,
        run_id=charge.run_id,
        task_id=charge.task_id,
        flags=",".join(outcome.flags),
        usage_detail="" if usage.detail is None else msgspec.json.encode(usage.detail).decode(),
        workflow_id=charge.workflow_id,
        tags=charge.tags,
        at=at,
    )


def outcome_of(
    cost: int,
    usage: Usage,
    inference_micros: int,
    rows: int,
    outcome: str,
    *,
    basis: str | None = None,
    upstream_model: str | None = None,
    card: str = "",
) -> tuple[Outcome, tuple[str, ...]]:
    """How a call ended, and a flag for each rule that its usage had to be repaired by."""
    check_amount(cost)
    sound, flags = repaired(usage)
    said: Any = basis or sound.basis
    odd = (*sound.odd, *flags) if sound.odd else flags
    return (
        Outcome(
            cost=cost,
            outcome=outcome,
            basis="estimated" if flags else said,
            usage=sound,
            inference_micros=max(inference_micros, 0),
            rows=max(rows, 0),
            upstream_model=upstream_model,
            flags=odd,
            card=card,
        ),
        odd,
    )


def check_amount(amount: int) -> None:
    """``ValueError`` for an amount that no single charge has."""
    if not 0 <= amount <= MAX_UNITS:
        raise ValueError("an amount is from 0 to 900 million USD")
