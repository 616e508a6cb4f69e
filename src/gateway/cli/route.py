"""``route``: which deployments would answer for a model now, in which order, and why."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from gateway.cli.client import Json, Key, Url, connect, console, segment, show


def explain(
    model: Annotated[str, typer.Argument(help="The model.")],
    draw: Annotated[float | None, typer.Option(min=0, max=1, help="Stands for chance, to repeat a plan.")] = None,
    needs: Annotated[str | None, typer.Option(help="tools, vision, structured_output, json_object.")] = None,
    max_cost: Annotated[float | None, typer.Option(min=0, help="USD that a call may cost at worst.")] = None,
    max_latency: Annotated[float | None, typer.Option(min=1, help="Milliseconds to the first token.")] = None,
    min_quality: Annotated[float | None, typer.Option(min=0, max=1, help="The least quality.")] = None,
    input_tokens: Annotated[int | None, typer.Option(min=1, help="About how long the input is.")] = None,
    deterministic: Annotated[bool, typer.Option("--deterministic", help="Leave nothing to chance.")] = False,
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """The plan of a call to MODEL now. Nothing is sent. The limits are for a model that is chosen, such as auto."""
    found = connect(url, key).get(
        f"/models/{segment(model)}/route",
        draw=draw,
        needs=needs,
        max_cost_usd=max_cost,
        max_latency_ms=max_latency,
        min_quality=min_quality,
        input_tokens=input_tokens,
        deterministic="true" if deterministic else None,
    )
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
    for name, reason in found.get("selection", {}).get("ruled_out", {}).items():
        out.print(f"[dim]–[/] {name}: [dim]{reason}[/]")


def make_app() -> typer.Typer:
    """The branch of the command tree."""
    app = typer.Typer(no_args_is_help=True)
    app.command("explain")(explain)
    app.callback()(_root)
    return app


def _root() -> None:
    """Which deployment answers, and why."""
