"""``prompts``: versioned templates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from gateway.cli.client import Json, Key, Url, connect, console, segment, show

Name = Annotated[str, typer.Argument(help="The template's name.")]


def add(
    name: Name,
    file: Annotated[Path, typer.Argument(help="The template (Jinja2).", exists=True, dir_okay=False)],
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Add a version."""
    made = connect(url, key).post("/prompts", {"name": name, "template": file.read_text(encoding="utf-8")})
    if as_json:
        show(made)
    else:
        console().print(
            f"[green]✓[/] {made['name']}@{made['version']}, variables: {', '.join(made['variables']) or 'none'}"
        )


def listing(url: Url = None, key: Key = None, as_json: Json = False) -> None:
    """The newest version of each."""
    found = connect(url, key).get("/prompts")
    if as_json:
        show(found)
        return
    table = Table("name", "version", "variables", "by", box=None, header_style="bold")
    for item in found["prompts"]:
        table.add_row(item["name"], str(item["version"]), ", ".join(item["variables"]), item["created_by"])
    console().print(table if found["prompts"] else "no prompts are stored")


def render(
    name: Name,
    variable: Annotated[list[str] | None, typer.Option("--var", help="name=value; repeatable.")] = None,
    version: Annotated[int | None, typer.Option(help="A version; the newest by default.")] = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Show the text that a template gives."""
    pairs = [item.partition("=") for item in variable or ()]
    body = {"variables": {left: right for left, _, right in pairs}, "version": version}
    rendered = connect(url, key).post(f"/prompts/{segment(name)}/render", body)
    console().print(rendered["text"], markup=False, soft_wrap=True)


def make_app() -> typer.Typer:
    """This group of commands."""
    app = typer.Typer(no_args_is_help=True)
    app.command("add")(add)
    app.command("list")(listing)
    app.command("render")(render)
    return app
