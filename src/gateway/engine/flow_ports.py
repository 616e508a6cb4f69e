"""What the flow of a run needs of a transaction: moves of steps, fan-out, waiting, ends. See ``engine.ports``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from gateway.engine.definition import WorkflowDefinition
from gateway.engine.rows import Candidate, Doorbell, ItemEnd, KeyedLimit, Limiter, NewItem, RunRow, StepRow, Tally
from gateway.engine.schedules import Schedule
from gateway.engine.step_definition import StepDefinition


class FlowTx(Protocol):
    """The part of ``EngineTx`` that moves steps other than by a worker's hand."""

    def move(self, held: StepRow, state: str, now: int, **values: Any) -> bool:
        """``held.state`` → ``state``, if it is still there with the same token; ``values`` are columns to set.
        ``Conflict`` for a move that is not drawn. False: somebody else moved it."""
        ...

    def steps_named(self, run_id: str, names: Sequence[str]) -> list[StepRow]:
        """Those steps of the run."""
        ...

    def release_dependents(self, run_id: str, step_id: str, *, completed: bool) -> list[str]:
        """One dependency fewer for those who wait on the step. Those of whom nothing else is asked become
        ready; the task ids of the others that now wait for nothing."""
        ...

    def due(self, run_id: str) -> list[str]:
        """The task ids of steps that wait for nothing and of whom more is asked."""
        ...

    def end_unstarted(self, run_id: str, state: str, now: int) -> list[tuple[str, str | None]]:
        """Every step of the run that nobody works on (but those that undo) → skipped or cancelled; their task
        ids, each with the step it is an item of."""
        ...

    def insert_items(self, held: StepRow, spec: StepDefinition, items: Sequence[NewItem], now: int) -> None: ...

    def items(self, task_id: str) -> list[StepRow]:
        """The items of a step, in their order."""
        ...

    def items_ended(self, task_id: str) -> list[ItemEnd]:
        """The same, once all have ended: how."""
        ...

    def waiting_items(self, task_id: str, limit: int) -> list[StepRow]:
        """The first items of a step that have not begun."""
        ...

    def items_over(self, held: StepRow, count: int, *, begin: int, total: int) -> int:
        """``count`` fewer of its ``total`` items are left of the step, and ``begin`` of those that wait become
        ready; how many are left."""
        ...

    def items_failed(self, task_id: str) -> int: ...

    def end_items(self, task_id: str, now: int) -> None:
        """The items of a step that nobody works on → cancelled."""
        ...

    def tally(self, run_id: str) -> Tally: ...

    def next_undo(self, run_id: str) -> StepRow | None:
        """The step that undoes what completed last of what is not undone yet."""
        ...

    def skip_undo(self, run_id: str, now: int) -> None:
        """Steps that undo and were not needed → skipped."""
        ...

    def hold(self, run_id: str) -> None:
        """Every ready or queued step of the run → held."""
        ...

    def unhold(self, run_id: str) -> None:
        """Every held step of the run → ready."""
        ...

    def stop_run(self, run_id: str, error: dict[str, Any] | None) -> None:
        """The run is unwanted, or it failed for this reason: nothing new of it begins, no deadline counts."""
        ...

    def set_progress(self, run_id: str, progress: float) -> None: ...

    def add_signal(self, run_id: str, name: str, payload: Any, by: str, now: int) -> None:
        """Keeps a signal until a step takes it."""
        ...

    def take_signal(self, run_id: str, name: str, task_id: str) -> dict[str, Any] | None:
        """The oldest signal of that name that no step has taken; it is this step's now."""
        ...

    def parked_on_signal(self, run_id: str, name: str) -> StepRow | None:
        """The first step of the run that waits for such a signal."""
        ...

    def note_decision(self, held: StepRow, decision: dict[str, Any]) -> None: ...

    def overslept(self, now: int, limit: int) -> list[StepRow]:
        """Parked steps that have waited long enough."""
        ...

    def insert_limits(self, limits: Sequence[tuple[str, KeyedLimit]]) -> None:
        """Limits of steps, by task id."""
        ...

    def limited_ready(self, now: int, limit: int, run_id: str | None = None) -> list[Candidate]:
        """Ready steps with limits that are due, most urgent first."""
        ...

    def lock_limiters(self, keys: Sequence[str]) -> dict[str, Limiter]:
        """How the keys stand; those that somebody else has locked are left out."""
        ...

    def save_limiters(self, standing: Mapping[str, Limiter]) -> None: ...

    def hand_out(self, task_ids: Sequence[str], lease_until: int) -> list[Doorbell]:
        """ready → queued, token + 1."""
        ...

    def definition(self, version: str) -> WorkflowDefinition | None:
        """The workflow definition of that hash."""
        ...

    def children_ended(self, limit: int) -> list[tuple[str, RunRow]]:
        """Steps (task ids) that wait for a run which has ended, with that run."""
        ...

    def children_live(self, run_id: str) -> list[str]:
        """Runs that are steps of this run and have not ended, the oldest first."""
        ...

    def children_unwanted(self, limit: int) -> list[str]:
        """Runs that go on although the step they are done for has ended, or is to end."""
        ...

    def kept_result(self, key: str, now: int) -> tuple[str, dict[str, Any]] | None:
        """(task id, output) of an equal step whose result may still be taken."""
        ...

    def keep_result(self, key: str, output: dict[str, Any], task_id: str, until: int, now: int) -> None:
        """Makes a result one that equal steps may take."""
        ...

    def bury(self, task_id: str, run_id: str, owner: str, code: str, now: int) -> None:
        """Puts a step that failed for good after all its attempts where people find it."""
        ...

    def advance_schedule(
        self, seen: Schedule, next_at: int, *, last_at: int | None, run_id: str | None, note: str
    ) -> bool:
        """Moves a schedule on, if nobody else has and it is still active."""
        ...
