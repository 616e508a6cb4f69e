"""Looks once a minute whether this hour's spending is far above that of the same hour of earlier days."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from sqlalchemy import func, select

from gateway.clock import SECOND, Clock
from gateway.ledger.anomaly import DAYS, Anomaly, unusual
from gateway.store.dialect import insert_into
from gateway.store.engine import Database
from gateway.store.tables import spend_anomaly, usage_hour, usage_series

_HOUR = 3600 * SECOND
_EVERY_SECONDS = 60.0


class SpendWatch:
    """``sweep`` tells each unusual hour of the whole gateway, of a team and of a key once, whoever looks."""

    def __init__(
        self, database: Database, clock: Clock, tell: Callable[[Anomaly], None], *, factor: Decimal, minimum: int
    ) -> None:
        self._database = database
        self._clock = clock
        self._tell = tell
        self._factor = factor
        self._minimum = minimum
        self._next = 0.0
        #: The first hour of which anything is known.
        self._first = 0

    def sweep(self) -> int:
        """Looks, where it is time to; how many were told."""
        if self._clock.monotonic() < self._next:
            return 0
        self._next = self._clock.monotonic() + _EVERY_SECONDS
        hour = self._clock.now() // _HOUR
        told = 0
        for (scope, subject), hours in self._sums(hour).items():
            days = range(hour - 24 * DAYS, hour, 24)
            known = [day for day in days if day >= self._first]
            usual = unusual(hours.get(hour, 0), [hours.get(day, 0) for day in known], self._factor, self._minimum)
            if usual is not None and self._keep(found := Anomaly(scope, subject, hour, hours[hour], usual)):
                self._tell(found)
                told += 1
        return told

    def _sums(self, hour: int) -> dict[tuple[str, str], dict[int, int]]:
        """What each spent in this hour of these days; only of those that spend now."""
        wanted = [hour - 24 * day for day in range(DAYS + 1)]
        query = (
            select(usage_series.c.team, usage_series.c.key_id, usage_hour.c.hour, func.sum(usage_hour.c.cost))
            .join(usage_series, usage_series.c.series_id == usage_hour.c.series_id)
            # A correction is entered in the hour that found it: nobody spent it there.
            .where(usage_hour.c.hour.in_(wanted), usage_series.c.kind != "correction")
            .group_by(usage_series.c.team, usage_series.c.key_id, usage_hour.c.hour)
        )
        sums: dict[tuple[str, str], dict[int, int]] = {}
        with self._database.read() as connection:
            self._first = connection.scalar(select(func.min(usage_hour.c.hour))) or hour
            for team, key_id, at, cost in connection.execute(query):
                for place in (("gateway", "*"), ("team", team), ("key", key_id)):
                    if place[1]:
                        hours = sums.setdefault(place, {})
                        hours[at] = hours.get(at, 0) + int(cost)
        return {place: hours for place, hours in sums.items() if hours.get(hour, 0) >= self._minimum}

    def _keep(self, found: Anomaly) -> bool:
        """False where it was told before."""
        values = {name: getattr(found, name) for name in found.__struct_fields__}
        with self._database.begin() as connection:
            added = connection.execute(
                insert_into(connection, spend_anomaly)
                .values(**values, at=self._clock.now())
                .on_conflict_do_nothing()
                .returning(spend_anomaly.c.hour)
            )
            return added.first() is not None
