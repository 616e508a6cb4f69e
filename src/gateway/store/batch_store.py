"""Batches in SQL: their status, and what each line gave. A line counts once, whoever works on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, Row, and_, delete, exists, or_, select, update

from gateway.clock import SECOND, Clock
from gateway.errors import NotFound
from gateway.store.charges import was_charged
from gateway.store.codec import from_json, to_json
from gateway.store.dialect import insert_into
from gateway.store.engine import Database
from gateway.store.file_store import KEEP_SECONDS, new_file, write_lines
from gateway.store.tables import batch, batch_ask, batch_line, step

ENDED = ("completed", "failed", "cancelled", "expired")
#: From which status a batch goes where.
MOVES: Mapping[str, tuple[str, ...]] = {
    "validating": ("in_progress", "cancelling", "failed", "cancelled", "expired"),
    "in_progress": ("finalizing", "cancelling", "failed", "cancelled", "expired"),
    "finalizing": ("finalizing", "completed", "failed", "cancelled", "expired"),
    "cancelling": ("failed", "cancelled", "expired"),
}
#: A batch whose time is over, and that no worker has ended since, is ended by the sweep after so long.
_GRACE = 300 * SECOND
#: The same where a provider's batch is still to end, which it may take its time for.
_LONG_GRACE = 7_200 * SECOND
_PAGE = 500
_JSON = ("errors", "metadata", "times", "handling")


class KeptBatch(Struct, frozen=True):
    """A batch as it stands; times in microseconds, ``times`` by the status that began then."""

    batch_id: str
    tenant: str
    task_id: str
    status: str
    endpoint: str
    input_file_id: str
    created_at: int
    expires_at: int
    output_file_id: str | None = None
    error_file_id: str | None = None
    output_seconds: int | None = None
    errors: list[dict[str, Any]] = []
    metadata: dict[str, str] = {}
    times: dict[str, int] = {}
    #: Which way its lines went; see ``workflows.batch_handling``.
    handling: dict[str, Any] = {}
    total: int = 0
    completed: int = 0
    failed: int = 0


class SqlBatchStore:
    """Keeps batches by tenant: nobody finds another's."""

    def __init__(self, database: Database, clock: Clock, catch_up: Callable[[], object] = lambda: None) -> None:
        self._database = database
        self._clock = clock
        self._catch_up = catch_up

    def insert(self, new: KeptBatch) -> KeptBatch:
        """The batch as it is kept: one of that id that is there already stays as it is."""
        values = {name: getattr(new, name) for name in new.__struct_fields__}
        values |= {name: to_json(values[name]) for name in _JSON}
        with self._database.begin() as connection:
            connection.execute(insert_into(connection, batch).values(values).on_conflict_do_nothing())
            return _batch_of(connection.execute(select(batch).where(batch.c.batch_id == new.batch_id)).one())

    def get(self, tenant: str, batch_id: str) -> KeptBatch:
        """``NotFound`` where it is not there, or not theirs."""
        found = self.find(batch_id)
        if found is None or found.tenant != tenant:
            raise NotFound("no batch of that id is yours", mend="GET /v1/batches lists yours", param="batch_id")
        return found

    def find(self, batch_id: str) -> KeptBatch | None:
        """The batch, whosever it is: for who works on it."""
        with self._database.read() as connection:
            row = connection.execute(select(batch).where(batch.c.batch_id == batch_id)).one_or_none()
        return None if row is None else _batch_of(row)

    def list(self, tenant: str, *, after: str | None, limit: int) -> list[KeptBatch]:
        """Newest first, after the id ``after``."""
        query = select(batch).where(batch.c.tenant == tenant).order_by(batch.c.batch_id.desc()).limit(limit)
        if after is not None:
            query = query.where(batch.c.batch_id < after)
        with self._database.read() as connection:
            return [_batch_of(row) for row in connection.execute(query)]

    def is_over(self, kept: KeptBatch) -> bool:
        """Whether its completion window has ended."""
        return kept.expires_at <= self._clock.now()

    def move(self, batch_id: str, to: str, *, total: int | None = None) -> bool:
        """Into the status ``to``; false where its status does not allow that."""
        with self._database.begin() as connection:
            return self._move(connection, batch_id, to, {} if total is None else {"total": total})

    def fail(self, batch_id: str, errors: Sequence[Mapping[str, Any]]) -> bool:
        """Its input cannot be worked on; ``errors`` are OpenAI's: code, message, param, line."""
        with self._database.begin() as connection:
            return self._move(connection, batch_id, "failed", {"errors": to_json(errors)})

    def note(self, batch_id: str, handling: Mapping[str, Any]) -> None:
        """Keeps which way the lines went."""
        with self._database.begin() as connection:
            connection.execute(update(batch).where(batch.c.batch_id == batch_id).values(handling=to_json(handling)))

    # -- lines ------------------------------------------------------------------------------------

    def done_lines(self, batch_id: str) -> set[int]:
        """Lines that have their result."""
        with self._database.read() as connection:
            return set(connection.scalars(select(batch_line.c.line).where(batch_line.c.batch_id == batch_id)))

    def add_lines(self, batch_id: str, results: Sequence[tuple[int, bool, str]]) -> None:
        """(line, failed, its line of the output or error file); a line that has a result keeps it."""
        rows = [
            {"batch_id": batch_id, "line": line, "failed": failed, "content": content}
            for line, failed, content in results
        ]
        if not rows:
            return
        with self._database.begin() as connection:
            keys = [batch_line.c.batch_id, batch_line.c.line]
            added = connection.scalars(
                insert_into(connection, batch_line)
                .values(rows)
                .on_conflict_do_nothing(index_elements=keys)
                .returning(batch_line.c.failed)
            ).all()
            failed = sum(added)
            connection.execute(
                update(batch)
                .where(batch.c.batch_id == batch_id)
                .values(completed=batch.c.completed + len(added) - failed, failed=batch.c.failed + failed)
            )

    def charged(self, cause: str) -> bool:
        """Whether an earlier run of a line was charged; see ``store.charges``."""
        self._catch_up()
        with self._database.read() as connection:
            return was_charged(connection, cause)

    # -- the end ----------------------------------------------------------------------------------

    def finish(self, batch_id: str, status: str, errors: Sequence[Mapping[str, Any]] | None = None) -> bool:
        """Writes the results into files and ends the batch, at once; false where it has ended already."""
        now = self._clock.now()
        with self._database.begin() as connection:
            row = connection.execute(select(batch).where(batch.c.batch_id == batch_id).with_for_update()).one_or_none()
            if row is None or row.status in ENDED:
                return False
            seconds = row.output_seconds or KEEP_SECONDS
            files: dict[str, Any] = {}
            for column, failed, name in (("output_file_id", False, "output"), ("error_file_id", True, "error")):
                if connection.scalar(select(exists(_lines(batch_id, failed)))):
                    filename = f"{batch_id}_{name}.jsonl"
                    files[column] = new_file(connection, row.tenant, "batch_output", filename, now, seconds)
                    write_lines(connection, files[column], _contents(connection, batch_id, failed))
            connection.execute(delete(batch_line).where(batch_line.c.batch_id == batch_id))
            if errors is not None:
                files["errors"] = to_json(errors)
            return self._move(connection, batch_id, status, files)

    def sweep(self) -> int:
        """Ends batches that nobody will end: their task has, or their time is long over; how many."""
        live = batch.c.status.not_in(ENDED)
        with self._database.read() as connection:
            left = connection.execute(
                select(batch.c.batch_id, step.c.state, step.c.error)
                .join(step, step.c.task_id == batch.c.task_id)
                .where(live, step.c.state.in_(("failed", "cancelled", "skipped")))
            ).all()
            now = self._clock.now()
            coming = exists().where(batch_ask.c.owner == batch.c.batch_id, batch_ask.c.state != "done")
            late = or_(and_(batch.c.expires_at < now - _GRACE, ~coming), batch.c.expires_at < now - _LONG_GRACE)
            over = connection.scalars(select(batch.c.batch_id).where(live, late)).all()
        for row in left:
            error = from_json(row.error) or {}
            cancelled = row.state != "failed" or error.get("code") == "cancelled"
            told = {"code": error.get("code"), "message": error.get("message"), "param": None, "line": None}
            self.finish(row.batch_id, "cancelled" if cancelled else "failed", None if cancelled else [told])
        for batch_id in over:
            self.finish(batch_id, "expired")
        return len(left) + len(over)

    def _move(self, connection: Connection, batch_id: str, to: str, more: Mapping[str, Any]) -> bool:
        row = connection.execute(
            select(batch.c.status, batch.c.times).where(batch.c.batch_id == batch_id).with_for_update()
        ).one_or_none()
        if row is None or to not in MOVES.get(row.status, ()):
            return False
        times = {**from_json(row.times), to: self._clock.now()}
        connection.execute(
            update(batch).where(batch.c.batch_id == batch_id).values(status=to, times=to_json(times), **more)
        )
        return True


def _lines(batch_id: str, failed: bool) -> Any:
    mine = (batch_line.c.batch_id == batch_id) & (batch_line.c.failed == failed)
    return select(batch_line.c.line, batch_line.c.content).where(mine).order_by(batch_line.c.line)


def _contents(connection: Connection, batch_id: str, failed: bool) -> Iterator[str]:
    last = 0
    while rows := connection.execute(_lines(batch_id, failed).where(batch_line.c.line > last).limit(_PAGE)).all():
        for row in rows:
            yield row.content
        last = rows[-1].line


def _batch_of(row: Row[Any]) -> KeptBatch:
    fields = {name: getattr(row, name) for name in KeptBatch.__struct_fields__}
    fields |= {name: from_json(fields[name]) for name in _JSON}
    return KeptBatch(**fields)
