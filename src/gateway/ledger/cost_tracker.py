"""What was charged: ``Ledger`` sums it, lists it and checks it, and records what was done elsewhere;
``CostTracker`` is the small face for scripts and notebooks, which keeps its own exact sums or writes
through to a ledger. (How a call of this gateway is charged is the subject of ``calls``.)
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any, Literal, Protocol

from gateway.clock import Clock, SystemClock, rfc3339
from gateway.ids import new_id
from gateway.ledger.entry import (
    Charge,
    Entry,
    Settled,
    UsageFilter,
    UsageRow,
    VerifyReport,
)
from gateway.ledger.outcome import Outcome, outcome_of
from gateway.ledger.pricing import MOST_TOKENS
from gateway.ledger.tally import Tally, TallyRow, add_exact, exact_usd, micros_of
from gateway.models.llm_models import Usage
from gateway.money import units, usd

_log = logging.getLogger(__name__)
#: The provider of a ``CostTracker``'s record that names none.
UNNAMED_PROVIDER = "unspecified"
#: What the entries may be summed by.
GROUPINGS = ("model", "provider", "kind", "day", "principal", "key_id", "team", "basis", "outcome")


class LedgerStore(Protocol):
    """Where entries are kept. Each method is one transaction."""

    def record(
        self,
        charge: Charge,
        card: str,
        entry_id: str,
        outcome: Outcome,
        now: int,
        *,
        budgets: bool,
        threshold: int | None,
    ) -> Settled:
        """An entry for a charge that was never set aside; unique by cause."""
        ...

    def verify(self, now: int) -> VerifyReport: ...

    def summary(self, where: UsageFilter, by: Sequence[str]) -> list[UsageRow]: ...

    def entries(self, where: UsageFilter, *, after: str | None, limit: int) -> list[Entry]:
        """Newest first, starting after the entry id ``after``."""
        ...


class Ledger:
    """Every charge of the gateway, exact, and every budget kept.

    ``budgets_enabled`` false (COST_TRACKING_ENABLED=false) records entries but refuses and alerts
    nothing. ``daily_threshold`` (COST_ALERT_THRESHOLD, units) gives one soft alert a UTC day.
    """

    def __init__(
        self,
        store: LedgerStore,
        clock: Clock,
        *,
        budgets_enabled: bool = True,
        daily_threshold: int | None = None,
        catch_up: Callable[[], object] = lambda: None,
    ) -> None:
        self._catch_up = catch_up
        self._store = store
        self._clock = clock
        self._budgets = budgets_enabled
        self._threshold = daily_threshold if budgets_enabled else None

    def record(
        self,
        charge: Charge,
        *,
        cost: int,
        card: str,
        usage: Usage = Usage(),  # noqa: B008 - a frozen value
        inference_micros: int = 0,
        rows: int = 0,
        outcome: str = "completed",
        basis: str | None = None,
    ) -> Settled:
        """Charges something already done that was never set aside, unique by cause. It counts in the
        budgets that bind it, which it may overdraw: what happened is recorded."""
        result, flags = outcome_of(cost, usage, inference_micros, rows, outcome, basis=basis)
        settled = self._store.record(
            charge,
            card,
            new_id("entry"),
            result,
            self._clock.now(),
            budgets=self._budgets,
            threshold=self._threshold,
        )
        return Settled(settled.entry, settled.alerts, flags, settled.repeated)

    def verify(self) -> VerifyReport:
        """Checks the whole ledger: Σ postings = 0, balances = sums, reserved in budgets = leased by processes
        that live and by requests that are with a provider."""
        self._catch_up()
        return self._store.verify(self._clock.now())

    def summary(self, where: UsageFilter | None = None, *, by: Sequence[str] = ()) -> list[UsageRow]:
        """Sums of the entries, grouped by any of ``GROUPINGS``; no grouping gives one row, the total."""
        unknown = [name for name in by if name not in GROUPINGS]
        if unknown:
            raise ValueError(f"cannot group by {unknown[0]!r}")
        self._catch_up()
        return self._store.summary(where or UsageFilter(), by)

    def entries(
        self,
        where: UsageFilter | None = None,
        *,
        cursor: str | None = None,
        limit: int = 100,
    ) -> tuple[list[Entry], str | None]:
        """A page of entries, newest first, and the cursor of the next page if there is one."""
        self._catch_up()
        found = self._store.entries(where or UsageFilter(), after=cursor, limit=limit + 1)
        page = found[:limit]
        return page, page[-1].entry_id if len(found) > limit else None

    # -- what a CostTracker writes through to -----------------------------------------------------

    def record_usage(self, usage: TallyRow) -> None:
        """Records what a ``CostTracker`` was told as an entry of the principal ``python``; its cost is
        rounded to 10⁻¹⁰ USD, half to even. The tokens are entered as input: no split was told."""
        reference = new_id("python")
        self.record(
            Charge(
                cause=reference,
                kind=usage.kind,
                principal="python",
                model=usage.model,
                provider=usage.provider,
                request_id=reference,
            ),
            cost=units(usage.cost),
            card="stated by the caller",
            usage=Usage(input_tokens=usage.tokens, basis="counted"),
            inference_micros=usage.inference_micros,
            basis="counted",
        )

    def usage_totals(self) -> list[TallyRow]:
        """Every charge of this ledger, summed by kind, model, provider and day."""
        return [
            TallyRow(
                kind="ml" if row.group["kind"] == "ml" else "llm",
                model=row.group["model"],
                provider=row.group["provider"],
                day=row.group["day"],
                calls=row.calls,
                tokens=row.input_tokens + row.output_tokens,
                inference_micros=row.inference_micros,
                cost=usd(row.cost),
            )
            for row in self.summary(by=("kind", "model", "provider", "day"))
        ]


class UsageRecorder(Protocol):
    """What a ``CostTracker`` may write through to: a ``Ledger`` is one."""

    def record_usage(self, usage: TallyRow) -> None: ...

    def usage_totals(self) -> list[TallyRow]: ...


class CostTracker:
    """Counts what model calls cost: exact, thread-safe, with no set-up.

    >>> tracker = CostTracker()
    >>> tracker.record_llm_usage(model="gpt-4", tokens_used=1000, cost=0.03)
    >>> tracker.record_ml_usage(model="risk-classifier", inference_time=0.5, cost=0.001)
    >>> tracker.get_cost_summary()["total_cost"]
    Decimal('0.031')

    With a ``recorder`` (a ``Ledger``) every record becomes a ledger entry and the summary is the
    ledger's. ``cost_alert_threshold`` (USD) logs one warning when the total reaches it.
    """

    def __init__(
        self,
        recorder: UsageRecorder | None = None,
        *,
        cost_alert_threshold: Decimal | str | float | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._recorder: UsageRecorder = recorder or Tally()
        self._threshold = None if cost_alert_threshold is None else exact_usd(cost_alert_threshold)
        self._lock = threading.Lock()
        self._alerted = False

    def record_llm_usage(
        self, model: str, tokens_used: int, cost: Decimal | str | float, *, provider: str = UNNAMED_PROVIDER
    ) -> None:
        """One call of a language model. ``cost`` in USD, a float read by its shortest decimal.

        Raises ``ValueError`` for a cost or count that is negative, not finite or not a number.
        """
        if isinstance(tokens_used, bool) or not isinstance(tokens_used, int) or not 0 <= tokens_used <= MOST_TOKENS:
            raise ValueError("tokens_used is a whole number from 0 to a billion")
        self._record("llm", model, provider, tokens_used, 0, cost)

    def record_ml_usage(
        self,
        model: str,
        inference_time: Decimal | str | float,
        cost: Decimal | str | float,
        *,
        provider: str = UNNAMED_PROVIDER,
    ) -> None:
        """One prediction. ``inference_time`` in seconds, ``cost`` in USD; errors as above."""
        self._record("ml", model, provider, 0, micros_of(inference_time), cost)

    def get_cost_summary(self) -> dict[str, Any]:
        """``total_cost`` (``Decimal`` USD, exact), ``calls``, ``tokens_used``, ``inference_time``
        (``Decimal`` seconds), the costs ``by_model``, ``by_provider``, ``by_kind`` and ``by_day``, and
        whether the alert threshold is reached (``alert``)."""
        rows = self._recorder.usage_totals()
        total = _sum(row.cost for row in rows)
        return {
            "total_cost": total,
            "calls": sum(row.calls for row in rows),
            "tokens_used": sum(row.tokens for row in rows),
            "inference_time": usd(sum(row.inference_micros for row in rows) * 10**4),
            "by_model": _group(rows, "model"),
            "by_provider": _group(rows, "provider"),
            "by_kind": _group(rows, "kind"),
            "by_day": _group(rows, "day"),
            "alert": self._threshold is not None and total >= self._threshold,
        }

    def _record(
        self,
        kind: Literal["llm", "ml"],
        model: str,
        provider: str,
        tokens: int,
        inference_micros: int,
        cost: Decimal | str | float,
    ) -> None:
        if not model or not isinstance(model, str):
            raise ValueError("a record names its model")
        day = rfc3339(self._clock.now())[:10]
        self._recorder.record_usage(TallyRow(kind, model, provider, day, 1, tokens, inference_micros, exact_usd(cost)))
        if self._threshold is not None and not self._alerted:
            total = _sum(row.cost for row in self._recorder.usage_totals())
            with self._lock:
                told, self._alerted = self._alerted, self._alerted or total >= self._threshold
            if self._alerted and not told:
                _log.warning("model calls have cost %s USD, the alert threshold is %s USD", total, self._threshold)


def _sum(costs: Iterable[Decimal]) -> Decimal:
    total = Decimal(0)
    for cost in costs:
        total = add_exact(total, cost)
    return total


def _group(rows: list[TallyRow], name: str) -> dict[str, Decimal]:
    groups: dict[str, Decimal] = {}
    for row in rows:
        key = getattr(row, name)
        groups[key] = add_exact(groups.get(key, Decimal(0)), row.cost)
    return groups
