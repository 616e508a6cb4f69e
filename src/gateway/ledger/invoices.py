"""Chargeback: what each team is billed for a month. Pure arithmetic over the ledger's sums.

The lines of an invoice add up to its total, and the invoices of a month to the ledger, to the last digit: all are
sums of the same whole numbers. An entry is never changed and a correction has the date it was made on, so that
a month that is over never changes either.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from msgspec import Struct

from gateway.errors import ValidationFailed
from gateway.ledger.usage_ask import UsageSum

#: What a line is of; ``team`` comes first.
LINE_OF = ("team", "workflow_id", "model", "provider")


class Line(Struct, frozen=True):
    """What a team's calls of one model, in one workflow, used and cost (units)."""

    workflow_id: str
    model: str
    provider: str
    calls: int
    input_tokens: int
    output_tokens: int
    inference_micros: int
    cost: int


class Invoice(Struct, frozen=True):
    """A team's month. An empty ``team`` holds the calls of keys that belong to none."""

    team: str
    month: str
    total: int
    lines: tuple[Line, ...]

    @property
    def number(self) -> str:
        """By which the invoice is named."""
        return f"{self.month}/{self.team or '-'}"


def month_of(text: str, param: str = "month") -> tuple[date, date]:
    """The first day of a month written as 2026-01, and that of the next. ``ValidationFailed`` for none."""
    try:
        first = date.fromisoformat(f"{text}-01") if len(text) == 7 else None
    except ValueError:
        first = None
    if first is None or first.year < 1971 or first.year > 9000:
        raise ValidationFailed(f"{param}: a month such as 2026-01 is expected", param=param)
    return first, (first + timedelta(days=32)).replace(day=1)


def invoices_of(month: str, rows: Sequence[UsageSum]) -> list[Invoice]:
    """The invoices of a month from its sums by ``LINE_OF``, by team; the dearest lines first."""
    by_team: dict[str, list[Line]] = {}
    for row in rows:
        group, sums = row.group, row.sums
        line = Line(
            workflow_id=group["workflow_id"],
            model=group["model"],
            provider=group["provider"],
            calls=sums["calls"],
            input_tokens=sums["input_tokens"],
            output_tokens=sums["output_tokens"],
            inference_micros=sums["inference_micros"],
            cost=sums["cost"],
        )
        by_team.setdefault(group["team"], []).append(line)
    return [
        Invoice(team, month, sum(line.cost for line in lines), tuple(sorted(lines, key=lambda line: -line.cost)))
        for team, lines in sorted(by_team.items())
    ]
