"""Follows a run by WebSocket with a live display: steps, progress, time, tokens, cost."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from gateway.cli.client import Client, console, segment
from gateway.errors import Unavailable
from gateway.money import plain

_ENDS = ("workflow_completed", "workflow_failed", "workflow_cancelled")
_MARKS = {
    "pending": Text("·", "dim"),
    "running": Text("▸", "bold cyan"),
    "waiting": Text("?", "bold yellow"),
    "completed": Text("✓", "bold green"),
    "failed": Text("✗", "bold red"),
    "cancelled": Text("–", "yellow"),
    "skipped": Text("–", "dim"),
}
_SECONDS = 600.0
#: Bytes of one event, which may carry a step's whole result.
_LARGEST_EVENT = 64 * 1024 * 1024


@dataclass(slots=True)
class _Step:
    """What the display knows of a step."""

    task_type: str
    status: str = "pending"
    progress: float = 0.0
    note: str = ""
    began: float | None = None
    took: float | None = None
    cost: Any = 0
    tokens: int = 0


@dataclass(slots=True)
class RunBoard:
    """The state of a run as its events tell it; ``__rich__`` draws it."""

    title: str
    steps: dict[str, _Step]
    by_task: dict[str, str]
    began: float = field(default_factory=time.monotonic)
    status: str = "running"

    def hear(self, event: dict[str, Any]) -> None:
        """Takes one event in."""
        kind = event["type"]
        step = self.steps.get(event.get("step_id") or self.by_task.get(event.get("task_id") or "", ""))
        if step is not None:
            if kind == "task_started":
                step.status, step.began, step.progress = "running", time.monotonic(), 0.0
            elif kind == "task_waiting":
                step.status, step.note = "waiting", f"waits for {event.get('signal') or event.get('waits_for')}"
            elif kind == "task_skipped":
                step.status, step.note = "skipped", str(event.get("reason") or "")
            elif kind == "task_overdue":
                step.note = "past its soft timeout"
            elif kind == "workflow_progress" and step.status == "running":
                step.progress, step.note = float(event.get("step_progress", 0)), str(event.get("note") or "")
            elif kind in ("task_completed", "task_failed", "task_cancelled"):
                self._end(step, kind.removeprefix("task_"), event)
            elif kind == "task_retrying":
                step.note = f"trying again: {event.get('error', {}).get('message', '')}"
        if kind in _ENDS:
            self.status = kind.removeprefix("workflow_")

    def _end(self, step: _Step, status: str, event: dict[str, Any]) -> None:
        step.status, step.progress = status, 1.0
        step.took = None if step.began is None else time.monotonic() - step.began
        result = event.get("result") or {}
        step.tokens = int(result.get("tokens_used") or 0)
        step.cost = result.get("cost", 0)
        step.note = str((event.get("error") or {}).get("message", "")) if status == "failed" else ""

    def __rich__(self) -> Group:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for name in ("", "step", "task", "progress", "time", "tokens", "cost", ""):
            table.add_column(name, no_wrap=True)
        for name, step in self.steps.items():
            running = None if step.began is None else time.monotonic() - step.began
            seconds = step.took if step.took is not None else running
            table.add_row(
                _MARKS.get(step.status, Text("?")),
                name,
                Text(step.task_type, "dim"),
                ProgressBar(total=1.0, completed=step.progress, width=18),
                "" if seconds is None else f"{seconds:5.1f} s",
                str(step.tokens or ""),
                f"${plain(step.cost)}" if step.status == "completed" else "",
                Text(step.note[:60], "dim"),
            )
        head = Text.assemble((self.title, "bold"), f"   {self.status}   {time.monotonic() - self.began:.1f} s")
        return Group(head, table)


def follow_run(client: Client, run_id: str, *, quiet: bool = False, out: Console | None = None) -> dict[str, Any]:
    """Shows the run until it has ended; the run as it then is. Reconnects where the line breaks."""
    run = client.get(f"/runs/{segment(run_id)}")
    board = RunBoard(
        title=f"{run['workflow_id']} {run_id}",
        steps={step["step_id"]: _Step(step["task_type"]) for step in run["steps"]},
        by_task={step["task_id"]: step["step_id"] for step in run["steps"]},
    )
    if quiet:
        asyncio.run(_listen(client, run_id, board))
    else:
        with Live(board, console=out or console(), refresh_per_second=8, transient=False):
            asyncio.run(_listen(client, run_id, board))
    ended: dict[str, Any] = client.get(f"/runs/{segment(run_id)}")
    return ended


async def _listen(client: Client, run_id: str, board: RunBoard) -> None:
    last = 0
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        try:
            async with _events(client) as socket:
                await socket.send(json.dumps({"type": "subscribe", "run_id": run_id, "last_event_id": last}))
                async for message in socket:
                    event = json.loads(message)
                    last = max(last, int(event.get("id") or 0))
                    board.hear(event)
                    if event["type"] in _ENDS:
                        return
        except (WebSocketException, OSError):
            await asyncio.sleep(0.5)
    raise Unavailable(f"run {run_id} did not end within {_SECONDS:g} s", mend="it goes on: ask GET /runs/{run_id}")


def _events(client: Client) -> connect:
    """The gateway's WebSocket."""
    return connect(
        client.url.replace("http", "ws", 1) + "/ws",
        additional_headers={"Authorization": f"Bearer {client.key}"},
        proxy=None,
        max_size=_LARGEST_EVENT,
    )
