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


def entry_of(entry_id: str, charge: Charge, outcome: Outcome, card: str, hold_id: str | None, at: int) -> Entry:
    """The entry that a charge and its outcome make."""
    usage = outcome.usage
    return Entry(  # in the order of its fields: thus it is made several times as quickly as from names
        entry_id,
        charge.cause,
        charge.kind,
        charge.principal,
        charge.model,
        charge.provider,
        outcome.cost,
        outcome.basis,
        outcome.card or card,
        outcome.outcome,
        charge.request_id,
        at,
        hold_id,
        charge.key_id,
        charge.team,
        charge.upstream_model if outcome.upstream_model is None else outcome.upstream_model,
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
        outcome.inference_micros,
        outcome.rows,
        charge.config_epoch,
        charge.run_id,
        charge.task_id,
        ",".join(outcome.flags) if outcome.flags else "",
        "" if usage.detail is None else msgspec.json.encode(usage.detail).decode(),
        charge.workflow_id,
        charge.tags,
    )


def outcome_of(
    cost: int,
    usage: Usage,
    inference_micros: int,
    rows: int,
    outcome: str,
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
            cost,
            outcome,
            "estimated" if flags else said,
            sound,
            inference_micros if inference_micros > 0 else 0,
            rows if rows > 0 else 0,
            upstream_model,
            odd,
            card,
        ),
        odd,
    )


def check_amount(amount: int) -> None:
    """``ValueError`` for an amount that no single charge has."""
    if not 0 <= amount <= MAX_UNITS:
        raise ValueError("an amount is from 0 to 900 million USD")
