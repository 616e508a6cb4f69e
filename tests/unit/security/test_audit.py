"""The audit trail: every record follows from the one before, and a change is found."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from fixtures.ledger_house import together
from fixtures.money_kit import ManualClock
from gateway.errors import Unavailable
from gateway.security.audit import (
    GENESIS,
    AuditDraft,
    AuditFilter,
    AuditLog,
    AuditRecord,
    canonical_json,
    chain_hash,
)
from gateway.store.audit_store import SqlAuditSink
from gateway.store.audit_witness import FileWitness
from gateway.store.engine import Database
from gateway.store.tables import metadata


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Without the guards that refuse changes: the tests make them."""
    database = Database(f"sqlite:///{tmp_path / 'gateway.db'}")
    with database.begin() as connection:
        metadata.create_all(connection)
    yield database
    database.close()


@pytest.fixture
def log(database: Database, tmp_path: Path) -> AuditLog:
    return AuditLog(SqlAuditSink(database), ManualClock(), FileWitness(tmp_path / "witness", b"k" * 32, every=4))


def note(log: AuditLog, number: int = 0, **fields: object) -> AuditRecord:
    return log.record(
        actor="alice", action="keys.create", resource=f"key_{number}", outcome="ok", request_id="req-1", detail=fields
    )


def change(database: Database, statement: str) -> None:
    with database.begin() as connection:
        connection.execute(text(statement))


def test_a_chain_that_holds(log: AuditLog) -> None:
    for number in range(10):
        note(log, number)
    report = log.verify()
    assert report.ok, report
    assert report.records == 10
    assert report.checkpoints >= 2


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("UPDATE audit SET actor = 'bob' WHERE seq = 3", "changed"),
        ("UPDATE audit SET detail = '[]' WHERE seq = 10", "changed"),
        ("DELETE FROM audit WHERE seq = 5", "deleted"),
        ("DELETE FROM audit WHERE seq > 7", "truncated"),
        ("UPDATE audit SET previous = hash WHERE seq = 4", "link"),
    ],
)
def test_a_change_is_found(log: AuditLog, database: Database, statement: str, kind: str) -> None:
    for number in range(10):
        note(log, number)
    change(database, statement)
    report = log.verify()
    assert not report.ok
    assert kind in {problem.kind for problem in report.problems}


def test_a_tail_cut_off_with_its_counter_is_told_by_the_witness(log: AuditLog, database: Database) -> None:
    for number in range(10):
        note(log, number)
    change(database, "DELETE FROM audit WHERE seq > 7")
    change(database, "UPDATE counter SET value = 7 WHERE name = 'audit'")
    assert {problem.kind for problem in log.verify().problems} == {"truncated"}


def test_a_forged_checkpoint_is_told(log: AuditLog, tmp_path: Path) -> None:
    for number in range(10):
        note(log, number)
    kept = [path for path in (tmp_path / "witness").iterdir() if b'"seq":' in path.read_bytes()]
    assert kept
    for path in kept:
        path.write_bytes(path.read_bytes().replace(b'"at":1', b'"at":2'))
    assert "checkpoint" in {problem.kind for problem in log.verify().problems}


def test_many_at_once_make_one_chain(log: AuditLog) -> None:
    together(lambda number: [note(log, number) for _ in range(10)], 6)
    report = log.verify()
    assert report.ok
    assert report.records == 60


def test_no_secret_goes_into_the_trail(log: AuditLog, database: Database) -> None:
    note(log, password="hunter2", note="Bearer abcdefghijkl")
    with database.read() as connection:
        kept = str(connection.exec_driver_sql("SELECT * FROM audit").all())
    assert "hunter2" not in kept
    assert "abcdefghijkl" not in kept


def test_what_cannot_be_recorded_is_not_done(log: AuditLog, database: Database) -> None:
    change(database, "DROP TABLE audit")
    with pytest.raises(Unavailable):
        note(log)


def test_records_are_found_by_who_and_what(log: AuditLog) -> None:
    for number in range(5):
        note(log, number)
    page, cursor = log.find(AuditFilter(actor="alice"), limit=3)
    rest, end = log.find(AuditFilter(actor="alice"), cursor=cursor, limit=3)
    assert [record.seq for record in [*page, *rest]] == [5, 4, 3, 2, 1]
    assert end is None
    assert log.find(AuditFilter(actor="bob"))[0] == []


@pytest.mark.parametrize("said", ["plain", 'a "quote" \\', "\x00\x08\x1f\x7f\n\t", "Zürich €😀", "alone \ud800"])
def test_a_hash_is_that_of_canonical_json_whatever_it_says(said: str) -> None:
    draft = AuditDraft(12, said, "llm.call", said, "completed", said, canonical_json({"said": said}))
    fields = {name: getattr(draft, name) for name in AuditDraft.__struct_fields__}
    text = GENESIS + canonical_json({**fields, "seq": 7})
    assert chain_hash(GENESIS, 7, draft) == hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
