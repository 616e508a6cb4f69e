"""``invoices``: what each team is billed for a month; a provider's invoice beside the ledger."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from gateway.cli.client import Json, Key, Url, connect, console, show
from gateway.errors import ValidationFailed
from gateway.money import plain

Month = Annotated[str, typer.Option(help="Such as 2026-01.")]


def show_invoices(
    month: Month,
    team: Annotated[str | None, typer.Option(help="One team alone.")] = None,
    time_zone: Annotated[str | None, typer.Option(help="Whose month: Asia/Kolkata; UTC is usual.")] = None,
    format: Annotated[str, typer.Option(help="table, csv or parquet.")] = "table",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")] = None,
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """What each team is billed; the lines add up to the ledger to the last digit."""
    client = connect(url, key)
    query = {"month": month, "team": team, "time_zone": time_zone}
    if format != "table" and not as_json:
        _keep(client.fetch("/invoices", **query, format=format), format, output)
        return
    found = client.get("/invoices", **query)
    if as_json:
        show(found)
        return
    out = console()
    for invoice in found["invoices"]:
        table = Table("workflow", "model", "provider", box=None, header_style="bold")
        for name in ("calls", "tokens in", "tokens out", "cost"):
            table.add_column(name, justify="right")
        for line in invoice["lines"]:
            counts = (str(line[name]) for name in ("calls", "input_tokens", "output_tokens"))
            table.add_row(line["workflow"], line["model"], line["provider"], *counts, f"${plain(line['cost_usd'])}")
        out.print(f"invoice {invoice['number']}: ${plain(invoice['total_usd'])}", markup=False)
        out.print(table, "")
    state = "" if found["final"] else ", still running"
    out.print(f"{month}: ${plain(found['total_usd'])}{state}")


def reconcile(
    file: Annotated[Path, typer.Argument(help="The provider's invoice, CSV.", exists=True, dir_okay=False)],
    provider: Annotated[str, typer.Option(help="Its name in providers.yaml.")],
    month: Month,
    tolerance: Annotated[str, typer.Option(help="USD by which a line may differ.")] = "0.01",
    column: Annotated[list[str] | None, typer.Option(help="OURS=THEIRS, such as cost=Betrag.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="THEIRS=OURS, where names differ.")] = None,
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Matched, different, missing, of another month: exit status 1 where anything is not matched."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValidationFailed(f"{file.name} is no UTF-8 text", mend="save it as CSV UTF-8", param="file") from None
    body: dict[str, Any] = {"provider": provider, "month": month, "csv": text, "tolerance_usd": tolerance}
    body |= {"columns": _pairs(column, "column"), "models": _pairs(model, "model")}
    found = connect(url, key).post("/invoices/reconcile", body)
    totals = found["totals"]
    clean = all(not totals[status]["rows"] for status in totals if status != "matched")
    if as_json:
        show(found)
        raise typer.Exit(0 if clean else 1)
    table = Table("status", "day", "model", box=None, header_style="bold")
    for name in ("invoiced", "ledger", "difference"):
        table.add_column(name, justify="right")
    for row in found["rows"]:
        if row["status"] != "matched":
            sides = (_usd(row[name]) for name in ("invoiced_usd", "ledger_usd", "difference_usd"))
            table.add_row(row["status"], row["day"] or "", row["model"], *sides)
    out = console()
    if not clean:
        out.print(table)
    out.print(", ".join(f"{totals[status]['rows']} {status.replace('_', ' ')}" for status in totals))
    outside = totals["outside_month"]
    more = f"; outside {month} {_usd(outside['invoiced_usd'])}, which is in neither" if outside["rows"] else ""
    out.print(f"invoiced {_usd(found['invoiced_usd'])}, in the ledger {_usd(found['ledger_usd'])}{more}")
    raise typer.Exit(0 if clean else 1)


def make_app() -> typer.Typer:
    app = typer.Typer(no_args_is_help=True)
    app.command("show")(show_invoices)
    app.command("reconcile")(reconcile)

    @app.callback(help="What each team is billed, and what providers bill.")
    def group() -> None:
        """A group of commands."""

    return app


def _keep(content: bytes, kind: str, output: Path | None) -> None:
    if output is not None:
        output.write_bytes(content)
    elif kind == "parquet":
        raise ValidationFailed("parquet is no text", mend="say where to: --output invoices.parquet", param="output")
    else:
        sys.stdout.buffer.write(content)


def _pairs(words: list[str] | None, name: str) -> dict[str, str]:
    found = {}
    for word in words or ():
        left, mark, right = word.partition("=")
        if not mark:
            raise ValidationFailed(f"--{name}: NAME=NAME is expected", param=name)
        found[left] = right
    return found


def _usd(amount: Any) -> str:
    return "–" if amount is None else f"${plain(amount)}"
