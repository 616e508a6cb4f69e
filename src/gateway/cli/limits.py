"""``limits``: what users and teams may do in a minute, and at once."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from gateway.cli.client import Json, Key, Url, connect, console, listing_table, show
from gateway.cli.options import Concurrent, Rpm, Tpm

Scope = Annotated[str, typer.Argument(help="user or team.")]
Subject = Annotated[str, typer.Argument(help="Which: a principal or the team's name.")]


def put(
    scope: Scope,
    subject: Subject,
    rpm: Rpm = None,
    tpm: Tpm = None,
    concurrent: Concurrent = None,
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Set limits for all keys of a user or a team together; what is not named is not limited."""
    body: dict[str, Any] = {"scope": scope, "subject": subject}
    asked = {"requests_per_minute": rpm, "tokens_per_minute": tpm, "max_concurrent": concurrent}
    body |= {name: value for name, value in asked.items() if value is not None}
    made = connect(url, key).send("PUT", "/limits", body)
    if as_json:
        show(made)
    else:
        console().print(f"[green]✓[/] {made['scope']} {made['subject']}: {_told(made)}")


def listing(url: Url = None, key: Key = None, as_json: Json = False) -> None:
    """Limits of users, teams and models."""
    found = connect(url, key).get("/limits")
    if as_json:
        show(found)
        return
    table = listing_table("subject", "scope", "limits", "set by")
    for item in found["limits"]:
        table.add_row(item["subject"], item["scope"], _told(item), item["set_by"])
    console().print(table if found["limits"] else "no limits are set")


def end(scope: Scope, subject: Subject, url: Url = None, key: Key = None, as_json: Json = False) -> None:
    """End the limits of a user or a team."""
    gone = connect(url, key).delete(f"/limits?{urlencode({'scope': scope, 'subject': subject})}")
    if as_json:
        show(gone)
    else:
        console().print(f"[green]✓[/] {gone['scope']} {gone['subject']} has no limits of its own any more")


def _told(item: dict[str, Any]) -> str:
    words = {"requests_per_minute": "requests a minute", "tokens_per_minute": "tokens a minute"}
    words["max_concurrent"] = "calls at once"
    return ", ".join(f"{item[name]} {word}" for name, word in words.items() if item[name] is not None)


def make_app() -> typer.Typer:
    """This group of commands."""
    app = typer.Typer(no_args_is_help=True)
    app.command("set")(put)
    app.command("list")(listing)
    app.command("end")(end)
    return app
