"""Ways to break a gateway on purpose in its own process: with each, the crash harness must find something."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.engine.recovery import Swept
from gateway.store.flow_store import FlowQueries
from gateway.store.journal_recovery import Recovered, Recovery
from gateway.store.step_call_store import SqlStepCallStore
from gateway.tasks import orchestrator


def _no_sweep() -> None:
    """Nobody looks for what a crash left undone."""
    orchestrator.sweep = lambda *_given, **_named: Swept(0, 0, 0)  # type: ignore[attr-defined]


def _no_recovery() -> None:
    """Nobody brings in the journals of the dead."""
    Recovery.run = lambda _self: Recovered()  # type: ignore[method-assign]


def _no_answers() -> None:
    """Answers that were kept are not found."""
    SqlStepCallStore.of_task = lambda *_given: []  # type: ignore[method-assign]


def _split() -> None:
    """The end of a step and the release of those that wait on it are two transactions."""
    release = FlowQueries.release_dependents

    def released(self: FlowQueries, *given: Any, **named: Any) -> list[str]:
        self.connection.exec_driver_sql("COMMIT")
        self.connection.exec_driver_sql("BEGIN")
        return release(self, *given, **named)

    FlowQueries.release_dependents = released  # type: ignore[method-assign]


CONTROLS: dict[str, Callable[[], None]] = {
    "answers": _no_answers,
    "recovery": _no_recovery,
    "split": _split,
    "sweep": _no_sweep,
}
