"""``budgets``: caps on spending."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.client import Json, Key, Url, connect, console, listing_table, segment, show
from gateway.money import plain


def create(
    scope: Annotated[str, typer.Argument(help="key, user, team, model, workflow, run or gateway.")],
    subject: Annotated[str, typer.Argument(help="Whose: a key id, a principal, a model …; '*' for the gateway.")],
    limit_usd: Annotated[str, typer.Argument(help="The cap in USD, such as 100 or 0.05.")],
    window: Annotated[str, typer.Option(help="day, week, month or lifetime.")] = "month",
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Set a cap: calls whose worst case does not fit are refused."""
    body = {"scope": scope, "subject": subject, "limit_usd": limit_usd, "window": window}
    made = connect(url, key).post("/budgets", body)
    if as_json:
        show(made)
    else:
        cap = f"${plain(made['limit_usd'])} a {made['window']}"
        console().print(f"[green]✓[/] {made['id']}: {made['scope']} {made['subject']} ≤ {cap}")


def listing(url: Url = None, key: Key = None, as_json: Json = False) -> None:
    """Budgets as they stand."""
    found = connect(url, key).get("/budgets")
    if as_json:
        show(found)
        return
    table = listing_table("id", "scope", "subject", "window", "limit", "spent", "reserved")
    for item in found["budgets"]:
        amounts = [f"${plain(item[name])}" for name in ("limit_usd", "spent_usd", "reserved_usd")]
        table.add_row(item["id"], item["scope"], item["subject"], item["window"], *amounts)
    console().print(table if found["budgets"] else "no budgets are set")


def end(
    budget_id: Annotated[str, typer.Argument(help="The budget's id.")],
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """End a budget."""
    ended = connect(url, key).delete(f"/budgets/{segment(budget_id)}")
    if as_json:
        show(ended)
    else:
        console().print(f"[green]✓[/] {ended['id']} ended")


def make_app() -> typer.Typer:
    """This group of commands."""
    app = typer.Typer(no_args_is_help=True)
    app.command("create")(create)
    app.command("list")(listing)
    app.command("end")(end)
    return app
