"""``/invoices``: what each team is billed for a month, and providers' invoices beside the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from gateway.api.doors import Call, Doors, json_response
from gateway.api.http.params import only_queries
from gateway.api.wire.tables import Column, file_response, format_of
from gateway.clock import SECOND, rfc3339
from gateway.errors import ValidationFailed
from gateway.governance.validators import refuse_unknown, text_field
from gateway.ledger.invoices import Invoice, Line, month_of
from gateway.ledger.reconciling import COLUMNS, Compared, InvoiceLines, read_invoice, totals
from gateway.ledger.usage_time import midnight, zone_of
from gateway.money import units, usd

#: The largest invoice that is read, in characters.
LONGEST_CSV = 20_000_000
_COLUMNS = (
    Column("invoice"), Column("team"), Column("month"), Column("workflow"), Column("model"), Column("provider"),
    Column("calls", "whole"), Column("input_tokens", "whole"), Column("output_tokens", "whole"),
    Column("inference_seconds", "usd"), Column("cost_usd", "usd"),
)  # fmt: skip
_COMPARED = (
    Column("status"), Column("day"), Column("model"), Column("calls", "whole"), Column("invoiced_usd", "usd"),
    Column("ledger_usd", "usd"), Column("difference_usd", "usd"),
)  # fmt: skip
_FIELDS = ("provider", "month", "csv", "columns", "models", "tolerance_usd")


async def invoices(call: Call) -> Response:
    """The invoices of ``month``; of one ``team``, where it is named."""
    only_queries(call, "month", "team", "time_zone", "format")
    kind, month, zone = format_of(call.query("format")), call.query("month") or "", call.query("time_zone") or "UTC"
    team = call.query("team")
    where = {} if team is None else {"team": team}
    found = await asyncio.to_thread(call.services.usage.invoices, month, zone, where)
    if kind != "json":
        rows = [_line(invoice, line) for invoice in found for line in invoice.lines]
        return file_response(kind, f"invoices-{month}", _COLUMNS, rows)
    until = midnight(month_of(month)[1], zone_of(zone))
    return json_response(
        {
            "month": month,
            "time_zone": zone,
            "final": call.services.clock.now() >= until + 60 * SECOND,
            "until": rfc3339(until),
            "total_usd": usd(sum(invoice.total for invoice in found)),
            "invoices": [
                {
                    "number": invoice.number,
                    "team": invoice.team,
                    "total_usd": usd(invoice.total),
                    "lines": [_line(invoice, line) for line in invoice.lines],
                }
                for invoice in found
            ],
        }
    )


async def reconcile(call: Call) -> Response:
    """What a provider billed beside what the ledger has."""
    body = await call.body()
    refuse_unknown(body, _FIELDS, "")
    provider, month = (text_field(body, name, required=True) for name in ("provider", "month"))
    kind = format_of(call.query("format"))
    tolerance = _tolerance(body.get("tolerance_usd", "0.01"))
    columns, models = (_names(body, name) for name in ("columns", "models"))
    refuse_unknown(columns, tuple(COLUMNS), "columns")
    text = text_field(body, "csv", required=True, longest=LONGEST_CSV)

    def work() -> tuple[InvoiceLines, list[Compared]]:
        invoice = read_invoice(text, columns=columns, models=models)
        return invoice, call.services.usage.reconcile(provider, month, invoice, tolerance)

    invoice, rows = await asyncio.to_thread(work)
    known = provider in call.services.catalogue.current.providers
    if not known and all(row.entered is None for row in rows):
        raise ValidationFailed(
            "provider: none of that name is configured, and the ledger has nothing of it in that month",
            mend="write its name in providers.yaml",
            param="provider",
        )
    shown = [_compared(row) for row in rows]
    within = [row for row in rows if row.status != "outside_month"]
    if kind != "json":
        return file_response(kind, f"reconciled-{provider}-{month}", _COMPARED, shown)
    return json_response(
        {
            "provider": provider,
            "month": month,
            "columns": invoice.columns,
            "lines": invoice.lines,
            "by_day": invoice.by_day,
            "tolerance_usd": usd(tolerance),
            "invoiced_usd": usd(sum(row.invoiced or 0 for row in within)),
            "ledger_usd": usd(sum(row.entered or 0 for row in within)),
            "difference_usd": usd(sum(row.difference for row in within)),
            "totals": {
                status: {"rows": count, "invoiced_usd": usd(invoiced), "ledger_usd": usd(entered)}
                for status, (count, invoiced, entered) in totals(rows).items()
            },
            "rows": shown,
        }
    )


def _line(invoice: Invoice, line: Line) -> dict[str, Any]:
    return {
        "invoice": invoice.number,
        "team": invoice.team,
        "month": invoice.month,
        "workflow": line.workflow_id,
        "model": line.model,
        "provider": line.provider,
        "calls": line.calls,
        "input_tokens": line.input_tokens,
        "output_tokens": line.output_tokens,
        "inference_seconds": usd(line.inference_micros * 10**4),
        "cost_usd": usd(line.cost),
    }


def _compared(row: Compared) -> dict[str, Any]:
    return {
        "status": row.status,
        "day": row.day or None,
        "model": row.model,
        "calls": row.calls,
        "invoiced_usd": None if row.invoiced is None else usd(row.invoiced),
        "ledger_usd": None if row.entered is None else usd(row.entered),
        "difference_usd": usd(row.difference),
    }


def _tolerance(value: Any) -> int:
    try:
        if isinstance(value, bool) or not isinstance(value, (str, int, float)) or (found := units(value)) < 0:
            raise ValueError
    except ValueError:
        raise ValidationFailed("tolerance_usd: an amount in USD, 0 or more", param="tolerance_usd") from None
    return found


def _names(body: Mapping[str, Any], name: str) -> dict[str, str]:
    found = body.get(name, {})
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ValidationFailed(f"{name}: an object of names is expected", param=name)
    return found


def add(doors: Doors) -> None:
    """Registers these routes."""
    doors.add("GET", "/invoices", "usage:read_all", invoices, summary="What each team is billed for a month")
    doors.add(
        "POST", "/invoices/reconcile", "usage:read_all", reconcile, summary="A provider's invoice beside the ledger",
    )  # fmt: skip
