"""``tasks``: what was handed in, and what became of it."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.client import Json, Key, Url, connect, console, listing_table, segment, show
from gateway.cli.exits import FOLLOWED_FAILED
from gateway.cli.follow import follow_task
from gateway.money import plain

Id = Annotated[str, typer.Argument(help="The task's id.")]


def listing(
    status: Annotated[str | None, typer.Option(help="pending, running, completed, failed, cancelled.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many.")] = 20,
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Tasks, newest first."""
    page = connect(url, key).get("/tasks", status=status, limit=limit)
    if as_json:
        show(page)
        return
    table = listing_table("id", "type", "status", "attempts", "cost", "created")
    for item in page["tasks"]:
        cells = [item["task_id"], item["task_type"], item["status"], str(item["attempts"]), f"${plain(item['cost'])}"]
        table.add_row(*cells, item["created_at"][:19])
    console().print(table if page["tasks"] else "no tasks")


def task(task_id: Id, url: Url = None, key: Key = None) -> None:
    """A task with its result, as JSON."""
    show(connect(url, key).get(f"/tasks/{segment(task_id)}"))


def cancel(task_id: Id, url: Url = None, key: Key = None) -> None:
    """Cancel a task."""
    ended = connect(url, key).delete(f"/tasks/{segment(task_id)}")
    console().print(f"{ended['task_id']} is {ended['status']}")


def watch(
    task_id: Id,
    wait: Annotated[float, typer.Option("--wait", min=1, help="Seconds to watch at most.")] = 600.0,
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Watch a task until it has ended; the exit status tells how (10: not well)."""
    ended = follow_task(connect(url, key), task_id, quiet=as_json, seconds=wait)
    if as_json:
        show(ended)
    if ended["status"] != "completed":
        error = ended.get("error") or {}
        text = f"{ended['status']}  {error.get('code', '')} {error.get('message', '')}".strip()
        console(stderr=True).print(text, markup=False, soft_wrap=True)
        raise typer.Exit(FOLLOWED_FAILED)


def make_app() -> typer.Typer:
    """This group of commands."""
    app = typer.Typer(no_args_is_help=True)
    app.command("list")(listing)
    app.command("show")(task)
    app.command("watch")(watch)
    app.command("cancel")(cancel)
    return app
