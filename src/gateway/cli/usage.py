"""``usage``: what was used and what it cost, as a table, a chart or a file; the month's forecast."""

from __future__ import annotations

import sys
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from gateway.cli.client import Client, Json, Key, Url, connect, console, show
from gateway.cli.savings import savings
from gateway.cli.terminal_chart import bars, columns
from gateway.errors import ValidationFailed
from gateway.money import plain

_TIMES = ("hour", "day", "week", "month")
_MOST_BARS = 20
_MOST_WIDTH = 120

By = Annotated[
    str,
    typer.Option(help="model, provider, key, user, team, workflow, tag, tag.NAME, hour, day, … with commas."),
]
Since = Annotated[str | None, typer.Option(help="A date, a time, or how long ago: 2026-01-31, 36h, 30d.")]
Until = Annotated[str | None, typer.Option(help="The same; not included.")]
Zone = Annotated[str | None, typer.Option("--time-zone", help="Days and months as in Asia/Kolkata.")]
Where = Annotated[list[str] | None, typer.Option("--where", help="NAME=VALUE, such as team=risk; may be repeated.")]
Tag = Annotated[str | None, typer.Option(help="Only calls with this tag.")]


def usage(
    context: typer.Context,
    *,
    by: By = "model,provider",
    since: Since = None,
    until: Until = None,
    time_zone: Zone = None,
    where: Where = None,
    tag: Tag = None,
    order: Annotated[str | None, typer.Option(help="group, or cost (the most expensive first).")] = None,
    limit: Annotated[int | None, typer.Option(help="So many rows.")] = None,
    chart: Annotated[bool, typer.Option("--chart/--no-chart", help="A chart below the table.")] = True,
    format: Annotated[str, typer.Option(help="table, json, csv or parquet.")] = "table",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")] = None,
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Sums of the ledger."""
    if context.invoked_subcommand is not None:
        return
    query = _query(since, until, time_zone, where, tag) | {"by": by, "order": order, "limit": limit}
    client = connect(url, key)
    if as_json or format in ("csv", "parquet", "json"):
        _hand_over(client, query, "json" if as_json else format, output)
        return
    if format != "table":
        raise ValidationFailed("format: one of table, json, csv, parquet", param="format")
    found = client.get("/usage", **query)
    _tell(found, by.split(","))
    if chart and found["rows"]:
        _draw(client, found["rows"], by.split(","), query)


def forecast(
    where: Where = None,
    tag: Tag = None,
    time_zone: Zone = None,
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """What this month will have cost at its end, and how such forecasts did before."""
    found = connect(url, key).get("/usage/forecast", **_query(None, None, time_zone, where, tag))
    if as_json:
        show(found)
        return
    out, past = console(), found["backtest"]
    out.print(f"{found['month']}: ${plain(found['spent_usd'])} spent")
    if found["expected_usd"] is None:
        out.print(f"no forecast: {found['history_days']} days of history are too few")
        return
    out.print(f"expected at its end: [bold]{_about(found['expected_usd'])}[/]  (method {found['method']})")
    if found["low_usd"] is None:
        out.print("no interval: too few forecasts of that length could be tried on the history")
    else:
        share = round(100 * found["nominal_coverage"])
        out.print(f"{share} % interval: {_about(found['low_usd'])} to {_about(found['high_usd'])}")
    if past["mean_error"] is not None:
        tried = f"{past['tries']} forecasts of {past['days_ahead']} days"
        out.print(f"backtest: {tried}, off by {_share(past['mean_error'])} on average")
    if past["coverage"] is not None:
        out.print(f"          {_share(past['coverage'])} of {past['coverage_tries']} ends were inside their intervals")


def summary(url: Url = None, key: Key = None, as_json: Json = False) -> None:
    """The cost summary of the whole gateway, as CostTracker gives it."""
    found = connect(url, key).get("/usage/summary")
    if as_json:
        show(found)
        return
    out = console()
    out.print(f"total: ${plain(found['total_cost'])}, {found['calls']} calls, {found['tokens_used']} tokens")
    for name in ("by_kind", "by_provider", "by_model"):
        rows = [(group, float(cost), f"${plain(cost)}") for group, cost in found[name].items()]
        out.print(f"\n{name.replace('_', ' ')}", *bars(rows, min(out.width, _MOST_WIDTH)), sep="\n", markup=False)


def make_app() -> typer.Typer:
    app = typer.Typer(invoke_without_command=True)
    app.callback(help=f"What was used and what it cost.\n\n{usage.__doc__}")(usage)
    app.command("forecast")(forecast)
    app.command("summary")(summary)
    app.command("savings")(savings)
    return app


def _query(
    since: str | None, until: str | None, zone: str | None, where: list[str] | None, tag: str | None
) -> dict[str, Any]:
    found: dict[str, Any] = {"since": since, "until": until, "time_zone": zone, "tag": tag}
    for item in where or ():
        name, mark, value = item.partition("=")
        if not mark:
            raise ValidationFailed("--where: NAME=VALUE is expected, such as team=risk", param="where")
        found[name] = value
    return found


def _hand_over(client: Client, query: dict[str, Any], kind: str, output: Path | None) -> None:
    content = client.fetch("/usage", **query, format=kind)
    if output is not None:
        output.write_bytes(content)
    elif kind == "parquet":
        raise ValidationFailed("parquet is no text", mend="say where to: --output usage.parquet", param="output")
    else:
        sys.stdout.buffer.write(content + (b"\n" if kind == "json" else b""))


def _tell(found: dict[str, Any], names: list[str]) -> None:
    table = Table(*names, box=None, header_style="bold")
    for name in ("calls", "tokens in", "tokens out", "cost"):
        table.add_column(name, justify="right")
    for row in found["rows"]:
        counts = [str(row[name]) for name in ("calls", "input_tokens", "output_tokens")]
        table.add_row(*(str(row[name]) for name in names), *counts, f"${plain(row['cost'])}")
    out = console()
    out.print(table)
    out.print(f"total: {found['calls']} calls, ${plain(found['total_cost'])}")


def _draw(client: Client, rows: list[dict[str, Any]], names: list[str], query: dict[str, Any]) -> None:
    """What is asked for by time, as columns; anything else as bars, and by day below them. Of the cost; where nothing
    cost anything, as with local models, of the calls."""
    out = console()
    width = min(out.width, _MOST_WIDTH)
    drawn, called = ("cost", _usd) if any(row["cost"] for row in rows) else ("calls", str)
    unit = next((name for name in names if name in _TIMES), None)
    if unit is None:
        most = sorted(rows, key=lambda row: -row[drawn])[:_MOST_BARS]
        told = [(" · ".join(str(row[name]) for name in names), float(row[drawn]), called(row[drawn])) for row in most]
        out.print("", *bars(told, width), sep="\n", markup=False)
        unit = "day"
        query = {"since": "30d", **{name: value for name, value in query.items() if value is not None}}
        rows = client.get("/usage", **query | {"by": unit, "order": None, "limit": None})["rows"]
    sums: dict[str, Decimal] = {}
    for row in rows:
        sums[row[unit]] = sums.get(row[unit], Decimal(0)) + Decimal(row[drawn])
    labels = sorted(sums)
    out.print(f"\n{drawn} by {unit}", markup=False)
    lines = columns(labels, [float(sums[name]) for name in labels], width, [called(sums[name]) for name in labels])
    out.print(*lines, sep="\n", markup=False)


def _usd(amount: Decimal | int) -> str:
    return f"${plain(amount)}" if len(plain(amount)) <= 8 else f"${float(amount):.4g}"


def _about(amount: Decimal | int) -> str:
    """A forecast is no amount: its last digits say nothing."""
    return f"${float(amount):,.2f}" if amount >= 1 else f"${float(amount):.4g}"


def _share(value: float) -> str:
    return f"{100 * float(value):.0f} %"
