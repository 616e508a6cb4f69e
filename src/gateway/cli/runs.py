"""``runs``: what became of a run, and what a person may do to one."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from gateway.cli.client import Json, Key, Url, connect, console, listing_table, segment, show
from gateway.cli.exits import FOLLOWED_FAILED
from gateway.cli.follow import follow_run
from gateway.cli.lineage import draw
from gateway.cli.prune import prune
from gateway.cli.runs_within import children_of, print_children
from gateway.cli.workflows import runs as listing
from gateway.errors import ValidationFailed
from gateway.money import plain

Id = Annotated[str, typer.Argument(help="The run's id.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept with the run and in the audit trail.")]
Step = Annotated[str, typer.Argument(help="The step's id.")]


def run(
    run_id: Id,
    most: Annotated[int, typer.Option("--runs", min=1, help="Show so many of the runs within it.")] = 20,
    status: Annotated[str | None, typer.Option(help="Only those of the runs within it that are so.")] = None,
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """A run with its steps, and the runs within it."""
    client = connect(url, key)
    found = client.get(f"/runs/{segment(run_id)}")
    within = None
    if any(step.get("workflow") for step in found["steps"]):
        within = children_of(client, run_id, status, most)
    if as_json:
        show(found if within is None else {**found, "children": within["children"]})
        return
    out = console()
    out.print(f"{found['run_id']}  {found['workflow_id']}  {found['status']}  ${plain(found['cost'])}", markup=False)
    table = listing_table("step", "task", "status", "attempts", "cost", "")
    for step in found["steps"]:
        cells = [step["task_type"], step["status"], str(step["attempts"]), f"${plain(step['cost'])}", _note(step)]
        table.add_row(step["step_id"], *cells)
    out.print(table)
    if within is not None:
        print_children(within, status, out)


def pause(run_id: Id, url: Url = None, key: Key = None) -> None:
    """Begin nothing new of a run; what runs goes on to its end."""
    _say(connect(url, key).post(f"/runs/{segment(run_id)}/pause"))


def resume(run_id: Id, url: Url = None, key: Key = None) -> None:
    """Let a paused run go on."""
    _say(connect(url, key).post(f"/runs/{segment(run_id)}/resume"))


def cancel(run_id: Id, url: Url = None, key: Key = None) -> None:
    """Call a run off."""
    _say(connect(url, key).post(f"/runs/{segment(run_id)}/cancel"))


def retry(
    run_id: Id,
    from_step: Annotated[
        list[str] | None, typer.Option("--from", help="Do this step, and what follows, again.")
    ] = None,
    data: Annotated[str | None, typer.Option("--input", help="Fields of the input to be otherwise, JSON.")] = None,
    model: Annotated[list[str] | None, typer.Option("--model", help="Another model for a step: STEP=MODEL.")] = None,
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Begin a run again; what completed before and does not change is taken over, not paid again."""
    body: dict[str, Any] = {"from_step": from_step or [], "model_config": _models(model or [])}
    if data is not None:
        try:
            body["input"] = json.loads(data)
        except ValueError as error:
            raise ValidationFailed(f"--input is not JSON: {error}", mend="write one JSON object") from None
    begun = connect(url, key).post(f"/runs/{segment(run_id)}/retry", body)
    show(begun) if as_json else _say(begun)


def approvals(url: Url = None, key: Key = None, as_json: Json = False) -> None:
    """The steps that wait for your word."""
    found = connect(url, key).get("/approvals")
    if as_json:
        show(found)
        return
    table = listing_table("run", "step", "workflow", "owner", "since", "message")
    for item in found["approvals"]:
        cells = [item["step_id"], item["workflow_id"], item["owner"], item["since"][:19], item["message"]]
        table.add_row(item["run_id"], *cells)
    console().print(table if found["approvals"] else "nobody waits for you")


def approve(run_id: Id, step_id: Step, reason: Reason = "", url: Url = None, key: Key = None) -> None:
    """Let a step begin that waits for a person's word."""
    _decide(run_id, step_id, True, reason, url, key)


def refuse(run_id: Id, step_id: Step, reason: Reason, url: Url = None, key: Key = None) -> None:
    """Do not let it."""
    _decide(run_id, step_id, False, reason, url, key)


def signal(
    run_id: Id,
    name: Annotated[str, typer.Argument(help="The signal's name.")],
    payload: Annotated[str | None, typer.Option("--payload", help="What goes with it, as JSON.")] = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Send a run a signal; kept until a step takes it."""
    try:
        body = {} if payload is None else {"payload": json.loads(payload)}
    except ValueError as error:
        raise ValidationFailed(f"--payload is not JSON: {error}", mend="write JSON") from None
    told = connect(url, key).post(f"/runs/{segment(run_id)}/signals/{segment(name)}", body)
    console().print("a step waited for it" if told["heard"] else "kept until a step waits for it")


def lineage(run_id: Id, url: Url = None, key: Key = None, as_json: Json = False) -> None:
    """Everything a run's numbers depend on: versions, hashes, models, prompts, entries of the ledger."""
    found = connect(url, key).get(f"/runs/{segment(run_id)}/lineage")
    show(found) if as_json else draw(found, console())


def replay(run_id: Id, url: Url = None, key: Key = None, as_json: Json = False) -> None:
    """Do a run's work again with the answers that language models gave then; the exit status tells if it differs."""
    client = connect(url, key)
    begun = client.post(f"/runs/{segment(run_id)}/replay")
    follow_run(client, begun["run_id"], quiet=as_json)
    found = client.get(f"/runs/{segment(begun['run_id'])}/lineage")
    if as_json:
        show(found)
    elif found["equal"]:
        console().print(f"[green]✓[/] {begun['run_id']} came out equal")
    else:
        console().print(f"[red]✗[/] these steps differ: {', '.join(found['differing_steps'])}")
        for name, (then, now) in found["changed_versions"].items():
            console().print(f"{name} was {then or 'not there'} then, and is {now or 'not there'} now", markup=False)
    if not found["equal"]:
        raise typer.Exit(FOLLOWED_FAILED)


def make_app() -> typer.Typer:
    """This group of commands."""
    app = typer.Typer(no_args_is_help=True)
    app.command("list")(listing)
    app.command("show")(run)
    for command in (pause, resume, cancel, retry, approvals, approve, refuse, signal, lineage, replay, prune):
        app.command()(command)
    return app


def _decide(run_id: str, step_id: str, approved: bool, reason: str, url: str | None, key: str | None) -> None:
    body = {"step_id": step_id, "approved": approved, "reason": reason}
    told = connect(url, key).post(f"/runs/{segment(run_id)}/approve", body)
    console().print(f"{told['step_id']} was {'approved' if approved else 'refused'} by {told['by']}", markup=False)


def _models(given: list[str]) -> dict[str, dict[str, str]]:
    found = {}
    for pair in given:
        step, sign, name = pair.partition("=")
        if not sign or not step or not name:
            raise ValidationFailed(f"--model {pair}: not STEP=MODEL", mend="such as --model summary=gpt-4o")
        found[step] = {"name": name}
    return found


def _note(step: dict[str, Any]) -> str:
    """What there is to say of a step beside its status."""
    if step.get("error"):
        return str(step["error"].get("message", ""))[:80]
    for name, text in (("waits_for", "waits for {}"), ("skipped", "{}"), ("reused", "taken over from {}")):
        if step.get(name):
            return text.format(step[name])
    return str(step["progress_note"] or (f"{step['items']} items" if step.get("items") is not None else ""))


def _say(run: dict[str, Any]) -> None:
    console().print(f"{run['run_id']} is {run['status']}", markup=False)
