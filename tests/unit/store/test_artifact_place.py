"""Large values lie outside SQL, are there before their claim check, and are never given back as other bytes."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from gateway.clock import SystemClock
from gateway.errors import ArtifactCorrupt, ConfigurationInvalid, Unavailable
from gateway.settings import Settings
from gateway.store import artifact_place, large_values
from gateway.store.artifact_place import FolderPlace, checked_place, open_place
from gateway.store.artifact_store import SqlArtifactStore
from gateway.store.engine import Database
from gateway.store.metadata import metadata
from gateway.store.tables import artifact
from unit.store.s3_server import S3, s3_server

LARGE = b"a joint path of prices; " * 10_000


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    s3fs = pytest.importorskip("s3fs")
    s3fs.S3FileSystem.clear_instance_cache()  # the one of another test talks to that one's server
    with s3_server() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.address)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "loopback")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "loopback")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield server


def opened(tmp_path: Path, address: str | None = None) -> Database:
    place = checked_place(address or str(tmp_path / "artifacts"))
    database = Database(f"sqlite:///{tmp_path / 'gateway.db'}", artifacts=place)
    metadata.create_all(database.engine)
    return database


def in_row(database: Database) -> list[tuple[int, int]]:
    """(size, bytes that the row itself holds) of every artifact."""
    with database.read() as connection:
        return [(row.size, len(row.content)) for row in connection.execute(select(artifact))]


def test_a_large_value_is_a_file_and_a_small_one_is_in_its_row(tmp_path: Path) -> None:
    database = opened(tmp_path)
    store = SqlArtifactStore(database, SystemClock())
    large, small = store.put(LARGE, "text/plain"), store.put(b"small", "text/plain")
    assert store.put(LARGE, "text/plain") == large
    assert (store.get(large.sha256), store.get(small.sha256)) == (LARGE, b"small")
    assert sorted(in_row(database)) == [(5, 5), (len(LARGE), 0)]
    files = [file for file in (tmp_path / "artifacts").rglob("*") if file.is_file()]
    assert [file.name for file in files] == [hashlib.sha256(LARGE).hexdigest()]  # no probe, no part left over
    database.close()


def test_s3_keeps_what_a_run_gave(tmp_path: Path, s3: S3) -> None:
    database = opened(tmp_path, "s3://bucket/prefix")
    value = {"paths": ["0.1234567"] * 20_000}
    with database.begin() as connection:
        text = large_values.keep(connection, value, 1, "run_1")
    with database.read() as connection:
        assert large_values.fetch(connection, text) == value
    assert [name[:16] for name in s3.objects] == ["/bucket/prefix/" + str(text)[21:22]]
    assert all(held == 0 for _, held in in_row(database))
    s3.objects.update((name, b"other") for name in list(s3.objects))
    with database.read() as connection, pytest.raises(ArtifactCorrupt):
        large_values.fetch(connection, text)
    s3.objects.clear()
    with database.read() as connection, pytest.raises(ArtifactCorrupt, match="s3://bucket/prefix"):
        large_values.fetch(connection, text)
    s3.refuse = True
    with pytest.raises(Unavailable), database.begin() as connection:
        large_values.keep(connection, {"others": ["0.1"] * 20_000}, 1, "run_1")
    assert len(in_row(database)) == 1  # what could not be written has no claim check
    with pytest.raises(ConfigurationInvalid, match="s3://bucket/prefix"):
        checked_place("s3://bucket/prefix")
    database.close()


def test_other_bytes_are_refused_and_the_same_value_mends_what_is_gone(tmp_path: Path) -> None:
    database = opened(tmp_path)
    store = SqlArtifactStore(database, SystemClock())
    name = store.put(LARGE, "text/plain").sha256
    file = tmp_path / "artifacts" / name[:2] / name
    file.write_bytes(LARGE[:-1] + b"!")
    with pytest.raises(ArtifactCorrupt, match=name) as refused:
        store.get(name)
    assert refused.value.code == "artifact_corrupt"
    assert "restore" in refused.value.mend
    file.unlink()
    with pytest.raises(ArtifactCorrupt, match="are not in") as refused:
        store.get(name)
    assert "GATEWAY_ARTIFACTS" in refused.value.mend
    store.put(LARGE, "text/plain")
    assert store.get(name) == LARGE
    database.close()


def test_a_crash_before_the_commit_leaves_bytes_without_a_claim_check(tmp_path: Path) -> None:
    """The bytes are in place when the statement returns, and the row is not: never the other way round."""
    opened(tmp_path).close()
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from gateway.store import artifact_bytes\n"
        "from gateway.store.artifact_place import FolderPlace\n"
        "from gateway.store.engine import Database\n"
        "database = Database('sqlite:///' + sys.argv[1], artifacts=FolderPlace(Path(sys.argv[2])))\n"
        "with database.begin() as connection:\n"
        "    artifact_bytes.put(connection, b'x' * 100_000, 'text/plain', 1)\n"
        "    os._exit(9)\n"
    )
    arguments = (str(tmp_path / "gateway.db"), str(tmp_path / "artifacts"))
    ended = subprocess.run([sys.executable, "-c", program, *arguments], check=False)
    assert ended.returncode == 9
    database = opened(tmp_path)
    assert in_row(database) == []
    name = hashlib.sha256(b"x" * 100_000).hexdigest()
    assert open_place(arguments[1]).read(name) == b"x" * 100_000  # type: ignore[union-attr]
    store = SqlArtifactStore(database, SystemClock())
    assert store.get(store.put(b"x" * 100_000, "text/plain").sha256) == b"x" * 100_000
    database.close()


def test_the_bytes_are_synced_and_named_before_the_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sync sees what the one before it made durable: the bytes without a name, then the name."""
    seen: list[bool] = []
    place = FolderPlace(tmp_path / "artifacts")
    name = hashlib.sha256(LARGE).hexdigest()
    real = os.fsync

    def sync(handle: int) -> None:
        seen.append(place.size(name) is not None)
        real(handle)

    monkeypatch.setattr(os, "fsync", sync)
    place.write(name, LARGE)
    assert seen == [False, True, True]


def test_values_from_before_stay_readable(tmp_path: Path) -> None:
    """A database whose artifacts lie in SQL gets a place: the old are read where they are, and not written twice."""
    address = f"sqlite:///{tmp_path / 'gateway.db'}"
    database = Database(address)
    metadata.create_all(database.engine)
    name = SqlArtifactStore(database, SystemClock()).put(LARGE, "text/plain").sha256
    database.close()
    database = opened(tmp_path)
    store = SqlArtifactStore(database, SystemClock())
    store.put(LARGE, "text/plain")
    assert store.get(name) == LARGE
    assert in_row(database) == [(len(LARGE), len(LARGE))]
    database.close()


def test_a_place_that_cannot_be_used_is_told_at_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigurationInvalid, match="cannot be kept"):
        checked_place(str(tmp_path / "file"))

    def absent(name: str) -> object:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(artifact_place, "import_module", absent)
    with pytest.raises(ConfigurationInvalid, match="not installed") as refused:
        checked_place("s3://bucket/prefix")
    assert "s3fs" in refused.value.mend


def test_where_artifacts_lie_by_default(tmp_path: Path) -> None:
    def place(**environ: str) -> str:
        return Settings.read({"GATEWAY_DATA_DIR": str(tmp_path), **environ}, dev=True).artifacts_url

    assert place() == str(tmp_path / "artifacts")
    assert place(DATABASE_URL="postgresql://host/name") == "database"
    assert place(GATEWAY_ARTIFACTS="s3://bucket/prefix") == "s3://bucket/prefix"
    assert checked_place("database") is None


def test_a_bucket_tells_names_by_their_beginning_and_age(s3: S3) -> None:
    place = open_place("s3://bucket/prefix")
    assert place is not None
    names = [f"{first}{'0' * 62}" for first in ("ab", "cd")]
    for name in names:
        place.write(name, b"x")
    written = datetime(2026, 3, 4, 12, tzinfo=UTC).timestamp()  # as the server says
    assert place.names("ab", written + 1) == names[:1]
    assert place.names("ab", written) == []
    assert place.names("ef", written + 1) == []
    place.remove(names[0])
    assert place.names("ab", written + 1) == []
