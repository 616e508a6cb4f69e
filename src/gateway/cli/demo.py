"""``demo``: the whole system once through, as a user would use it: over HTTP, with a report at the end."""

from __future__ import annotations

import json
import os
import signal
import time
import types
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

import gateway
from gateway.cli.client import Client, segment, show
from gateway.cli.demo_cases import CASES, Case
from gateway.cli.exits import FOLLOWED_FAILED
from gateway.cli.follow import follow_run
from gateway.cli.report import report
from gateway.cli.supervisor import ServiceOptions, Supervisor
from gateway.errors import Unavailable, ValidationFailed
from gateway.money import plain
from gateway.settings import Settings, settings_from_process

_TRAINING_SECONDS = 300.0


def demo(
    case: Annotated[str, typer.Argument(help=f"One of {', '.join(CASES)}.")] = "risk",
    model: Annotated[str | None, typer.Option(help="Another language model, such as gpt-4 (needs its key).")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the service running until Ctrl-C.")] = False,
    port: Annotated[int | None, typer.Option(help="Port to listen on; a free one by default.")] = None,
    data_dir: Annotated[Path | None, typer.Option("--data-dir", help="Where state is kept (GATEWAY_DATA_DIR).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the finished run as JSON only.")] = False,
) -> None:
    """Starts a service, submits a workflow, follows it live, writes a report, stops cleanly."""
    if case not in CASES:
        raise ValidationFailed("there is no demonstration of that name", mend=f"choose one of: {', '.join(CASES)}")
    settings = settings_from_process(dev=True, port=0 if port is None and not keep else port, data_dir=data_dir)
    out = Console(highlight=False, stderr=as_json)
    began = time.monotonic()
    running = _running(settings)
    if running is not None:
        out.print(f"[dim]· using the service that runs already at {running.url}[/]")
        _conduct(out, running, CASES[case], settings, model, as_json, began)
        return
    supervisor = Supervisor(
        settings, ServiceOptions(logs_to_files=True), say=lambda text: out.print(f"[dim]· {text}[/]")
    )
    signal.signal(signal.SIGTERM, lambda *_: supervisor.request_stop())
    service = supervisor.start()
    for note in service.notes:
        out.print(f"[dim]· {note}[/]")
    client = Client(service.url, service.admin_key or settings.admin_key)
    out.print(f"[dim]· ready at {service.url} after {time.monotonic() - began:.1f} s[/]")
    try:
        _conduct(out, client, CASES[case], settings, model, as_json, began)
        if keep:
            _keep(out, client, supervisor)
    finally:
        out.print("[dim]· stopping[/]")
        supervisor.stop()


def _conduct(
    out: Console, client: Client, case: Case, settings: Settings, model: str | None, as_json: bool, began: float
) -> None:
    _await_models(out, client, case)
    out.print(f"\n[bold]{case.title}[/]")
    definition = _with_model(case.definition, model)
    client.post("/workflows", definition)
    name = definition["workflow_id"]
    given = {"input": case.input | ({"seed": _fresh_seed(client)} if name == "model_training" else {})}
    started = client.post(f"/workflows/{segment(name)}/runs", given)
    run = follow_run(client, started["run_id"], quiet=as_json, out=out)
    if as_json:
        show(run, indent=0)
    failed = run["status"] != "completed"
    if not failed or case.tells_part:
        case.tell(out, run)
    if failed:
        error = run.get("error") or {}
        out.print(f"\n[bold red]the run {run['status']}[/]: {error.get('message', '')}")
        if error.get("mend"):
            out.print(f"[bold]mend[/]: {error['mend']}", soft_wrap=True)
        if case.tells_part:
            out.print(f"what was done until then: {_write_report(client, run, case, settings)}", soft_wrap=True)
        raise typer.Exit(FOLLOWED_FAILED)
    if name == "model_training":
        _roll_back(out, client, run)
    _costs(out, run)
    place = _write_report(client, run, case, settings)
    out.print(f"\n[bold]Report[/]  {place}", soft_wrap=True)
    out.print(f"[dim]all of it took {time.monotonic() - began:.1f} s[/]")
    _next(out)


def _await_models(out: Console, client: Client, case: Case) -> None:
    """Waits for the built-in models of this demonstration: at the first start they are being trained."""
    deadline = time.monotonic() + _TRAINING_SECONDS
    with out.status("training the built-in models from bundled data (first start only)"):
        for name in case.models:
            while not (found := client.get(f"/models/{segment(name)}"))["ready"]:
                if time.monotonic() > deadline:
                    raise Unavailable(f"{name} was not trained in time", mend="see logs/trainer.log in its data")
                time.sleep(0.2)
            out.print(f"[dim]· {name} version {found['version']} is ready[/]")


def _with_model(definition: Mapping[str, Any], model: str | None) -> dict[str, Any]:
    """The definition as the brief has it, or with another model for its language step."""
    made = deepcopy(dict(definition))
    if model is not None:
        for step in made["steps"]:
            if step["task_type"] == "llm_analysis":
                step["model_config"] = {"name": model}
    return made


def _fresh_seed(client: Client) -> int:
    """A seed that no version has yet, so that training makes a new one."""
    return 1 + max((int(item["seed"]) for item in client.get("/models/risk-classifier")["versions"]), default=0)


def _roll_back(out: Console, client: Client, run: Mapping[str, Any]) -> None:
    made = next(step["result"] for step in run["steps"] if step["step_id"] == "train")
    if not made["promoted"]:
        return
    back = client.post(f"/models/{segment(made['model'])}/rollback", {})
    out.print(
        f"\n[bold]Rolled back[/]  champion is version {back['version']} again; {back['previous']} stays registered "
        f"(ai-gateway models promote {made['model']} {back['previous']})",
        soft_wrap=True,
    )


def _costs(out: Console, run: Mapping[str, Any]) -> None:
    parts = "   ".join(f"{step['step_id']} ${plain(step['cost'])}" for step in run["steps"])
    out.print(f"\n[bold]Cost[/]  ${plain(run['cost'])} in all   [dim]{parts}[/]", soft_wrap=True)


def _write_report(client: Client, run: Mapping[str, Any], case: Case, settings: Settings) -> Path:
    used = {str((step["result"] or {}).get("model")) for step in run["steps"]}
    names = [item["name"] for item in client.get("/models")["models"] if item["name"] in used]
    models = {name: client.get(f"/models/{segment(name)}") for name in names}
    folder = settings.data_dir / "reports"
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"{run['workflow_id']}-{run['run_id'].removeprefix('run_')}.html"
    place.write_text(report(run, models, title=case.title, version=gateway.__version__), encoding="utf-8")
    return place


def _next(out: Console) -> None:
    out.print(
        "\n[bold]Next[/]\n"
        "  ai-gateway demo scenarios          1,000 economic paths, VaR and expected shortfall\n"
        "  ai-gateway demo training           train a model, promote it, roll it back\n"
        "  ai-gateway demo --keep             leave the service running: dashboard, curl, Python\n"
        "  ai-gateway serve --dev             the service alone\n"
        "[dim](ai-gateway is .venv/bin/ai-gateway in a checkout)[/]"
    )


def _keep(out: Console, client: Client, supervisor: Supervisor) -> None:
    out.print(
        f"\n[bold]Running[/]  dashboard: {client.url}/dashboard   (Ctrl-C stops)\n"
        f"  export KEY={client.key}\n"
        f'  curl -H "Authorization: Bearer $KEY" {client.url}/runs\n'
        f"  python: openai.OpenAI(base_url='{client.url}/v1', api_key=KEY).chat.completions.create(model='smollm2', …)",
        soft_wrap=True,
        markup=True,
    )

    def stop(_number: int, _frame: types.FrameType | None) -> None:
        supervisor.request_stop()

    signal.signal(signal.SIGINT, stop)
    supervisor.wait()


def _running(settings: Settings) -> Client | None:
    """A development service that runs on this data directory already."""
    file = settings.data_dir / "run" / "service.json"
    try:
        note = json.loads(file.read_text())
        os.kill(int(note["pid"]), 0)
    except (OSError, ValueError, KeyError):
        return None
    return Client(note["url"], note["key"]) if note.get("url") and note.get("key") else None
