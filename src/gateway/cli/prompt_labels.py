"""``prompts label`` and ``prompts rollback``: where labels of prompts point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from gateway.cli.client import Json, Key, Url, connect, console, segment, show
from gateway.errors import ValidationFailed

Name = Annotated[str, typer.Argument(help="The prompt's name.")]
Label = Annotated[str, typer.Argument(help="The label, such as production or staging.")]
Reason = Annotated[str, typer.Option("--reason", "-m", help="Why; kept with the move.")]


def label(
    name: Name,
    label: Label,
    versions: Annotated[
        list[str] | None, typer.Argument(help="A version, or several with weights: 1=90 2=10. None: show its moves.")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the label away.")] = False,
    reason: Reason = "",
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Point a label at a version, or split it between versions; without a version show where it points."""
    client, path = connect(url, key), f"/prompts/{segment(name)}/labels/{segment(label)}"
    if remove:
        moved = client.send("DELETE", f"{path}?reason={segment(reason)}")
    elif versions:
        moved = client.send("PUT", path, {**_targets(versions), "reason": reason})
    else:
        _history(client.get(path), as_json)
        return
    _told(moved, as_json)


def rollback(
    name: Name,
    label: Label,
    revision: Annotated[int | None, typer.Option(help="As of this move; the one before by default.")] = None,
    reason: Reason = "",
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Point a label where it pointed before."""
    body: dict[str, Any] = {"reason": reason} | ({} if revision is None else {"revision": revision})
    path = f"/prompts/{segment(name)}/labels/{segment(label)}/rollback"
    _told(connect(url, key).post(path, body), as_json)


def told(targets: Sequence[Mapping[str, Any]]) -> str:
    """Where a label points: ``3``, or ``1 (90 %), 2 (10 %)``."""
    total = sum(target["weight"] for target in targets)
    if len(targets) == 1:
        return str(targets[0]["version"])
    return ", ".join(f"{one['version']} ({100 * one['weight'] / total:.3g} %)" for one in targets) or "nothing"


def _targets(versions: Sequence[str]) -> dict[str, Any]:
    pairs = [item.partition("=") for item in versions]
    if not all(version.isdigit() and (weight.isdigit() or not equals) for version, equals, weight in pairs):
        raise ValidationFailed("a version is a number, with a weight where there are several", mend="such as 1=90 2=10")
    if len(pairs) == 1:
        return {"version": int(pairs[0][0])}
    return {"split": [{"version": int(version), "weight": int(weight or 1)} for version, _, weight in pairs]}


def _told(moved: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        show(moved)
        return
    line = f"{moved['name']}@{moved['label']} → {told(moved['targets'])} (move {moved['revision']})"
    console().print(Text.assemble(("✓ ", "green"), line))


def _history(found: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        show(found)
        return
    out = console()
    out.print(Text(f"{found['name']}@{found['label']} → {told(found['targets'])}", "bold"))
    table = Table("move", "to", "what", "by", "at", "why", box=None, header_style="bold")
    for move in found["history"]:
        row = (str(move["revision"]), told(move["targets"]), move["action"], move["by"], move["at"], move["reason"])
        table.add_row(*map(Text, row))
    out.print(table)
