"""``runs lineage``: what a run's numbers were made of, as people read it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape

from gateway.cli.client import listing_table
from gateway.money import plain

#: Of a hash; the whole of it is in the JSON.
_SHOWN = 12


def draw(found: Mapping[str, Any], out: Console) -> None:
    """A run's lineage as ``GET /runs/ID/lineage`` tells it: its parts by hash, each step, each call's entry."""
    name = f"{found['run_id']}  {found['workflow_id']}  {found['status']}"
    out.print(name, markup=False)
    out.print(f"definition {_short(found['definition'])}  configuration {found['config_epoch']}", markup=False)
    for workflow, version in sorted(found["workflows_within"].items()):
        out.print(f"within it {workflow} {_short(version)}", markup=False)
    origin = found["origin"] or {}
    if origin.get("run_id"):
        out.print(f"{origin.get('how', 'made from')} of {origin['run_id']}", markup=False)
    out.print(f"input {_short(found['input'])}  output {_short(found['output'])}", markup=False)
    steps = listing_table("step", "does", "model", "seed", "input", "output", "calls", "")
    for step in found["steps"]:
        seed = "" if step["seed"] is None else str(step["seed"])
        hashes = (_short(step["input"]), _short(step["output"]))
        steps.add_row(step["step_id"], step["task_type"], _model(step), seed, *hashes, _calls(step), _note(step))
    out.print(steps)
    _versions(found["steps"], out)
    parts = [(step["step_id"], step) for step in found["steps"]] + [("an item", item) for item in found["items"]]
    if any(part["entries"] for _name, part in parts):
        entries = listing_table("entry", "step", "model", "cost", "counted by", "outcome", "price card")
        for told, part in parts:
            for entry in part["entries"]:
                model = f"{entry['provider']}/{entry['upstream_model'] or entry['model']}"
                counted = (f"${plain(entry['cost'])}", entry["basis"], entry["outcome"], escape(entry["price_card"]))
                entries.add_row(entry["entry_id"], told, escape(model), *counted)
        out.print(entries)
    _compared(found, out)


def _short(digest: str | None) -> str:
    return "–" if not digest else digest[:_SHOWN]


def _model(step: Mapping[str, Any]) -> str:
    version = step["model_version"]
    return escape(step["model"] or "") + (f" v{version}" if version is not None else "")


def _calls(step: Mapping[str, Any]) -> str:
    unanswered = sum(not call["answered"] for call in step["calls"])
    told = str(len(step["calls"]) or "")
    return f"{told}, {unanswered} of unknown outcome" if unanswered else told


def _note(step: Mapping[str, Any]) -> str:
    if step["taken_over_from"]:
        return f"taken over from {step['taken_over_from']}"
    if step["run"]:
        return f"is run {step['run']}"
    if step["runs"]:
        return f"is {len(step['runs'])} runs"
    by = (step["decision"] or {}).get("by")
    return f"decided by {escape(str(by))}" if by else "" if step["status"] == "completed" else step["status"]


def _versions(steps: Iterable[Mapping[str, Any]], out: Console) -> None:
    """The versions once where every step had the same."""
    kinds: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for step in steps:
        if step["versions"]:
            kinds.setdefault(tuple(step["versions"].items()), []).append(step["step_id"])
    for versions, names in kinds.items():
        whose = "versions" if len(kinds) == 1 else f"versions of {', '.join(names)}"
        out.print(f"{whose}: {', '.join(f'{name} {version}' for name, version in versions)}", markup=False)


def _compared(found: Mapping[str, Any], out: Console) -> None:
    if "equal" not in found:
        return
    told = "equal" if found["equal"] else f"otherwise in {', '.join(found['differing_steps'])}"
    out.print(f"a replay of {found['replay_of']}: it came out {told}", markup=False)
    for name, (then, now) in found["changed_versions"].items():
        out.print(f"{name} was {then or 'not there'} then, and is {now or 'not there'} now", markup=False)
