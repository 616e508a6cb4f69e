"""``dead-letters``: steps that failed for good after all their attempts."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.client import Json, Key, Url, connect, console, listing_table, segment, show

Id = Annotated[str, typer.Argument(help="The task's id.")]


def listing(url: Url = None, key: Key = None, as_json: Json = False) -> None:
    """What failed and waits for somebody."""
    found = connect(url, key).get("/dead-letters")
    if as_json:
        show(found)
        return
    table = listing_table("task", "run", "step", "attempts", "at", "why")
    for item in found["dead_letters"]:
        why = str((item["error"] or {}).get("message", item["code"]))[:80]
        cells = [item["run_id"], item["step_id"], str(item["attempts"]), item["at"][:19], why]
        table.add_row(item["task_id"], *cells)
    console().print(table if found["dead_letters"] else "nothing waits")


def replay(task_id: Id, url: Url = None, key: Key = None) -> None:
    """Begin its run again from there."""
    begun = connect(url, key).post(f"/dead-letters/{segment(task_id)}/replay")
    console().print(f"{begun['run_id']} is {begun['status']}", markup=False)


def dismiss(task_id: Id, url: Url = None, key: Key = None) -> None:
    """Let it be."""
    connect(url, key).delete(f"/dead-letters/{segment(task_id)}")
    console().print(f"{task_id} is let be", markup=False)


def make_app() -> typer.Typer:
    """This group of commands."""
    app = typer.Typer(no_args_is_help=True)
    app.command("list")(listing)
    app.command()(replay)
    app.command()(dismiss)
    return app
