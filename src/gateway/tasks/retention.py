"""For how long runs that have ended are kept: the sweep that removes them, and the same by a person's word."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from gateway.clock import SECOND, Clock, rfc3339
from gateway.errors import GatewayError
from gateway.security.access import Caller
from gateway.security.audit import AuditLog
from gateway.store.artifact_collection import SHARDS, ArtifactCollector, Collected
from gateway.store.run_retention import Removed, SqlRunRetention

_log = logging.getLogger(__name__)
_DAY = 86_400 * SECOND
#: Of one turn of the sweep, which others wait for, and of one request.
_TURN_SECONDS = 1.0
_REQUEST_SECONDS = 30.0
#: After everything went that could, or a place of artifacts did not answer.
_REST_SECONDS = 300.0
#: What the orchestrator is called in the audit trail.
_ITSELF = "gateway"


class Retention:
    """One a process. ``sweep`` is called by one thread."""

    def __init__(
        self,
        runs: SqlRunRetention,
        artifacts: ArtifactCollector,
        audit: AuditLog,
        clock: Clock,
        *,
        keep_days: int,
    ) -> None:
        self._runs = runs
        self._artifacts = artifacts
        self._audit = audit
        self._clock = clock
        self._keep_days = keep_days
        self._next_runs = self._next_artifacts = float("-inf")
        self._shard = 0

    def sweep(self) -> int:
        """Removes, for a second at most, what has been kept for long enough, and some of the artifacts that nothing
        names; how many runs."""
        removed = Removed()
        if self._clock.monotonic() >= self._next_runs:
            before = self._before(self._keep_days)
            try:
                removed, whole = self._runs.remove(before, self._for(_TURN_SECONDS))
                self._runs.forget_results(self._clock.now())
                if whole:
                    self._next_runs = self._clock.monotonic() + _REST_SECONDS
            finally:
                if removed.runs:
                    self._record(_ITSELF, "", before, removed, Collected())
        if self._clock.monotonic() >= self._next_artifacts:
            self._collect()
        return removed.runs

    def prune(self, caller: Caller, days: int, request_id: str, *, dry_run: bool) -> dict[str, Any]:
        """Removes runs that ended so many days ago, for half a minute at most: ``more`` tells whether something is
        left. With ``dry_run`` only what would go."""
        caller.require("runs:prune")
        before = self._before(days)
        if dry_run:
            doomed = self._runs.count(before)
            return _view(before, doomed.rows, Collected(doomed.artifacts, doomed.size), dry_run=True, more=False)
        go_on = self._for(_REQUEST_SECONDS)
        removed, whole = self._runs.remove(before, go_on)
        self._runs.forget_results(self._clock.now())
        collected = Collected()
        try:
            for shard in SHARDS if whole else ():
                if not go_on():
                    whole = False
                    break
                collected = collected.plus(self._artifacts.collect(shard))
        finally:
            self._record(caller.principal, request_id, before, removed, collected)
        return _view(before, removed, collected, dry_run=False, more=not whole)

    def _collect(self) -> None:
        """One part of the names, and the next at the next turn."""
        try:
            collected = self._artifacts.collect(SHARDS[self._shard])
        except GatewayError as error:  # a place that is away must not keep others from their sweeps
            _log.warning("artifacts that nobody names stay for now: %s", error.message)
            self._next_artifacts = self._clock.monotonic() + _REST_SECONDS
            return
        if collected.artifacts or collected.files:
            _log.info(
                "removed %s artifacts of %s bytes that nothing names, and %s files that no row names",
                *(collected.artifacts, collected.size, collected.files),
            )
        self._shard = (self._shard + 1) % len(SHARDS)

    def _before(self, days: int) -> int:
        return self._clock.now() - days * _DAY

    def _for(self, seconds: float) -> Callable[[], bool]:
        end = self._clock.monotonic() + seconds
        return lambda: self._clock.monotonic() < end

    def _record(self, actor: str, request_id: str, before: int, removed: Removed, collected: Collected) -> None:
        told = _view(before, removed, collected, dry_run=False, more=False)
        detail = {name: told[name] for name in ("before", "runs", "steps", "events", "artifacts", "artifact_bytes")}
        self._audit.record(
            actor=actor,
            action="runs.prune",
            resource="runs",
            outcome="completed",
            request_id=request_id,
            detail=detail,
        )


def _view(before: int, rows: Removed, collected: Collected, *, dry_run: bool, more: bool) -> dict[str, Any]:
    return {
        "before": rfc3339(before),
        "dry_run": dry_run,
        "runs": rows.runs,
        "steps": rows.steps,
        "events": rows.events,
        "artifacts": collected.artifacts,
        "artifact_bytes": collected.size,
        "more": more,
    }
