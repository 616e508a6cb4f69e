"""Where batches are handed in, asked about and called off: each is a task of the type ``llm_batch``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.clock import SECOND, Clock
from gateway.errors import Conflict, GatewayError, NotSupported, ValidationFailed
from gateway.governance.validators import refuse_unknown, text_field
from gateway.ids import new_id
from gateway.security.access import Caller
from gateway.store.batch_store import ENDED, KeptBatch, SqlBatchStore
from gateway.store.file_store import SqlFileStore
from gateway.tasks.desk import Desk
from gateway.tasks.submission import TaskSubmission
from gateway.workflows.batch_handling import WISH
from gateway.workflows.batch_tools import ENDPOINTS

#: The one completion window there is, as OpenAI's, and its seconds.
_WINDOW, _WINDOW_SECONDS = "24h", 86_400
_FIELDS = ("input_file_id", "endpoint", "completion_window", "metadata", "output_expires_after")
#: Batches give way to whatever somebody waits for.
_PRIORITY = 1
#: When each status began, as OpenAI names it.
_TIMES = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")


class BatchDesk:
    """One a process; thread safe."""

    def __init__(self, batches: SqlBatchStore, files: SqlFileStore, desk: Desk, clock: Clock) -> None:
        self._batches = batches
        self._files = files
        self._desk = desk
        self._clock = clock

    def create(
        self, caller: Caller, body: Mapping[str, Any], request_id: str, *, batch_id: str | None = None
    ) -> dict[str, Any]:
        """Accepts a batch. ``ValidationFailed`` names the field; its lines are checked by the worker. A
        ``batch_id`` that is there already is not made again, but its task is where that is missing."""
        refuse_unknown(body, _FIELDS, "")
        endpoint = text_field(body, "endpoint", required=True)
        if endpoint not in ENDPOINTS:
            raise NotSupported(f"endpoint: one of {', '.join(ENDPOINTS)} is expected", param="endpoint")
        if text_field(body, "completion_window", required=True) != _WINDOW:
            raise ValidationFailed(f"completion_window: {_WINDOW} is expected", param="completion_window")
        file_id = text_field(body, "input_file_id", required=True)
        given = self._files.get(caller.tenant, file_id)
        if given.purpose != "batch":
            raise ValidationFailed("input_file_id: a file of purpose batch is expected", param="input_file_id")
        now, name = self._clock.now(), batch_id or new_id("batch")
        made = KeptBatch(
            batch_id=name,
            tenant=caller.tenant,
            task_id=f"task_{name.partition('_')[2]}",
            status="validating",
            endpoint=endpoint,
            input_file_id=file_id,
            created_at=now,
            expires_at=now + _WINDOW_SECONDS * SECOND,
            output_seconds=expiry_seconds(body.get("output_expires_after"), "output_expires_after"),
            metadata=_metadata(body.get("metadata")),
            handling={"wish": _wish(body.get("metadata"))},
        )
        batch = self._batches.insert(made)
        task = TaskSubmission(self._desk.task_types["llm_batch"], {"batch_id": batch.batch_id}, priority=_PRIORITY)
        try:
            self._desk.submit_task(caller, task, request_id, task_id=batch.task_id)
        except GatewayError as error:
            self._batches.fail(batch.batch_id, [{"code": error.code, "message": error.message}])
            raise
        return batch_view(batch)

    def get(self, caller: Caller, batch_id: str) -> dict[str, Any]:
        """``NotFound`` for somebody else's."""
        return batch_view(self._batches.get(caller.tenant, batch_id))

    def list(self, caller: Caller, *, after: str | None, limit: int) -> list[dict[str, Any]]:
        """Newest first."""
        return [batch_view(item) for item in self._batches.list(caller.tenant, after=after, limit=limit)]

    def cancel(self, caller: Caller, batch_id: str) -> dict[str, Any]:
        """No further line is begun; what is there is written into the files. ``Conflict`` once it has ended."""
        found = self._batches.get(caller.tenant, batch_id)
        if found.status != "cancelling" and not self._batches.move(batch_id, "cancelling"):
            status = self._batches.get(caller.tenant, batch_id).status
            what = f"it is {status} already" if status in ENDED else f"it is {status}"
            raise Conflict(what, mend="only a batch that has lines to do can be cancelled", param="batch_id")
        return self.get(caller, batch_id)


def batch_view(batch: KeptBatch) -> dict[str, Any]:
    """A batch as OpenAI writes it."""
    times = {f"{name}_at": _seconds(batch.times.get(name)) for name in _TIMES}
    return {
        "id": batch.batch_id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "errors": {"object": "list", "data": batch.errors} if batch.errors else None,
        "input_file_id": batch.input_file_id,
        "completion_window": _WINDOW,
        "status": batch.status,
        "output_file_id": batch.output_file_id,
        "error_file_id": batch.error_file_id,
        "created_at": _seconds(batch.created_at),
        "expires_at": _seconds(batch.expires_at),
        **times,
        "request_counts": {"total": batch.total, "completed": batch.completed, "failed": batch.failed},
        "metadata": batch.metadata or None,
        "usage": batch.handling.get("usage"),
        "task_id": batch.task_id,
        "gateway": batch.handling.get("told"),
    }


def _wish(metadata: Any) -> str:
    """Which way the batch asks its lines to go."""
    word = metadata.get(WISH, "auto") if isinstance(metadata, dict) else "auto"
    if word not in ("auto", "provider", "inline"):
        raise ValidationFailed(f"metadata.{WISH}: auto, provider or inline is expected", param=f"metadata.{WISH}")
    return str(word)


def expiry_seconds(raw: Any, place: str) -> int | None:
    """``{anchor: created_at, seconds}``: from an hour to thirty days."""
    if raw is None:
        return None
    seconds = raw.get("seconds") if isinstance(raw, dict) and set(raw) == {"anchor", "seconds"} else None
    whole = isinstance(seconds, int) and not isinstance(seconds, bool)
    if seconds is None or not whole or not 3_600 <= seconds <= 2_592_000 or raw["anchor"] != "created_at":
        raise ValidationFailed(f"{place}: anchor created_at and seconds from 3600 to 2592000 are expected", param=place)
    return int(seconds)


def _metadata(raw: Any) -> dict[str, str]:
    if raw is None:
        return {}
    fits = isinstance(raw, dict) and len(raw) <= 16
    if not fits or not all(isinstance(text, str) and len(key) <= 64 and len(text) <= 512 for key, text in raw.items()):
        raise ValidationFailed("metadata: at most 16 texts of at most 512 characters are expected", param="metadata")
    return dict(raw)


def _seconds(micros: int | None) -> int | None:
    return None if micros is None else micros // SECOND
