"""``usage savings``: what was saved and how, and what could be."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from gateway.cli.client import Json, Key, Url, connect, console, show
from gateway.money import plain

Since = Annotated[str | None, typer.Option(help="A date, a time, or how long ago (30d is usual).")]
Until = Annotated[str | None, typer.Option(help="The same; not included.")]


def savings(since: Since = None, until: Until = None, url: Url = None, key: Key = None, as_json: Json = False) -> None:
    """What was saved, how, and what could be."""
    found = connect(url, key).get("/savings", since=since, until=until)
    if as_json:
        show(found)
        return
    out = console()
    table = Table("way", "calls", "tokens", "saved", "against", box=None, header_style="bold")
    for row in found["methods"]:
        told = (row["method"], str(row["calls"]), str(row["tokens"]), f"${plain(row['saved_usd'])}", row["baseline"])
        table.add_row(*told)
    out.print(table)
    out.print(f"spent ${plain(found['spent_usd'])}, saved ${plain(found['saved_usd'])}")
    for row in found["recommendations"]:
        most = "at most " if row["at_most"] else ""
        out.print(
            f"\n{row['text']}\n  saves {most}${plain(row['saves_usd'])} of ${plain(row['cost_usd'])}", markup=False
        )
        for path in row["reproduce"]:
            out.print(f"  {path}", markup=False)
