"""Takes away artifacts that nobody names any more, and bytes in their place that no row names.

Both wait for a day, so that what was just written, and is to be named by a transaction that has not committed yet,
stays. A file is removed by whoever has its row in his hands, before the row's removal commits: whoever puts the same
bytes waits for that, and writes them anew. A crash between the two leaves a row whose bytes are gone and that nobody
names; the next look takes it away.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, delete, exists, select, update

from gateway.clock import SECOND, Clock
from gateway.store.artifact_bytes import PLACE
from gateway.store.artifact_place import ArtifactPlace
from gateway.store.dialect import insert_into
from gateway.store.engine import Database
from gateway.store.tables import artifact, artifact_use, counter, definition, model_version, run, schedule, step_result

#: So long nothing may have used an artifact, and nobody have written a file, before it goes.
GRACE_SECONDS = 86_400
#: The counter that says until when a row may have been written whose uses were not noted (``migrations``).
_SINCE = "artifact_uses"
#: So many go in one transaction: their files are removed within it.
_AT_ONCE = 20
#: The places of names are looked through one at a time.
SHARDS = tuple(f"{number:02x}" for number in range(256))
_HEX = frozenset("0123456789abcdef")


class Collected(NamedTuple):
    """How many artifacts went, their bytes, and how many files went that no row named."""

    artifacts: int = 0
    size: int = 0
    files: int = 0

    def plus(self, other: Collected) -> Collected:
        """Both."""
        return Collected(self.artifacts + other.artifacts, self.size + other.size, self.files + other.files)


class ArtifactCollector:
    """Any number may be at work at once."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def collect(self, shard: str) -> Collected:
        """What can go of the names that begin with these two characters. ``Unavailable`` where the place of
        artifacts does not answer: what is left goes the next time."""
        self._adopt(shard)
        before = self._clock.now() - GRACE_SECONDS * SECOND
        total, last = Collected(), ""
        while True:
            with self._database.read() as connection:
                query = select(artifact.c.sha256).where(artifact.c.sha256 > max(last, shard), *_free(before))
                query = query.where(artifact.c.sha256 < f"{shard}g").order_by(artifact.c.sha256).limit(_AT_ONCE)
                names = list(connection.scalars(query))
            if not names:
                break
            last = names[-1]
            total = total.plus(self._remove(names, before))
        return total.plus(Collected(files=self._remove_files(shard, before)))

    def _remove(self, names: list[str], before: int) -> Collected:
        with self._database.begin() as connection:
            place = _place(connection)
            unnamed = delete(artifact).where(artifact.c.sha256.in_(names), *_free(before))
            gone = connection.execute(unnamed.returning(artifact.c.sha256, artifact.c.size)).all()
            for row in gone:
                if place is not None:
                    place.remove(row.sha256)
        return Collected(len(gone), sum(row.size for row in gone))

    def _remove_files(self, shard: str, before: int) -> int:
        with self._database.read() as connection:
            place = _place(connection)
        if place is None:
            return 0
        names = [name for name in place.names(shard, before / SECOND) if len(name) == 64 and _HEX.issuperset(name)]
        left = 0
        for at in range(0, len(names), 500):
            some = names[at : at + 500]
            with self._database.read() as connection:
                known = set(connection.scalars(select(artifact.c.sha256).where(artifact.c.sha256.in_(some))))
            left += sum(self._remove_file(name, place) for name in some if name not in known)
        return left

    def _remove_file(self, name: str, place: ArtifactPlace) -> bool:
        """The row, while it is there, keeps off whoever puts the same bytes."""
        with self._database.begin() as connection:
            now = self._clock.now()
            row = {"sha256": name, "media_type": "", "size": 0, "content": b"", "created_at": now, "used_at": now}
            mine = insert_into(connection, artifact).values(**row).on_conflict_do_nothing()
            if connection.scalar(mine.returning(artifact.c.sha256)) is None:
                return False
            place.remove(name)
            connection.execute(delete(artifact).where(artifact.c.sha256 == name))
        return True

    def _adopt(self, shard: str) -> None:
        """Once all is gone that may name an artifact without a note of it, those from before are as all others."""
        unknown = select(artifact.c.sha256).where(artifact.c.used_at.is_(None), artifact.c.sha256 > shard)
        since = select(counter.c.value).where(counter.c.name == _SINCE).scalar_subquery()
        old_run = select(run.c.run_id).where(run.c.created_at <= since)
        old_result = select(step_result.c.key).where(step_result.c.created_at <= since)
        with self._database.read() as connection:
            names = list(connection.scalars(unknown.where(artifact.c.sha256 < f"{shard}g").limit(500)))
            if not names or any(connection.scalar(old.limit(1)) is not None for old in (old_run, old_result)):
                return
        with self._database.begin() as connection:
            adopted = update(artifact).where(artifact.c.sha256.in_(names))
            connection.execute(adopted.values(used_at=self._clock.now()))


def unnamed_but_for_uses() -> tuple[ColumnElement[bool], ...]:
    """Of artifacts that are named by nothing that stays."""
    texts = ((definition, definition.c.body), (schedule, schedule.c.run))
    return (
        ~exists().where(model_version.c.artifact == artifact.c.sha256),
        *(~exists().select_from(table).where(text.contains(artifact.c.sha256)) for table, text in texts),
    )


def _free(before: int) -> tuple[ColumnElement[bool], ...]:
    unused = ~exists().where(artifact_use.c.sha256 == artifact.c.sha256)
    return (artifact.c.used_at < before, unused, *unnamed_but_for_uses())


def _place(connection: Connection) -> ArtifactPlace | None:
    place: ArtifactPlace | None = connection.get_execution_options().get(PLACE)
    return place
