"""``ledger verify``, ``audit verify`` and ``db upgrade`` against databases that are not as they should be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.cli.main import main


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """The exit status, and what is said on either stream in one line."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    captured = capsys.readouterr()
    return int(ended.value.code or 0), " ".join((captured.out + captured.err).split())


@pytest.mark.parametrize("what", ["ledger", "audit"])
def test_a_database_without_a_schema_is_told_so(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GATEWAY_DATA_DIR", str(tmp_path))
    status, said = told(capsys, what, "verify")
    assert status > 1
    assert "nothing to prove" in said
    assert told(capsys, "db", "upgrade")[0] == 0
    status, said = told(capsys, what, "verify")
    assert (status, "0 records" in said) == (0, True)


def test_a_file_that_cannot_be_is_named_and_so_is_the_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'file' / 'gateway.db'}")
    status, said = told(capsys, "db", "upgrade")
    assert status > 1
    assert "the folder of DATABASE_URL cannot be made" in said


def test_sqlite_has_no_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GATEWAY_DATA_DIR", str(tmp_path))
    status, said = told(capsys, "db", "upgrade", "--owner-url", "postgresql://owner@host/name")
    assert status > 1
    assert "SQLite has no roles" in said


def test_why_a_database_does_not_answer_is_told_without_its_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://someone:hidden-word@127.0.0.1:1/somewhere")
    status, said = told(capsys, "ledger", "verify")
    assert status > 1
    assert "the database does not answer: " in said
    assert "refused" in said
    assert "hidden-word" not in said


def test_how_long_it_took_is_told_to_machines_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GATEWAY_DATA_DIR", str(tmp_path))
    told(capsys, "db", "upgrade")
    found = json.loads(told(capsys, "ledger", "verify", "--json")[1])
    assert found["ok"] is True
    assert found["seconds"] >= 0
