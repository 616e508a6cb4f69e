"""``prices``: what models ask, and what of it needs somebody's eye."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gateway.cli.client import Json, Key, Url, connect, console, listing_table, show
from gateway.money import plain

_SHOWN = ("input_per_million", "output_per_million", "cached_input_per_million", "cache_write_per_million")
_WHOLE = ("per_call", "per_second", "per_row", "per_web_search")


def listing(
    model: Annotated[str | None, typer.Option(help="Only this model.")] = None,
    at: Annotated[str | None, typer.Option(help="A date or time: what counted then.")] = None,
    known_at: Annotated[str | None, typer.Option(help="A date or time: as it was known then.")] = None,
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """What models ask, in USD a million tokens."""
    found = connect(url, key).get("/prices", model=model, at=at, known_at=known_at)
    if as_json:
        show(found)
        return
    table = listing_table("model", "in", "out", "cache read", "cache write", "else", "card")
    for item in found["prices"]:
        card = item["card"]
        if card is None:
            table.add_row(item["model"], *[""] * 5, "[red]no price is known: calls are refused[/]")
            continue
        table.add_row(item["model"], *(_amount(card, name) for name in _SHOWN), _whole(card), card["name"])
    console().print(table)


def check(url: Url = None, key: Key = None, as_json: Json = False) -> None:
    """Models without a price, and prices that changed since they were last charged. Status 1 where there are any."""
    found = connect(url, key).get("/prices/check")
    odd = found["without_price"] or found["changed"]
    if as_json:
        show(found)
        raise typer.Exit(1 if odd else 0)
    out = console()
    for name in found["without_price"]:
        out.print(f"[red]✗[/] {name}: no price is known, so its calls are refused")
    for item in found["changed"]:
        out.print(
            f"[yellow]![/] {item['model']}: was charged by {item['charged_by']}, and would be now by {item['now']}"
        )
    for item in found["coming"]:
        out.print(f"[dim]·[/] {item['model']}: another price from {item['from']}")
    for name in found["not_charged"]:
        out.print(f"[dim]·[/] {name}: not charged, by configuration (price: none)")
    if not odd:
        out.print(f"[green]✓[/] {found['checked']} models have a price, and the one they were last charged by")
    raise typer.Exit(1 if odd else 0)


def rerate(
    since: Annotated[str, typer.Argument(help="A date, or a time with its zone.")],
    until: Annotated[str, typer.Argument(help="A date or time, itself not included.")],
    team: Annotated[str | None, typer.Option(help="Only this team's calls.")] = None,
    model: Annotated[str | None, typer.Option(help="Only calls of this model.")] = None,
    book: Annotated[bool, typer.Option("--book/--dry-run", help="Enter the difference as corrections.")] = False,
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """What past calls would cost by the prices known now, by team; --book enters the difference."""
    body = {"since": since, "until": until, "book": book}
    body |= {name: value for name, value in (("team", team), ("model", model)) if value is not None}
    found = connect(url, key).post("/prices/rerate", body)
    if as_json:
        show(found)
        return
    out = console()
    for names, groups in ((("team",), found["by_team"]), (("model", "charged_by", "now"), found["by_card"])):
        table = listing_table(*names, "calls", "charged", "by these prices", "difference")
        for item in groups:
            amounts = [f"${plain(item[name])}" for name in ("before_usd", "after_usd", "difference_usd")]
            table.add_row(*(item[name] or "(none)" for name in names), str(item["entries"]), *amounts)
        if groups:
            out.print(table)
    for item in found["left_out"]:
        out.print(f"[dim]·[/] {item['entries']} calls left out: {item['reason']}")
    changed = f"{found['changed']} of {found['entries']} calls differ, by ${plain(found['difference_usd'])} in all"
    if found["booked"]:
        out.print(f"[green]✓[/] {changed}; {found['booked']} corrections booked")
    else:
        out.print(changed + ("; nothing is booked (--book does)" if found["changed"] and not book else ""))


def _amount(card: dict[str, Any], name: str) -> str:
    return f"${plain(card[name])}" if name in card else ""


def _whole(card: dict[str, Any]) -> str:
    parts = [f"${plain(card[name])} {name.replace('_', ' ')}" for name in _WHOLE if card.get(name)]
    parts += [f"other above {tier['above_input_tokens']} tokens" for tier in card.get("tiers", ())]
    return ", ".join(parts)


def make_app() -> typer.Typer:
    """This group of commands."""
    app = typer.Typer(no_args_is_help=True)
    app.command("list")(listing)
    app.command("check")(check)
    app.command("rerate")(rerate)
    return app
