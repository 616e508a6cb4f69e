"""``runs prune``: remove runs that ended long ago."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from gateway.cli.client import Client, Json, Key, Url, connect, console, show
from gateway.errors import ValidationFailed

_AGE = re.compile(r"([1-9][0-9]{0,4})([dw])")
_COUNTED = ("runs", "steps", "events", "artifacts", "artifact_bytes")
_UNITS = ("bytes", "KB", "MB", "GB", "TB")


def prune(
    older_than: Annotated[str, typer.Option("--older-than", help="Ended at least so long ago: 90d, 12w.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Remove runs that ended long ago, with their steps and events, and artifacts that nothing else names."""
    days, client = _days(older_than), connect(url, key)
    if not (dry_run or yes) and as_json:
        raise ValidationFailed("--json asks nothing", mend="add --yes, or --dry-run")
    if dry_run or not yes:
        doomed = client.post("/runs/prune", {"older_than_days": days, "dry_run": True})
        if dry_run and as_json:
            show(doomed)
            return
        console().print(f"what ended before {doomed['before'][:19]}Z: {_told(doomed)}", markup=False)
        if dry_run or not doomed["runs"]:
            return
        typer.confirm("remove it for good?", abort=True)
    removed = _remove(client, days)
    if as_json:
        show(removed)
    else:
        console().print(f"removed {_told(removed)}", markup=False)


def _remove(client: Client, days: int) -> dict[str, Any]:
    """Everything, request by request: each of them takes its time at most."""
    total = dict.fromkeys(_COUNTED, 0)
    while True:
        told: dict[str, Any] = client.post("/runs/prune", {"older_than_days": days})
        total = {name: total[name] + told[name] for name in _COUNTED}
        if not told["more"]:
            return {**told, **total}


def _days(text: str) -> int:
    found = _AGE.fullmatch(text)
    if found is None:
        raise ValidationFailed(f"--older-than {text}: no number of days or weeks", mend="write it as 90d or 12w")
    return int(found[1]) * (7 if found[2] == "w" else 1)


def _told(counts: dict[str, Any]) -> str:
    size, unit = float(counts["artifact_bytes"]), 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    kept = f"{counts['artifacts']} artifacts ({size:.{1 if unit else 0}f} {_UNITS[unit]})"
    return f"{counts['runs']} runs, {counts['steps']} steps, {counts['events']} events, {kept}"
