"""``keys``: make, list and revoke API keys."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gateway.cli.client import Json, Key, Url, connect, console, listing_table, segment, show
from gateway.cli.options import Concurrent, Rpm, Tpm


def create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    *,
    role: Annotated[str, typer.Option(help="admin, operator, analyst, developer or viewer.")] = "developer",
    budget: Annotated[str | None, typer.Option(help="A cap in USD, such as 5 or 0.05.")] = None,
    window: Annotated[str, typer.Option(help="day, week, month, lifetime, rolling:24h …")] = "month",
    team: Annotated[str | None, typer.Option(help="The team it belongs to.")] = None,
    project: Annotated[str | None, typer.Option(help="The project it is for.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="Models it may use (patterns); repeatable.")] = None,
    rpm: Rpm = None,
    tpm: Tpm = None,
    concurrent: Concurrent = None,
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Make a key; it is shown this once."""
    body: dict[str, Any] = {"name": name, "role": role}
    if budget is not None:
        body["budget"] = {"limit_usd": budget, "window": window}
    if model:
        body["models"] = model
    more = {"team": team, "project": project, "requests_per_minute": rpm, "tokens_per_minute": tpm}
    more["max_concurrent"] = concurrent
    body |= {name: value for name, value in more.items() if value is not None}
    made = connect(url, key).post("/keys", body)
    if as_json:
        show(made)
        return
    out = console()
    out.print(f"[green]✓[/] {made['id']} ({made['role']}), shown this once:")
    out.print(made["key"], markup=False, soft_wrap=True)


def listing(url: Url = None, key: Key = None, as_json: Json = False) -> None:
    """List keys, newest first; never their secrets."""
    page = connect(url, key).get("/keys", limit=200)
    if as_json:
        show(page)
        return
    table = listing_table("id", "name", "ends in", "role", "models", "state")
    for item in page["keys"]:
        state = "revoked" if item["revoked_at"] else "in force"
        table.add_row(item["id"], item["name"], item["hint"], item["role"], " ".join(item["models"]), state)
    console().print(table)


def revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id.")],
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """End a key."""
    ended = connect(url, key).delete(f"/keys/{segment(key_id)}")
    if as_json:
        show(ended)
    else:
        console().print(f"[green]✓[/] {ended['id']} revoked")


def make_app() -> typer.Typer:
    """This group of commands."""
    app = typer.Typer(no_args_is_help=True)
    app.command("create")(create)
    app.command("list")(listing)
    app.command("revoke")(revoke)
    return app
