"""``schedules``: workflows that run at set times, and runs for times that are past."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from gateway.cli.client import Json, Key, Url, connect, console, listing_table, segment, show
from gateway.errors import ValidationFailed

Id = Annotated[str, typer.Argument(help="The schedule's id.")]
Workflow = Annotated[str, typer.Argument(help="The workflow.")]
Cron = Annotated[str, typer.Argument(help="Five fields, such as '30 6 * * MON-FRI'.")]
Zone = Annotated[str, typer.Option("--timezone", help="Whose clock is meant.")]
Data = Annotated[str | None, typer.Option("--data", help="The runs' input as JSON text.")]


def listing(url: Url = None, key: Key = None, as_json: Json = False) -> None:
    """Every schedule of yours."""
    found = connect(url, key).get("/schedules")
    if as_json:
        show(found)
        return
    table = listing_table("id", "workflow", "cron", "timezone", "next", "last run", "")
    for item in found["schedules"]:
        following = item["next_at"][:19] if item["next_at"] else "paused"
        cells = [
            item["workflow_id"],
            item["cron"],
            item["timezone"],
            following,
            item["last_run_id"] or "",
            item["note"],
        ]
        table.add_row(item["schedule_id"], *cells)
    console().print(table if found["schedules"] else "no schedules")


def add(
    workflow_id: Workflow,
    cron: Cron,
    timezone: Zone = "UTC",
    data: Data = None,
    catch_up: Annotated[str, typer.Option(help="What of missed times: none, one (the last) or all.")] = "one",
    overlap: Annotated[str, typer.Option(help="While the run before goes on: allow or skip.")] = "allow",
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Run a workflow at the times of a cron expression."""
    body = {"workflow_id": workflow_id, "cron": cron, "timezone": timezone, "catch_up": catch_up, "overlap": overlap}
    made = connect(url, key).post("/schedules", {**body, "run": {"input": _parsed(data)}})
    show(made) if as_json else _say(made)


def pause(schedule_id: Id, url: Url = None, key: Key = None) -> None:
    """Begin no more runs until it goes on."""
    _say(connect(url, key).post(f"/schedules/{segment(schedule_id)}/pause"))


def resume(schedule_id: Id, url: Url = None, key: Key = None) -> None:
    """Begin runs again; times that passed meanwhile are let be."""
    _say(connect(url, key).post(f"/schedules/{segment(schedule_id)}/resume"))


def remove(schedule_id: Id, url: Url = None, key: Key = None) -> None:
    """Remove a schedule; runs that began stay."""
    connect(url, key).delete(f"/schedules/{segment(schedule_id)}")
    console().print(f"{schedule_id} is gone", markup=False)


def backfill(
    workflow_id: Workflow,
    cron: Cron,
    start: Annotated[str, typer.Option("--from", help="A time with its zone, such as 2026-01-01T00:00:00Z.")],
    end: Annotated[str, typer.Option("--to", help="Included.")],
    timezone: Zone = "UTC",
    data: Data = None,
    concurrency: Annotated[int, typer.Option(help="Steps at once.")] = 4,
    url: Url = None,
    key: Key = None,
) -> None:
    """One run for each time of a range that is past."""
    body = {"cron": cron, "timezone": timezone, "from": start, "to": end, "concurrency": concurrency}
    path = f"/workflows/{segment(workflow_id)}/backfill"
    begun = connect(url, key).post(path, {**body, "run": {"input": _parsed(data)}})
    console().print(f"{len(begun['runs'])} runs began: {begun['runs'][0]} …", markup=False)


def make_app() -> typer.Typer:
    """This group of commands."""
    app = typer.Typer(no_args_is_help=True)
    app.command("list")(listing)
    for command in (add, pause, resume, remove, backfill):
        app.command()(command)
    return app


def _parsed(text: str | None) -> Any:
    try:
        return {} if text is None else json.loads(text)
    except ValueError as error:
        raise ValidationFailed(f"--data is not JSON: {error}", mend="write one JSON object") from None


def _say(schedule: dict[str, Any]) -> None:
    when = f"runs next at {schedule['next_at'][:19]}Z" if schedule["next_at"] else "is paused"
    console().print(f"{schedule['schedule_id']} {when}", markup=False)
