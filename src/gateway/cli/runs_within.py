"""The runs within a run in the terminal: what they come to by step, and so many of them, newest first."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from gateway.cli.client import Client, listing_table, segment
from gateway.cli.run_board import took
from gateway.clock import SECOND, from_rfc3339
from gateway.money import plain

#: The most that the service gives at once.
_PAGE = 200


def children_of(client: Client, run_id: str, status: str | None, most: int) -> dict[str, Any]:
    """``GET /runs/ID/children``, with up to ``most`` of them from as many pages as that takes."""
    path = f"/runs/{segment(run_id)}/children?" + (f"status={segment(status)}&" if status else "")
    found: dict[str, Any] = client.get(f"{path}limit={min(most, _PAGE)}")
    while found["next_cursor"] and len(found["children"]) < most:
        left = min(most - len(found["children"]), _PAGE)
        page = client.get(f"{path}limit={left}&cursor={found['next_cursor']}")
        page["children"] = found["children"] + page["children"]
        found = page
    return found


def print_children(found: dict[str, Any], status: str | None, out: Console) -> None:
    """The table, under a line for each step; and how many are not in it."""
    if not found["steps"]:
        return
    for step in found["steps"]:
        states = ", ".join(f"{count} {name}" for name, count in step["by_status"].items())
        spent = f"{step['tokens_used']} tokens, ${plain(step['cost'])}"
        runs = "1 run" if step["runs"] == 1 else f"{step['runs']} runs"
        out.print(f"{step['step_id']}: {runs} ({states}), {spent}", markup=False, highlight=False)
    table = listing_table("run", "of step", "workflow", "status", "done", "took", "tokens", "cost")
    for child in found["children"]:
        began, ended = child["started_at"], child["completed_at"]
        lasted = took((from_rfc3339(ended) - from_rfc3339(began)) / SECOND) if began and ended else ""
        figures = [f"{child['progress']:.0%}", lasted.strip(), str(child["tokens_used"]), f"${plain(child['cost'])}"]
        table.add_row(child["run_id"], _place(child), child["workflow_id"], child["status"], *figures)
    if found["children"]:
        out.print(table)
    if found["next_cursor"]:
        counts = (step["by_status"] for step in found["steps"])
        left = sum(sum(by.values()) if status is None else by.get(status, 0) for by in counts) - len(found["children"])
        out.print(f"and {left} more: --runs {len(found['children']) + left} shows all", markup=False, highlight=False)


def _place(child: dict[str, Any]) -> str:
    at = child["item_index"]
    return str(child["step_id"]) if at is None else f"{child['step_id']}[{at}]"
