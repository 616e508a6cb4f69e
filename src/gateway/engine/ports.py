"""What the engine needs of the world: a store with transactions, and something that rings doorbells.

Order of locks in every writing transaction: the run, then its steps, then the event counter; a
claim takes steps only and never waits for one that is locked. Several runs are locked in the order of their
ids. So no two transactions can wait for each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from gateway.engine.flow_ports import FlowTx
from gateway.engine.rows import Doorbell, NewRun, RunRow, StepRow
from gateway.events.event import EventDraft


class EngineTx(FlowTx, Protocol):
    """One transaction. Every method is one named query; none commits."""

    def expect(self, steps: Sequence[StepRow | Doorbell]) -> None:
        """These steps are to be ended, or those of these doorbells begun: locks their runs, in one order, and reads at
        once what that needs."""
        ...

    def insert_run(self, run: NewRun, now: int) -> None: ...

    def lock_run(self, run_id: str) -> RunRow | None:
        """The run, its row locked until the end of the transaction."""
        ...

    def run(self, run_id: str) -> RunRow | None: ...

    def step(self, task_id: str) -> StepRow | None: ...

    def steps(self, run_id: str) -> list[StepRow]:
        """All steps of a run, in the order of the definition; without the items of those that have some."""
        ...

    def steps_before(self, run_id: str, step_id: str) -> list[StepRow]:
        """Every step of a locked run that the step comes after, nearest last."""
        ...

    def any_ready(self, run_id: str, now: int) -> bool:
        """Whether a step of the run is ready, and not yet handed out."""
        ...

    def claim_ready(
        self, now: int, lease_until: int, limit: int, run_id: str | None = None
    ) -> tuple[list[Doorbell], bool]:
        """Hands out ready steps that are due, most urgent first: state queued, token + 1. With a ``run_id`` those
        of that run and of the runs its steps began. Those with limits are not handed out; whether there may be
        some."""
        ...

    def start_step(
        self, run_id: str, task_id: str, token: int, worker: str, now: int, lease_until: int, *, undo_only: bool
    ) -> StepRow | None:
        """queued → running for the holder of the token, attempts + 1; the step as it is then. ``None``: fenced, or
        not of that run, or no undoing where ``undo_only``."""
        ...

    def save_input(self, step: StepRow, data: dict[str, Any], now: int) -> None: ...

    def extend_lease(self, task_id: str, token: int, lease_until: int) -> bool:
        """False: fenced (another holder, or ended)."""
        ...

    def save_progress(self, task_id: str, token: int, progress: float, note: str) -> bool:
        """False: fenced."""
        ...

    def end_step(
        self,
        held: StepRow,
        state: str,
        now: int,
        *,
        output: dict[str, Any] | None = None,
        published: dict[str, Any] | None = None,
        error: dict[str, Any] | None = None,
        record: dict[str, Any] | None = None,
    ) -> bool:
        """running → completed, failed or cancelled for the holder of the token, whose run is locked. False: fenced."""
        ...

    def give_back(
        self,
        task_id: str,
        token: int,
        not_before: int,
        *,
        lost: bool,
        error: dict[str, Any] | None,
        waits: bool = False,
    ) -> bool:
        """queued or running → ready at ``not_before``; the token stays void. One that ``waits`` has not used up
        its attempt. False: fenced."""
        ...

    def set_run(
        self,
        run_id: str,
        status: str,
        now: int,
        *,
        progress: float | None = None,
        output: dict[str, Any] | None = None,
        error: dict[str, Any] | None = None,
    ) -> None: ...

    def unwanted(self, held: StepRow) -> bool:
        """Whether whoever works on the step should stop."""
        ...

    def expired_leases(self, now: int, limit: int) -> list[StepRow]: ...

    def overdue_runs(self, now: int, limit: int) -> list[str]:
        """Live runs past their deadline."""
        ...

    def add_events(self, drafts: Sequence[EventDraft], now: int) -> None:
        """Numbers and stores events, at the end of the transaction: that orders this commit among all others."""
        ...

    def add_webhooks(self, run: RunRow, event: str, task_id: str | None, body: dict[str, Any], now: int) -> None:
        """An outbox row for the run's own address, the default one, and each matching subscription."""
        ...


class EngineWriter(Protocol):
    """Opens transactions for one thread, each cheaper than ``EngineStore.begin`` makes it."""

    def begin(self) -> AbstractContextManager[EngineTx]: ...

    def close(self) -> None:
        """No more will be opened."""
        ...


class EngineStore(Protocol):
    """Opens transactions."""

    @property
    def writers(self) -> int:
        """How many of a process are worth having open at the same time."""
        ...

    def begin(self) -> AbstractContextManager[EngineTx]: ...

    def writer(self) -> EngineWriter:
        """For a thread that writes again and again."""
        ...

    def read(self) -> AbstractContextManager[EngineTx]: ...


class Executor(Protocol):
    """Rings doorbells. Best effort: a lost one is rung again by the sweep, so it never raises."""

    def ring(self, doorbells: Sequence[Doorbell]) -> None: ...
