"""What is shown of a run that is being followed: a tree of its steps with bars, times and costs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from gateway.clock import SECOND, from_rfc3339
from gateway.money import plain

RUN_ENDS = frozenset({"workflow_completed", "workflow_failed", "workflow_cancelled"})
TASK_ENDS = frozenset({"task_completed", "task_failed", "task_cancelled"})
_MARKS = {
    "pending": ("·", "dim"),
    "running": ("▸", "bold cyan"),
    "waiting": ("?", "bold yellow"),
    "completed": ("✓", "bold green"),
    "failed": ("✗", "bold red"),
    "cancelled": ("–", "yellow"),
    "skipped": ("–", "dim"),
}
_STYLES = {"completed": "green", "failed": "bold red", "cancelled": "yellow"}
_BAR = 16
_NOTE = 48


@dataclass(slots=True)
class StepLine:
    """What is known of a step. Times are the service's, in seconds of Unix time."""

    task_type: str
    depends_on: tuple[str, ...] = ()
    status: str = "pending"
    progress: float = 0.0
    note: str = ""
    attempt: int = 1
    began: float | None = None
    ended: float | None = None
    cost: Any = 0
    tokens: int = 0


@dataclass(slots=True)
class RunBoard:
    """The state of a run, or of one task, as its events tell it; ``__rich__`` draws it."""

    title: str
    steps: dict[str, StepLine]
    by_task: dict[str, str]
    status: str = "pending"
    began: float | None = None
    ended: float | None = None
    cost: Any = None
    _skew: float = field(default=float("inf"))

    @classmethod
    def of(cls, title: str, status: str, views: Iterable[Mapping[str, Any]]) -> RunBoard:
        """The board of these tasks, as the REST interface shows them."""
        steps, by_task = {}, {}
        for view in views:
            steps[view["step_id"]] = StepLine(view["task_type"], tuple(view.get("depends_on") or ()))
            by_task[view["task_id"]] = view["step_id"]
        board = cls(title, steps, by_task, status)
        board.settle(views)
        return board

    def settle(self, views: Iterable[Mapping[str, Any]]) -> None:
        """Takes what the service says of the steps: what no event has told, and what each cost exactly."""
        for view in views:
            step = self.steps[view["step_id"]]
            step.status, step.progress = view["status"], float(view["progress"])
            step.began, step.ended = _seconds(view["started_at"]), _seconds(view["completed_at"])
            step.attempt, step.cost = max(1, int(view["attempts"])), view["cost"]
            if view["status"] == "failed":
                step.note = str((view.get("error") or {}).get("message", ""))
            elif view["status"] == "running":
                step.note = str(view.get("progress_note") or "")
            elif view["status"] in ("completed", "cancelled", "skipped"):
                step.note = str(view.get("skipped") or "")
        self.cost = sum((Decimal(str(step.cost)) for step in self.steps.values()), Decimal(0))

    def hear(self, event: Mapping[str, Any]) -> None:
        """Takes one event in."""
        kind, at = str(event["type"]), _seconds(event.get("time"))
        if at is not None:
            self._skew = min(self._skew, time.time() - at)
            self.began = at if self.began is None else min(self.began, at)
        step = self.steps.get(event.get("step_id") or self.by_task.get(event.get("task_id") or "", ""))
        if step is not None:
            self._hear_of(step, kind, event, at)
        if kind in RUN_ENDS:
            self.status, self.ended = kind.removeprefix("workflow_"), at
        elif kind == "workflow_started" or self.status == "pending":
            self.status = "running"

    def end_as(self, status: str) -> None:
        """It has ended so."""
        self.status = status
        self.ended = self.ended or max((step.ended for step in self.steps.values() if step.ended), default=None)

    def _hear_of(self, step: StepLine, kind: str, event: Mapping[str, Any], at: float | None) -> None:
        if kind == "task_started":
            step.status, step.began, step.ended = "running", at, None
            step.progress, step.note, step.attempt = 0.0, "", int(event.get("attempt") or 1)
        elif kind in ("workflow_progress", "task_progress"):
            if step.status == "running":
                step.progress = float(event.get("step_progress", event.get("progress", 0)))
                step.note = str(event.get("note") or "")
        elif kind in TASK_ENDS:
            result = event.get("result") or {}
            step.status, step.ended, step.note = kind.removeprefix("task_"), at, ""
            step.progress = 1.0 if kind == "task_completed" else step.progress
            step.tokens, step.cost = int(result.get("tokens_used") or 0), result.get("cost", step.cost)
            if kind == "task_failed":
                step.note = str((event.get("error") or {}).get("message", ""))
        elif kind == "task_retrying":
            step.status, step.note = "pending", f"again soon: {(event.get('error') or {}).get('message', '')}"
        elif kind == "task_waiting":
            step.status, step.note = "waiting", f"waits for {event.get('signal') or event.get('waits_for') or 'a word'}"
        elif kind == "task_skipped":
            step.status, step.note = "skipped", str(event.get("reason") or "")
        elif kind == "task_overdue":
            step.note = "past its soft timeout"

    def seconds_of(self, began: float | None, ended: float | None) -> float | None:
        """How long that took, or has taken until now."""
        if began is None:
            return None
        skew = 0.0 if self._skew == float("inf") else self._skew
        return max(0.0, (ended if ended is not None else time.time() - skew) - began)

    def __rich__(self) -> Group:
        return Group(self._head(), self._table()) if len(self.steps) > 1 else Group(self._table())

    def _head(self) -> Table:
        done = sum(_share(step) for step in self.steps.values()) / max(1, len(self.steps))
        head = Table.grid(padding=(0, 2))
        cost = self.cost if self.cost is not None else sum(Decimal(str(step.cost)) for step in self.steps.values())
        head.add_row(
            Text(self.title, "bold"),
            Text(self.status, _STYLES.get(self.status, "bold cyan")),
            ProgressBar(total=1.0, completed=done, width=_BAR),
            f"{done:4.0%}",
            took(self.seconds_of(self.began, self.ended)),
            f"${plain(cost)}",
        )
        return head

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
        for _ in range(6):
            table.add_column(no_wrap=True)
        table.add_column(overflow="ellipsis", no_wrap=True, max_width=_NOTE)
        lone = len(self.steps) == 1
        for name, branch, also in tree(self.steps):
            step = self.steps[name]
            mark, style = _MARKS.get(step.status, ("?", ""))
            title = self.title if lone else name
            note = step.note or (f"after {', '.join(also)} too" if also and step.status == "pending" else "")
            attempt = f"attempt {step.attempt}  " if step.attempt > 1 else ""
            table.add_row(
                Text.assemble(("" if lone else branch, "dim"), (mark, style), " ", title),
                Text(step.task_type, "dim"),
                ProgressBar(total=1.0, completed=step.progress, width=_BAR),
                "" if step.status == "pending" else f"{step.progress:4.0%}",
                took(self.seconds_of(step.began, step.ended)),
                _spent(step),
                Text(attempt + note, "red" if step.status == "failed" else "dim"),
            )
        return table


def tree(steps: Mapping[str, StepLine]) -> list[tuple[str, str, tuple[str, ...]]]:
    """(step, the branch drawn before it, what else it waits for), top down. A step hangs from the deepest of
    those it waits for, so that what is above it always comes first."""
    depth: dict[str, int] = {}

    def deep(name: str) -> int:
        if name not in depth:
            depth[name] = 1 + max((deep(before) for before in steps[name].depends_on if before in steps), default=-1)
        return depth[name]

    parent = {
        name: max((before for before in step.depends_on if before in steps), key=deep, default=None)
        for name, step in steps.items()
    }
    drawn: list[tuple[str, str, tuple[str, ...]]] = []

    def draw(under: str | None, lead: str) -> None:
        below = [name for name in steps if parent[name] == under]
        for name in below:
            last = name == below[-1]
            also = tuple(before for before in steps[name].depends_on if before != under)
            drawn.append((name, f"{lead}{'└─ ' if last else '├─ '}", also))
            draw(name, lead + ("   " if last else "│  "))

    draw(None, "")
    return drawn


def took(seconds: float | None) -> str:
    """A duration for people."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:5.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes:d}:{rest:02d} min" if minutes < 60 else f"{minutes // 60:d}:{minutes % 60:02d} h"


def _share(step: StepLine) -> float:
    return 1.0 if step.status in ("completed", "failed", "cancelled", "skipped") else step.progress


def _spent(step: StepLine) -> str:
    cost = f"${plain(step.cost)}" if step.cost else ""
    return "  ".join(filter(None, (f"{step.tokens} tokens" if step.tokens else "", cost)))


def _seconds(text: Any) -> float | None:
    return from_rfc3339(text) / SECOND if isinstance(text, str) else None
