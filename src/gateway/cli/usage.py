"""``usage``: what was used and what it cost."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from gateway.cli.client import Json, Key, Url, connect, console, show
from gateway.money import plain


def usage(
    by: Annotated[str, typer.Option(help="model, provider, kind, day, principal, … with commas.")] = "model,provider",
    since: Annotated[str | None, typer.Option(help="A date, such as 2026-01-31.")] = None,
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Sums of the ledger."""
    found = connect(url, key).get("/usage", by=by, since=since)
    if as_json:
        show(found)
        return
    names = by.split(",")
    table = Table(*names, "calls", "tokens in", "tokens out", "cost", box=None, header_style="bold")
    for row in found["rows"]:
        counts = [str(row[name]) for name in ("calls", "input_tokens", "output_tokens")]
        table.add_row(*(str(row[name]) for name in names), *counts, f"${plain(row['cost'])}")
    out = console()
    out.print(table)
    out.print(f"total: {found['calls']} calls, ${plain(found['total_cost'])}")
