"""``route``: which deployments would answer for a model now, in which order, and why."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from gateway.cli.client import Json, Key, Url, connect, console, segment, show


def explain(
    model: Annotated[str, typer.Argument(help="The model.")],
    draw: Annotated[float | None, typer.Option(min=0, max=1, help="Stands for chance, to repeat a plan.")] = None,
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """The plan of a call to MODEL now. Nothing is sent."""
    found = connect(url, key).get(f"/models/{segment(model)}/route", draw=draw)
    if as_json:
        show(found)
        return
    table = Table("", "deployment", "provider", "why", "state", "latency", box=None, header_style="bold")
    for at, item in enumerate(found["plan"], 1):
        latency = "" if item["latency_seconds"] is None else f"{float(item['latency_seconds']):.3f} s"
        state = "[green]healthy[/]" if item["healthy"] else f"[red]{item['failures']} failures in a row[/]"
        state = state if item["configured"] else "[yellow]not configured[/]"
        table.add_row(str(at), item["model"], item["provider"], item["reason"], state, latency)
    out = console()
    out.print(f"[bold]{found['model']}[/]  {found['strategy']}  [dim]configuration {found['config_epoch']}[/]")
    out.print(table)


def make_app() -> typer.Typer:
    """The branch of the command tree."""
    app = typer.Typer(no_args_is_help=True)
    app.command("explain")(explain)
    app.callback()(_root)
    return app


def _root() -> None:
    """Which deployment answers, and why."""
