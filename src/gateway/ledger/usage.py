"""What was used, asked by who, what and when. The sums are the store's; where they stand is ``usage_time``'s."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, timedelta
from typing import Protocol

import msgspec

from gateway.clock import Clock
from gateway.ledger.forecast import MOST_DAYS, Forecast, month_forecast
from gateway.ledger.invoices import LINE_OF, Invoice, invoices_of, month_of
from gateway.ledger.reconciling import Compared, InvoiceLines, reconciled
from gateway.ledger.savings import Saving
from gateway.ledger.tally import TallyRow
from gateway.ledger.usage_ask import UsageAsk, UsageSum, check_groups
from gateway.ledger.usage_time import Reading, day_of, days_and_entries, midnight, readings, zone_of
from gateway.money import usd


class UsageStore(Protocol):
    """Sums of the ledger; see ``store.usage_store``."""

    def first(self) -> int | None:
        """When the first entry was made; ``None`` where there is none."""
        ...

    def sums(self, ask: UsageAsk, parts: Sequence[Reading]) -> list[UsageSum]:
        """The sums over these parts, grouped by ``ask.by``, in the order of the groups."""
        ...

    def savings(self, ask: UsageAsk, parts: Sequence[Reading]) -> list[Saving]:
        """What was saved by each method over these parts: days, and spans of entries."""
        ...

    def billed(self, provider: str, since: int, until: int) -> dict[tuple[str, str], tuple[int, int]]:
        """Cost and calls of a provider by UTC day and the model that answered."""
        ...


class UsageService:
    """Answers questions about usage. Every method blocks on the database. ``catch_up`` brings the calls of
    this process into the ledger first."""

    def __init__(
        self,
        store: UsageStore,
        clock: Clock,
        catch_up: Callable[[], object] = lambda: None,
        record: Callable[[TallyRow], None] | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._catch_up = catch_up
        self._record = record

    def summary(self, ask: UsageAsk) -> list[UsageSum]:
        """The sums by ``ask.by``; with none, one row for all. ``ValidationFailed`` for what nothing is kept by."""
        check_groups(ask.by)
        self._catch_up()
        now, first = self._clock.now(), self._store.first()
        parts = [] if first is None else readings(ask, now, first)
        return self._store.sums(ask, parts)

    def savings(self, ask: UsageAsk) -> list[Saving]:
        """What was saved by each way of saving."""
        self._catch_up()
        now, first = self._clock.now(), self._store.first()
        return [] if first is None else self._store.savings(ask, days_and_entries(ask, now, first))

    def invoices(self, month: str, zone_name: str = "UTC", where: dict[str, str] | None = None) -> list[Invoice]:
        """What each team is billed for a month (2026-01) of that zone."""
        first, following = month_of(month)
        zone = zone_of(zone_name)
        since, until = midnight(first, zone), midnight(following, zone)
        return invoices_of(month, self.summary(UsageAsk(LINE_OF, where or {}, since=since, until=until)))

    def reconcile(self, provider: str, month: str, invoice: InvoiceLines, tolerance: int) -> list[Compared]:
        """A provider's invoice beside what the ledger has of that provider in that month (UTC)."""
        first, following = month_of(month)
        self._catch_up()
        entered = self._store.billed(provider, midnight(first, UTC), midnight(following, UTC))
        return reconciled(invoice, entered, tolerance, (first, following))

    def forecast(self, ask: UsageAsk) -> Forecast:
        """What the month that runs in ``ask.zone`` will have cost at its end; ``ask.where`` says of whom."""
        zone = zone_of(ask.zone)
        today = day_of(self._clock.now(), zone)
        since = midnight(today - timedelta(days=MOST_DAYS + 1), zone)
        rows = self.summary(msgspec.structs.replace(ask, by=("day",), since=since, until=None))
        daily = {date.fromisoformat(row.group["day"]): row.sums["cost"] for row in rows}
        return month_forecast(daily, today)

    # -- what a CostTracker writes through to; see ``cost_tracker.UsageRecorder`` ------------------

    def record_usage(self, usage: TallyRow) -> None:
        """Enters what a ``CostTracker`` was told in the ledger."""
        if self._record is None:
            raise ValueError("nothing can be recorded here")
        self._record(usage)

    def usage_totals(self) -> list[TallyRow]:
        """Every charge of the ledger, summed by kind, model, provider and day."""
        return [
            TallyRow(
                kind="ml" if row.group["kind"] == "ml" else "llm",
                model=row.group["model"],
                provider=row.group["provider"],
                day=row.group["day"],
                calls=row.sums["calls"],
                tokens=row.sums["input_tokens"] + row.sums["output_tokens"],
                inference_micros=row.sums["inference_micros"],
                cost=usd(row.sums["cost"]),
            )
            for row in self.summary(UsageAsk(by=("kind", "model", "provider", "day")))
        ]
