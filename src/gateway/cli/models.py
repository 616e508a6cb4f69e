"""``models``: what there is; versions, promotion, rollback."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from gateway.cli.client import Json, Key, Url, connect, console, listing_table, segment, show

Name = Annotated[str, typer.Argument(help="The model.")]


def listing(url: Url = None, key: Key = None, as_json: Json = False) -> None:
    """Every model you may use."""
    found = connect(url, key).get("/models")
    if as_json:
        show(found)
        return
    table = listing_table("name", "type", "provider", "state", "description")
    for item in found["models"]:
        table.add_row(item["name"], item["type"], item["provider"], _state(item), item["description"])
    console().print(table)


def versions(name: Name, url: Url = None, key: Key = None, as_json: Json = False) -> None:
    """Versions of a model with their metrics, newest first."""
    model = connect(url, key).get(f"/models/{segment(name)}")
    if as_json:
        show(model)
        return
    table = Table("version", "aliases", "trained", "metrics", "artifact", box=None, header_style="bold")
    for item in model.get("versions", ()):
        metrics = "  ".join(f"{key} {float(value):.4g}" for key, value in item["metrics"].items())
        table.add_row(
            str(item["version"]), " ".join(item["aliases"]), item["created_at"][:19], metrics, item["artifact"][:12]
        )
    console().print(table)


def promote(
    name: Name,
    version: Annotated[int, typer.Argument(help="The version.")],
    alias: Annotated[str, typer.Option(help="The alias to point at it.")] = "champion",
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Point an alias at a version."""
    _moved(connect(url, key).post(f"/models/{segment(name)}/promote", {"version": version, "alias": alias}), as_json)


def rollback(
    name: Name,
    alias: Annotated[str, typer.Option(help="The alias to point back.")] = "champion",
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Point an alias back at where it pointed before."""
    _moved(connect(url, key).post(f"/models/{segment(name)}/rollback", {"alias": alias}), as_json)


def make_app() -> typer.Typer:
    """This group of commands."""
    app = typer.Typer(no_args_is_help=True)
    app.command("list")(listing)
    app.command("versions")(versions)
    app.command("promote")(promote)
    app.command("rollback")(rollback)
    return app


def _moved(alias: Any, as_json: bool) -> None:
    if as_json:
        show(alias)
    else:
        before = f" (before: {alias['previous']})" if alias["previous"] else ""
        console().print(f"[green]✓[/] {alias['model']}: {alias['alias']} is version {alias['version']}{before}")


def _state(item: Any) -> str:
    if not item["configured"]:
        return "needs " + ", ".join(item["missing"])
    if "ready" not in item:
        return "configured"
    return f"version {item['version']}" if item["ready"] else "not trained yet"
