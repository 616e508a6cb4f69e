"""What the engine needs of the world: a store with transactions, and something that rings doorbells.

Order of locks in every writing transaction: the run, then its steps, then the event counter; a
claim takes steps only and never waits for one that is locked. So no two transactions can wait for
each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from gateway.engine.rows import Doorbell, NewRun, RunRow, StepRow
from gateway.events.event import EventDraft


class EngineTx(Protocol):
    """One transaction. Every method is one named query; none commits."""

    def insert_run(self, run: NewRun, now: int) -> None: ...

    def lock_run(self, run_id: str) -> RunRow | None:
        """The run, its row locked until the end of the transaction."""
        ...

    def run(self, run_id: str) -> RunRow | None: ...

    def step(self, task_id: str) -> StepRow | None: ...

    def steps(self, run_id: str) -> list[StepRow]:
        """All steps of a run, in the order of the definition."""
        ...

    def claim_ready(self, now: int, lease_until: int, limit: int, run_id: str | None = None) -> list[Doorbell]:
        """Hands out ready steps that are due, most urgent first: state queued, token + 1."""
        ...

    def start_step(self, task_id: str, token: int, worker: str, now: int, lease_until: int) -> bool:
        """queued → running for the holder of the token; attempts + 1. False: fenced."""
        ...

    def save_input(self, task_id: str, token: int, data: dict[str, Any]) -> None: ...

    def extend_lease(self, task_id: str, token: int, lease_until: int) -> bool:
        """False: fenced (another holder, or ended)."""
        ...

    def save_progress(self, task_id: str, token: int, progress: float, note: str) -> bool:
        """False: fenced."""
        ...

    def end_step(
        self,
        task_id: str,
        token: int,
        state: str,
        now: int,
        *,
        output: dict[str, Any] | None = None,
        published: dict[str, Any] | None = None,
        error: dict[str, Any] | None = None,
    ) -> bool:
        """running → completed, failed or cancelled for the holder of the token. False: fenced."""
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

    def fail_lost(self, task_id: str, token: int, now: int, error: dict[str, Any]) -> bool:
        """queued or running → failed, where the holder is gone for good. False: fenced."""
        ...

    def release_dependents(self, run_id: str, step_id: str) -> int:
        """One dependency fewer for those who wait on the step; the free ones become ready. Their count."""
        ...

    def end_unstarted(self, run_id: str, state: str, now: int) -> list[str]:
        """Every waiting, ready or queued step of the run → skipped or cancelled; their task ids."""
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

    def request_cancel(self, run_id: str) -> None: ...

    def cancel_requested(self, run_id: str) -> bool: ...

    def expired_leases(self, now: int, limit: int) -> list[StepRow]: ...

    def overdue_runs(self, now: int, limit: int) -> list[str]:
        """Live runs past their deadline."""
        ...

    def add_events(self, drafts: Sequence[EventDraft], now: int) -> None:
        """Numbers and stores events. Take it last: it orders this commit among all others."""
        ...

    def add_webhooks(self, run: RunRow, event: str, task_id: str | None, body: dict[str, Any], now: int) -> None:
        """An outbox row for the run's own address, the default one, and each matching subscription."""
        ...


class EngineStore(Protocol):
    """Opens transactions."""

    def begin(self) -> AbstractContextManager[EngineTx]: ...

    def read(self) -> AbstractContextManager[EngineTx]: ...


class Executor(Protocol):
    """Rings doorbells. Best effort: a lost one is rung again by the sweep, so it never raises."""

    def ring(self, doorbells: Sequence[Doorbell]) -> None: ...
