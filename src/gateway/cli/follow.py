"""Follows a run or a task by WebSocket: a live board on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from rich.console import Console
from rich.live import Live
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from gateway.cli.client import Client, console, segment
from gateway.cli.run_board import RUN_ENDS, TASK_ENDS, RunBoard, took
from gateway.errors import Unavailable

_ENDED = ("completed", "failed", "cancelled", "skipped")
_SECONDS = 600.0
#: A line that broke is taken up again after this pause, in seconds.
_PAUSE = 0.5
#: How often the last events are asked for again where the line breaks after the end.
_MORE_TRIES = 3
#: How much further a step is before that is a line of its own.
_TENTH = 0.1
#: Bytes of one event, which may carry a step's whole result.
_LARGEST_EVENT = 64 * 1024 * 1024
#: What is told line by line, where there is no terminal to draw on.
_TOLD = {
    "task_started": "begins",
    "task_completed": "completed",
    "task_failed": "failed",
    "task_cancelled": "cancelled",
    "task_retrying": "will be tried again",
    "task_skipped": "skipped",
    "task_waiting": "waits",
}


def follow_run(
    client: Client, run_id: str, *, quiet: bool = False, out: Console | None = None, seconds: float = _SECONDS
) -> dict[str, Any]:
    """Shows the run until it has ended; the run as it then is. Reconnects where the line breaks."""
    run = client.get(f"/runs/{segment(run_id)}")
    board = RunBoard.of(f"{run['workflow_id']} {run_id}", run["status"], run["steps"])
    subject = {"run_id": run_id}

    def look() -> dict[str, Any]:
        found: dict[str, Any] = client.get(f"/runs/{segment(run_id)}")
        board.settle(found["steps"])
        return found

    return _follow(client, board, subject, RUN_ENDS, look, quiet=quiet, out=out or console(), seconds=seconds)


def follow_task(
    client: Client, task_id: str, *, quiet: bool = False, out: Console | None = None, seconds: float = _SECONDS
) -> dict[str, Any]:
    """Shows the task until it has ended; the task as it then is."""
    task = client.get(f"/tasks/{segment(task_id)}")
    board = RunBoard.of(task_id, task["status"], [task])
    subject = {"task_id": task_id}

    def look() -> dict[str, Any]:
        found: dict[str, Any] = client.get(f"/tasks/{segment(task_id)}")
        board.settle([found])
        return found

    return _follow(client, board, subject, TASK_ENDS, look, quiet=quiet, out=out or console(), seconds=seconds)


def _follow(
    client: Client,
    board: RunBoard,
    subject: dict[str, str],
    ends: frozenset[str],
    look: Callable[[], dict[str, Any]],
    *,
    quiet: bool,
    out: Console,
    seconds: float,
) -> dict[str, Any]:
    if quiet or not out.is_terminal:
        asyncio.run(_listen(client, subject, board.hear if quiet else _Teller(out, board).hear, ends, look, seconds))
        ended = look()
        board.end_as(ended["status"])
        if not quiet:
            out.print(board)
        return ended
    with Live(board, console=out, refresh_per_second=10, transient=False) as live:
        asyncio.run(_listen(client, subject, board.hear, ends, look, seconds))
        ended = look()
        board.end_as(ended["status"])
        live.refresh()
    return ended


async def _listen(
    client: Client,
    subject: dict[str, str],
    hear: Callable[[dict[str, Any]], None],
    ends: frozenset[str],
    look: Callable[[], dict[str, Any]],
    seconds: float,
) -> None:
    """Returns when it has ended. Events are resumed by id, so none is missed or told twice."""
    last, over = 0, 0
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            wanted = {**subject, "last_event_id": str(last)}
            async with asyncio.timeout(deadline - time.monotonic()), _events(client, wanted) as socket:
                async for message in socket:
                    event = json.loads(message)
                    if int(event.get("id") or 0) > last:
                        last = int(event["id"])
                        hear(event)
                    if event["type"] in ends:
                        return
        except (WebSocketException, TimeoutError, OSError):
            await asyncio.sleep(_PAUSE)
            over += (await asyncio.to_thread(look))["status"] in _ENDED
            if over > _MORE_TRIES:  # it has ended, and what was told of that cannot be had
                return
    name = next(iter(subject.values()))
    raise Unavailable(f"{name} did not end within {seconds:g} s", mend="it goes on; ask for it again later")


class _Teller:
    """A line for each change: when, what, how. Progress is told a tenth at a time."""

    def __init__(self, out: Console, board: RunBoard) -> None:
        self._out = out
        self._board = board
        self._told: dict[str, float] = {}

    def hear(self, event: dict[str, Any]) -> None:
        """Takes an event in and tells it."""
        board = self._board
        board.hear(event)
        name = event.get("step_id") or board.by_task.get(event.get("task_id") or "", "")
        step, word = board.steps.get(name), _TOLD.get(event["type"])
        if step is None:
            return
        if event["type"] in ("workflow_progress", "task_progress") and step.status == "running":
            word = self._further(name, step.progress)
        if event["type"] == "task_started":
            self._told[name] = 0.0
        if word is None:
            return
        at = took(board.seconds_of(board.began, None)).strip()
        spent = took(board.seconds_of(step.began, step.ended)).strip() if step.ended is not None else ""
        note = (event.get("error") or {}).get("message") or step.note
        line = f"{at:>8}  {name}  {word}{f' in {spent}' if spent else ''}{f': {note}' if note else ''}"
        self._out.print(line, markup=False, soft_wrap=True)

    def _further(self, name: str, progress: float) -> str | None:
        if progress - self._told.get(name, 0.0) < _TENTH:
            return None
        self._told[name] = progress
        return f"{progress:.0%}"


def _events(client: Client, wanted: dict[str, str]) -> connect:
    """The gateway's WebSocket, subscribed from the first message on."""
    return connect(
        client.url.replace("http", "ws", 1) + "/ws?" + urlencode(wanted),
        additional_headers={"Authorization": f"Bearer {client.key}"},
        proxy=None,
        max_size=_LARGEST_EVENT,
    )
