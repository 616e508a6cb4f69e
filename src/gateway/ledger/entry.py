"""The shapes of the ledger: what is to be charged, what was charged, what is summed.

Amounts are units of 10⁻¹⁰ USD (see ``gateway.money``), times UTC microseconds.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Kind = Literal["llm", "ml", "correction", "manual"]


class Charge(Struct, frozen=True, gc=False):
    """Who is about to call what. ``cause`` is unique to one intended charge."""

    cause: str
    kind: Literal["llm", "ml"]
    principal: str
    model: str
    provider: str
    request_id: str
    key_id: str | None = None
    team: str | None = None
    upstream_model: str = ""
    workflow_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    config_epoch: str = ""
    project: str | None = None
    #: See ``models.tags``.
    tags: str = ""
    #: What else it is within that may have a budget of its own by name: ``run:RUN_ID``, ``step:RUN_ID/STEP_ID``.
    within: tuple[str, ...] = ()


class Entry(Struct, frozen=True, gc=False):
    """One charge, final. A correction is another entry; only a correction may be negative.

    ``hold_id`` names the intent that was written before the call (``intents.py``).
    """

    entry_id: str
    cause: str
    kind: Kind
    principal: str
    model: str
    provider: str
    cost: int
    basis: str
    price_card: str
    outcome: str
    request_id: str
    at: int
    hold_id: str | None = None
    key_id: str | None = None
    team: str | None = None
    upstream_model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    inference_micros: int = 0
    rows: int = 0
    config_epoch: str = ""
    run_id: str | None = None
    task_id: str | None = None
    #: What was odd about the usage, with commas; see ``pricing.repaired``.
    flags: str = ""
    #: Tokens that have prices of their own beside those of their class, as JSON of ``UsageDetail``.
    usage_detail: str = ""
    workflow_id: str | None = None
    tags: str = ""


class Posting(Struct, frozen=True, gc=False):
    """One half of the double entry: debits positive, credits negative, Σ = 0 for each entry."""

    entry_id: str
    account: str
    amount: int


class BudgetAlert(Struct, frozen=True):
    """A budget's spending passed ``share`` of its limit (a decimal such as ``0.8``), told once a window.

    ``soft`` marks the gateway-wide daily threshold, which warns and never refuses.
    """

    budget_id: str
    scope: str
    subject: str
    window: str
    share: str
    limit: int
    spent: int
    resets_at: int | None
    soft: bool = False
    created_by: str = ""


class Settled(Struct, frozen=True):
    """What settling gave: the entry, the alerts it set off, and what was odd about the usage.

    ``repeated`` is true where the cause had been charged before: ``entry`` is that first entry.
    """

    entry: Entry
    alerts: tuple[BudgetAlert, ...] = ()
    flags: tuple[str, ...] = ()
    repeated: bool = False


class UsageFilter(Struct, frozen=True):
    """Which entries: ``since`` included, ``until`` not (microseconds); ``None`` means any."""

    principal: str | None = None
    key_id: str | None = None
    team: str | None = None
    model: str | None = None
    provider: str | None = None
    kind: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    since: int | None = None
    until: int | None = None
    request_id: str | None = None
    entry_id: str | None = None


class UsageRow(Struct, frozen=True):
    """The sum over one group of entries. ``group`` has the names asked for, such as ``{"model": "gpt-4"}``."""

    group: dict[str, str]
    calls: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    inference_micros: int
    rows: int
    cost: int


class VerifyReport(Struct, frozen=True):
    """What a check of the whole ledger found. ``problems`` names each in words."""

    ok: bool
    entries: int
    problems: tuple[str, ...] = ()


def postings_of(entry: Entry) -> tuple[Posting, Posting]:
    """The caller is debited what the provider is credited."""
    return (
        Posting(entry.entry_id, f"caller:{entry.principal}", entry.cost),
        Posting(entry.entry_id, f"provider:{entry.provider}", -entry.cost),
    )
