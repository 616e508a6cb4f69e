"""``budgets``: caps on spending."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gateway.cli.client import Json, Key, Url, connect, console, listing_table, segment, show
from gateway.money import plain


def create(
    scope: Annotated[str, typer.Argument(help="key, user, team, project, model, provider, workflow, run or gateway.")],
    subject: Annotated[str, typer.Argument(help="Whose: a key id, a principal, a model …; '*' for the gateway.")],
    limit_usd: Annotated[str, typer.Argument(help="The cap in USD, such as 100 or 0.05.")],
    window: Annotated[
        str | None,
        typer.Option(
            help="day (the default; of one run: lifetime), week, month, lifetime, run (each run its own) or "
            "rolling:24h, rolling:7d …"
        ),
    ] = None,
    time_zone: Annotated[str | None, typer.Option(help="Where its days begin, such as Europe/Berlin.")] = None,
    alert: Annotated[list[str] | None, typer.Option(help="A share of the cap to be told at; repeatable.")] = None,
    at_cap: Annotated[str, typer.Option(help="refuse, degrade, queue or approve.")] = "refuse",
    degrade_to: Annotated[list[str] | None, typer.Option(help="A cheaper model instead; repeatable.")] = None,
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Set a cap: calls whose worst case does not fit are refused."""
    body: dict[str, Any] = {"scope": scope, "subject": subject, "limit_usd": limit_usd, "at_cap": at_cap}
    body |= ({"window": window} if window else {}) | ({"time_zone": time_zone} if time_zone else {})
    body |= {name: value for name, value in (("alert_shares", alert), ("degrade_to", degrade_to)) if value}
    made = connect(url, key).post("/budgets", body)
    if as_json:
        show(made)
    else:
        cap = f"${plain(made['limit_usd'])} a {made['window']}"
        console().print(f"[green]✓[/] {made['id']}: {made['scope']} {made['subject']} ≤ {cap}")


def listing(
    active: Annotated[bool, typer.Option("--active/--ended", help="Those in force, or the newest that ended.")] = True,
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Budgets as they stand."""
    found = connect(url, key).get("/budgets" if active else "/budgets?active=false")
    if as_json:
        show(found)
        return
    table = listing_table("id", "scope", "subject", "window", "limit", "spent", "reserved")
    for item in found["budgets"]:
        amounts = [f"${plain(item[name])}" for name in ("limit_usd", "spent_usd", "reserved_usd")]
        table.add_row(item["id"], item["scope"], item["subject"], item["window"], *amounts)
    console().print(table if found["budgets"] else "no budgets are set" if active else "no budget has ended")
    if not found.get("enforced", True):
        console().print("[yellow]–[/] COST_TRACKING_ENABLED=false: they neither refuse nor alert, and count nothing")


def approve(
    budget_id: Annotated[str, typer.Argument(help="The budget's id.")],
    amount_usd: Annotated[str, typer.Argument(help="USD beyond the limit, for this window.")],
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Let this window spend more."""
    _decided(connect(url, key).post(f"/budgets/{segment(budget_id)}/approve", {"amount_usd": amount_usd}), as_json)


def deny(
    budget_id: Annotated[str, typer.Argument(help="The budget's id.")],
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Deny what was asked for beyond the budget."""
    _decided(connect(url, key).post(f"/budgets/{segment(budget_id)}/deny"), as_json)


def _decided(budget: dict[str, Any], as_json: bool) -> None:
    if as_json:
        show(budget)
    else:
        extra = plain(budget["extra_usd"])
        console().print(f"[green]✓[/] {budget['id']}: ${plain(budget['limit_usd'])} and ${extra} beyond it")


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
    app.command("approve")(approve)
    app.command("deny")(deny)
    app.command("end")(end)
    return app
