"""A provider's invoice beside the ledger: what is the same, what differs, what only one of them has. Pure.

The invoice is CSV as providers export it. Its columns are known by their usual names, or named by the caller: a
cost in USD, a model, and, if it is told, a day. Lines of one model and day (such as input and output apart) are
added up first. The ledger's side are the entries of that provider by the model that answered and the UTC day, in one
month: what the invoice has of other days was not looked for, so it is neither missing nor part of the difference.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import Literal, get_args

from msgspec import Struct

from gateway.errors import ValidationFailed
from gateway.money import units

MOST_LINES = 200_000
#: Each column, and the names by which it is known.
COLUMNS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "cost": ("cost", "cost_usd", "cost (usd)", "amount", "amount_usd", "amount_value", "usd", "total", "charge"),
        "model": ("model", "model_id", "model_name", "line_item", "line item", "description", "sku"),
        "day": ("date", "day", "date_utc", "usage_date_utc", "usage date", "start_time_iso", "start_date", "timestamp"),
        "currency": ("currency", "amount_currency", "currency_code"),
    }
)
Status = Literal["matched", "different", "missing_in_ledger", "missing_in_invoice", "outside_month"]
_AMOUNT = re.compile(r"-?\$?-?(\d{1,3}(,\d{3})+|\d+)?(\.\d+)?([eE][+-]?\d{1,2})?")

Key = tuple[str, str]


class Compared(Struct, frozen=True):
    """One model on one day (empty where the invoice tells no days): both sides, in units."""

    status: Status
    day: str
    model: str
    invoiced: int | None
    entered: int | None
    calls: int

    @property
    def difference(self) -> int:
        """What the invoice has more than the ledger."""
        return (self.invoiced or 0) - (self.entered or 0)


class InvoiceLines(Struct, frozen=True):
    """An invoice as it was read: units by day and model, and how many lines they come from."""

    sums: dict[Key, int]
    lines: int
    by_day: bool
    columns: dict[str, str]


def read_invoice(
    text: str, *, columns: Mapping[str, str] | None = None, models: Mapping[str, str] | None = None
) -> InvoiceLines:
    """Reads CSV. ``columns`` names ours in it (``{"cost": "Betrag"}``); ``models`` says by which name the ledger
    has what the invoice calls otherwise. ``ValidationFailed`` names the line that cannot be read."""
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    try:
        rows = [row for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise _bad(f"csv: line {reader.line_num} cannot be read: {error}") from None
    if len(rows) < 2:
        raise _bad("csv: a line of names and at least one line of figures are expected")
    if len(rows) > MOST_LINES:
        raise _bad(f"csv: at most {MOST_LINES} lines")
    places = _places(rows[0], columns or {})
    sums: dict[Key, int] = {}
    for number, row in enumerate(rows[1:], 2):
        cells = {name: row[at].strip() if at < len(row) else "" for name, at in places.items()}
        if cells.get("currency", "usd").lower() not in ("usd", "us$", "$", ""):
            raise _bad(f"csv: line {number} is in another currency than USD")
        day = _day(cells["day"], number) if "day" in cells else ""
        key = day, _model(cells["model"], models or {})
        sums[key] = sums.get(key, 0) + _amount(cells["cost"], number)
    return InvoiceLines(sums, len(rows) - 1, "day" in places, {name: rows[0][at] for name, at in places.items()})


def reconciled(
    invoice: InvoiceLines, entered: Mapping[Key, tuple[int, int]], tolerance: int, month: tuple[date, date]
) -> list[Compared]:
    """Both sides line by line. ``entered`` has units and calls by day and model, of the ``month`` from its first day
    to before the next one's; costs that differ by no more than ``tolerance`` are the same."""
    first, following = (day.isoformat() for day in month)
    ledger: dict[Key, tuple[int, int]] = {}
    for (day, model), (cost, calls) in entered.items():
        key = (day if invoice.by_day else "", model.lower())
        before = ledger.get(key, (0, 0))
        ledger[key] = before[0] + cost, before[1] + calls
    found = []
    for key in sorted(invoice.sums.keys() | ledger.keys()):
        invoiced, (cost, calls) = invoice.sums.get(key), ledger.get(key, (0, 0))
        if not invoiced and not cost:
            continue
        ours = cost if key in ledger else None
        outside = invoice.by_day and not first <= key[0] < following
        status = "outside_month" if outside else _status(invoiced, ours, tolerance)
        found.append(Compared(status, *key, invoiced, ours, calls))
    return found


def totals(rows: Iterable[Compared]) -> dict[str, tuple[int, int, int]]:
    """Of each status: how many lines, and the units on both sides."""
    found: dict[str, tuple[int, int, int]] = dict.fromkeys(get_args(Status), (0, 0, 0))
    for row in rows:
        count, invoiced, entered = found[row.status]
        found[row.status] = count + 1, invoiced + (row.invoiced or 0), entered + (row.entered or 0)
    return found


def _status(invoiced: int | None, entered: int | None, tolerance: int) -> Status:
    if invoiced is None:
        return "missing_in_invoice"
    if entered is None:
        return "missing_in_ledger"
    return "matched" if abs(invoiced - entered) <= tolerance else "different"


def _places(names: Sequence[str], given: Mapping[str, str]) -> dict[str, int]:
    """Where each of our columns stands."""
    there = {name.strip().lower(): at for at, name in reversed(list(enumerate(names)))}
    places = {}
    for column, usual in COLUMNS.items():
        wanted = [given[column].strip().lower()] if column in given else list(usual)
        at = next((there[name] for name in wanted if name in there), None)
        if at is not None:
            places[column] = at
        elif column in given or column in ("cost", "model"):
            raise ValidationFailed(
                f"columns.{column}: the invoice has no such column; it has {', '.join(names)[:300]}",
                mend=f'name it: {{"columns": {{"{column}": "…"}}}}',
                param=f"columns.{column}",
            )
    return places


def _amount(text: str, number: int) -> int:
    try:
        if not text or not _AMOUNT.fullmatch(text):
            raise ValueError
        return units(Decimal(text.replace("$", "").replace(",", "")))
    except (ValueError, InvalidOperation):
        raise _bad(f"csv: line {number} has no amount such as 1234.56") from None


def _day(text: str, number: int) -> str:
    try:
        if text.isdigit() and len(text) in (10, 13):
            return datetime.fromtimestamp(int(text[:10]), UTC).date().isoformat()
        return date.fromisoformat(text[:10]).isoformat()
    except (ValueError, OverflowError):
        raise _bad(f"csv: line {number} has no day such as 2026-01-31") from None


def _model(text: str, models: Mapping[str, str]) -> str:
    """The model of a line; what stands after a comma (input, output, cached input) is which part of it."""
    if text in models:
        return models[text].lower()
    name = text.split(",", 1)[0].strip()
    return models.get(name, name).lower()


def _bad(message: str) -> ValidationFailed:
    return ValidationFailed(message, param="csv")
