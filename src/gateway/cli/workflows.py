"""``workflows``: list, define, run and follow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from gateway.cli.client import Json, Key, Url, connect, console, listing_table, segment, show
from gateway.cli.exits import FOLLOWED_FAILED
from gateway.cli.follow import follow_run
from gateway.cli.workflow_files import definitions_in
from gateway.errors import ValidationFailed
from gateway.money import plain

InputFile = Annotated[Path | None, typer.Option("--input", help="A JSON file with the run's input.")]


def listing(url: Url = None, key: Key = None, as_json: Json = False) -> None:
    """Every workflow."""
    found = connect(url, key).get("/workflows")
    if as_json:
        show(found)
        return
    table = listing_table("id", "name", "steps", "inputs", "from", "version")
    for item in found["workflows"]:
        steps = " → ".join(step["step_id"] for step in item["steps"])
        table.add_row(
            item["workflow_id"], item["name"], steps, ", ".join(item["inputs"]), item["source"], item["version"][:10]
        )
    console().print(table)


def define(
    file: Annotated[Path, typer.Argument(help="JSON, YAML, or Python with Workflows.", exists=True, dir_okay=False)],
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Check definitions and make each the newest of its workflow."""
    client = connect(url, key)
    made = [client.post("/workflows", raw) for raw in definitions_in(file)]
    if as_json:
        show(made[0] if len(made) == 1 else made)
        return
    for item in made:
        console().print(f"[green]✓[/] {item['workflow_id']} version {item['version'][:10]}, {len(item['steps'])} steps")


def run(
    workflow_id: Annotated[str, typer.Argument(help="The workflow.")],
    input_file: InputFile = None,
    data: Annotated[str | None, typer.Option("--data", help="The run's input as JSON text.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Watch it until it has ended.")] = False,
    budget: Annotated[str | None, typer.Option("--budget", help="USD that the run may cost.")] = None,
    degrade_to: Annotated[
        str | None, typer.Option("--degrade-to", help="At the budget, go on with this model instead of stopping.")
    ] = None,
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Start a run. With ``--follow`` the exit status tells how it ended (10: not well)."""
    client = connect(url, key)
    given = _json(input_file) if input_file is not None else _parsed(data, "--data") if data else {}
    body: dict[str, Any] = {"input": given}
    if budget is not None:
        way = {"at_limit": "degrade", "degrade_to": degrade_to} if degrade_to else {}
        body["budget"] = {"limit_usd": budget, **way}
    started = client.post(f"/workflows/{segment(workflow_id)}/runs", body)
    if not follow:
        show(started) if as_json else console().print(f"[green]✓[/] {started['run_id']} is {started['status']}")
        return
    ended = follow_run(client, started["run_id"], quiet=as_json)
    if as_json:
        show(ended)
    if ended["status"] != "completed":
        _say_why(ended)
        raise typer.Exit(FOLLOWED_FAILED)


def estimate(
    workflow_id: Annotated[str, typer.Argument(help="The workflow.")],
    input_file: InputFile = None,
    data: Annotated[str | None, typer.Option("--data", help="The run's input as JSON text.")] = None,
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """What a run will cost, before it is begun."""
    given = _json(input_file) if input_file is not None else _parsed(data, "--data") if data else {}
    found = connect(url, key).post(f"/workflows/{segment(workflow_id)}/estimate", {"input": given})
    if as_json:
        show(found)
        return
    table = listing_table("step", "model", "expected", "at most", "runs")
    for row in found["steps"]:
        costs = ("–" if row[name] is None else f"${plain(row[name])}" for name in ("expected_usd", "most_usd"))
        table.add_row(row["step_id"], row["model"] or "", *costs, str(row["runs"]))
    out = console()
    out.print(table)
    high = "no bound is known" if found["high_usd"] is None else f"${plain(found['high_usd'])}"
    how = f"80 % of {found['runs']} runs" if found["basis"] == "history" else "the least and the most it can cost"
    out.print(f"expected ${plain(found['expected_usd'])}, between ${plain(found['low_usd'])} and {high} ({how})")


def runs(
    status: Annotated[str | None, typer.Option(help="pending, running, completed, failed, cancelled.")] = None,
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Runs, newest first."""
    page = connect(url, key).get("/runs", status=status)
    if as_json:
        show(page)
        return
    table = listing_table("id", "workflow", "status", "progress", "cost", "created")
    for item in page["runs"]:
        facts = [f"{float(item['progress']):.0%}", f"${plain(item['cost'])}", item["created_at"][:19]]
        table.add_row(item["run_id"], item["workflow_id"], item["status"], *facts)
    console().print(table if page["runs"] else "no runs")


def make_app() -> typer.Typer:
    """This group of commands."""
    app = typer.Typer(no_args_is_help=True)
    app.command("list")(listing)
    app.command("define")(define)
    app.command("run")(run)
    app.command("estimate")(estimate)
    app.command("runs")(runs)
    return app


def _json(file: Path) -> Any:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ValidationFailed(f"{file.name} cannot be read ({type(error).__name__})", mend="check the file") from None
    return _parsed(text, file.name)


def _parsed(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValidationFailed(f"{place} is not JSON: {error}", mend="write one JSON object") from None


def _say_why(run: dict[str, Any]) -> None:
    """The whole error of a run that ended badly: a table has no room for it."""
    error = run.get("error") or {}
    told = Console(stderr=True, highlight=False)
    told.print(f"[bold red]{run['status']}[/]", end=" ")
    step = f"{error['step_id']}: " if error.get("step_id") else ""
    told.print(f"{step}{error.get('code', '')} – {error.get('message', 'no reason was left')}", markup=False)
    if error.get("mend"):
        told.print(f"mend  {error['mend']}", markup=False)
