"""``webhooks``: subscriptions and their secrets, deliveries, and dead ones sent again."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gateway.cli.client import Json, Key, Url, connect, console, listing_table, segment, show
from gateway.errors import ValidationFailed

Id = Annotated[str, typer.Argument(help="The subscription's id.")]
_PAGE = 200


def add(
    address: Annotated[str, typer.Argument(help="Where to send: https://…")],
    event: Annotated[list[str] | None, typer.Option(help="Which events (all); repeatable.")] = None,
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Subscribe an address; its secret is shown this once."""
    made = connect(url, key).post("/webhooks", {"url": address, "events": event or []})
    _say_secret(made, "subscribed", as_json)


def listing(url: Url = None, key: Key = None, as_json: Json = False) -> None:
    """Subscriptions; never their secrets."""
    page = connect(url, key).get("/webhooks")
    if as_json:
        show(page)
        return
    table = listing_table("id", "address", "events", "owner", "state", "old secret until")
    for item in page["webhooks"]:
        until = (item["old_secret_until"] or "")[:19]
        state = f"disabled {item['disabled_at'][:19]}: {item['disabled_reason']}" if item["disabled_at"] else "enabled"
        table.add_row(item["id"], item["url"], ", ".join(item["events"]) or "all", item["owner"], state, until)
    console().print(table if page["webhooks"] else "no subscriptions")


def remove(subscription_id: Id, url: Url = None, key: Key = None, as_json: Json = False) -> None:
    """End a subscription, with what is still to be sent for it."""
    ended = connect(url, key).delete(f"/webhooks/{segment(subscription_id)}")
    show(ended) if as_json else console().print(f"[green]✓[/] {ended['id']} ended")


def enable(subscription_id: Id, url: Url = None, key: Key = None, as_json: Json = False) -> None:
    """Tell a subscription again that was disabled because its receiver was gone."""
    made = connect(url, key).post(f"/webhooks/{segment(subscription_id)}/enable")
    show(made) if as_json else console().print(f"[green]✓[/] {made['id']} enabled")


def rotate(
    subscription_id: Id,
    overlap: Annotated[int | None, typer.Option(help="Seconds in which the old secret signs too (a day).")] = None,
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """A new secret; the old one signs too for a while."""
    body = {} if overlap is None else {"overlap": overlap}
    made = connect(url, key).post(f"/webhooks/{segment(subscription_id)}/rotate", body)
    _say_secret(made, f"rotated, the old secret signs until {made['old_secret_until'][:19]}", as_json)


def secret(url: Url = None, key: Key = None, as_json: Json = False) -> None:
    """The secret that signs for addresses named in your tasks and runs."""
    found = connect(url, key).get("/webhooks/secret")
    show(found) if as_json else console().print(found["secret"], markup=False, soft_wrap=True)


def deliveries(
    state: Annotated[str | None, typer.Option(help="pending, delivered or dead.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=_PAGE, help="How many.")] = 20,
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """What was sent and what was not, newest first."""
    page = connect(url, key).get("/webhooks/deliveries", state=state, limit=limit)
    if as_json:
        show(page)
        return
    table = listing_table("id", "event", "state", "tries", "address", "last error", "next try")
    for item in page["deliveries"]:
        facts = [item["event"], item["state"], str(item["attempts"]), item["url"], item["last_error"] or ""]
        table.add_row(item["id"], *facts, (item["next_try"] or "")[:19])
    console().print(table if page["deliveries"] else "no deliveries")


def replay(
    delivery_id: Annotated[list[str] | None, typer.Argument(help="Deliveries to send again.")] = None,
    dead: Annotated[bool, typer.Option("--dead", help="All that are dead.")] = False,
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Send deliveries again, under the ids they had."""
    if bool(delivery_id) == dead:
        raise ValidationFailed("which deliveries?", mend="name their ids, or give --dead for all that are dead")
    client = connect(url, key)
    found = list(delivery_id or [])
    cursor: str | None = None
    while dead:
        page = client.get("/webhooks/deliveries", state="dead", limit=_PAGE, cursor=cursor)
        found += [item["id"] for item in page["deliveries"]]
        cursor = page["next_cursor"]
        dead = cursor is not None
    again = [client.post(f"/webhooks/deliveries/{segment(name)}/replay") for name in found]
    show({"deliveries": again}) if as_json else console().print(f"[green]✓[/] {len(again)} on their way again")


def make_app() -> typer.Typer:
    """This group of commands."""
    app = typer.Typer(no_args_is_help=True)
    for name, command in (
        ("add", add),
        ("list", listing),
        ("remove", remove),
        ("enable", enable),
        ("rotate", rotate),
        ("secret", secret),
        ("deliveries", deliveries),
        ("replay", replay),
    ):
        app.command(name)(command)
    return app


def _say_secret(made: dict[str, Any], what: str, as_json: bool) -> None:
    if as_json:
        show(made)
        return
    out = console()
    out.print(f"[green]✓[/] {made['id']} {what}; its secret, shown this once:")
    out.print(made["secret"], markup=False, soft_wrap=True)
