"""Callers' files in SQL, in parts: written and read without ever being whole in memory, and truly deleted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, Row, delete, insert, select, update

from gateway.clock import SECOND, Clock
from gateway.errors import NotFound
from gateway.ids import new_id
from gateway.store.engine import Database
from gateway.store.tables import file, file_part

#: How long a file is kept where nobody says otherwise, and how long an upload may take.
KEEP_SECONDS = 30 * 86_400
_COMING_SECONDS = 3_600
#: Bytes of a part, and of the largest file.
PART = 1024 * 1024
LARGEST = 200 * 1024 * 1024


class KeptFile(Struct, frozen=True):
    """A file without its bytes. ``size`` in bytes, times in microseconds."""

    file_id: str
    purpose: str
    filename: str
    size: int
    created_at: int
    expires_at: int


class SqlFileStore:
    """Keeps files by tenant: nobody finds another's."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def begin(self, tenant: str) -> str:
        """The id of a file that is coming: nobody sees it before ``ready``."""
        with self._database.begin() as connection:
            return new_file(connection, tenant, "", "", self._clock.now(), _COMING_SECONDS, state="coming")

    def append(self, file_id: str, number: int, content: bytes) -> None:
        """The part ``number`` (from 0) of a file that is coming."""
        with self._database.begin() as connection:
            add_part(connection, file_id, number, content)

    def ready(self, file_id: str, purpose: str, filename: str, size: int, seconds: int = KEEP_SECONDS) -> KeptFile:
        """The file is whole, and kept for so many seconds from now."""
        now = self._clock.now()
        named = {"purpose": purpose, "filename": filename, "size": size, "created_at": now}
        with self._database.begin() as connection:
            changed = connection.execute(
                update(file)
                .where(file.c.file_id == file_id)
                .values(**named, state="ready", expires_at=now + seconds * SECOND)
                .returning(file)
            ).one_or_none()
        if changed is None:
            raise NotFound("the upload took too long and was dropped", mend="upload the file again")
        return _file_of(changed)

    def discard(self, file_id: str) -> None:
        """Forgets a file that was coming."""
        with self._database.begin() as connection:
            connection.execute(delete(file).where(file.c.file_id == file_id, file.c.state == "coming"))

    def get(self, tenant: str, file_id: str) -> KeptFile:
        """``NotFound`` where it is not there, or not theirs."""
        with self._database.read() as connection:
            row = connection.execute(select(file).where(self._theirs(tenant), file.c.file_id == file_id)).one_or_none()
        if row is None:
            raise NotFound("no file of that id is yours", mend="GET /v1/files lists yours", param="file_id")
        return _file_of(row)

    def list(self, tenant: str, *, purpose: str | None, after: str | None, newest: bool, limit: int) -> list[KeptFile]:
        """Files after the id ``after`` in this order."""
        query = select(file).where(self._theirs(tenant)).limit(limit)
        query = query.order_by(file.c.file_id.desc() if newest else file.c.file_id)
        if purpose is not None:
            query = query.where(file.c.purpose == purpose)
        if after is not None:
            query = query.where(file.c.file_id < after if newest else file.c.file_id > after)
        with self._database.read() as connection:
            return [_file_of(row) for row in connection.execute(query)]

    def delete(self, tenant: str, file_id: str) -> None:
        """``NotFound`` where it is not there, or not theirs."""
        with self._database.begin() as connection:
            gone = connection.execute(delete(file).where(self._theirs(tenant), file.c.file_id == file_id))
        if not gone.rowcount:
            raise NotFound("no file of that id is yours", mend="GET /v1/files lists yours", param="file_id")

    def part(self, file_id: str, number: int) -> bytes | None:
        """The bytes of one part; ``None`` after the last."""
        query = select(file_part.c.content).where(file_part.c.file_id == file_id, file_part.c.number == number)
        with self._database.read() as connection:
            found = connection.scalar(query)
        return None if found is None else bytes(found)

    def sweep(self) -> int:
        """Deletes files past their time, and uploads that stopped; how many."""
        with self._database.begin() as connection:
            return connection.execute(delete(file).where(file.c.expires_at <= self._clock.now())).rowcount

    def _theirs(self, tenant: str) -> Any:
        return (file.c.tenant == tenant) & (file.c.state == "ready") & (file.c.expires_at > self._clock.now())


def new_file(
    connection: Connection, tenant: str, purpose: str, filename: str, now: int, seconds: int, *, state: str = "ready"
) -> str:
    """The id of a new row without bytes yet."""
    file_id = new_id("file")
    connection.execute(
        insert(file).values(
            file_id=file_id,
            tenant=tenant,
            state=state,
            purpose=purpose,
            filename=filename,
            size=0,
            created_at=now,
            expires_at=now + seconds * SECOND,
        )
    )
    return file_id


def add_part(connection: Connection, file_id: str, number: int, content: bytes) -> None:
    connection.execute(insert(file_part).values(file_id=file_id, number=number, content=content))


def write_lines(connection: Connection, file_id: str, lines: Iterator[str]) -> None:
    """Fills a new file, part by part."""
    pending, number, size = bytearray(), 0, 0
    for line in lines:
        pending += line.encode() + b"\n"
        if len(pending) >= PART:
            add_part(connection, file_id, number, bytes(pending))
            number, size = number + 1, size + len(pending)
            pending.clear()
    if pending:
        add_part(connection, file_id, number, bytes(pending))
    connection.execute(update(file).where(file.c.file_id == file_id).values(size=size + len(pending)))


def _file_of(row: Row[Any]) -> KeptFile:
    return KeptFile(row.file_id, row.purpose, row.filename, row.size, row.created_at, row.expires_at)
