"""Lists of the command line: an id is never cut, for the next command needs it."""

from __future__ import annotations

import pytest
from rich.console import Console

from gateway.cli.client import console, listing_table

ID = "task_33npsf34zafqxw7z128ap2h5r6"


def test_an_id_is_whole_on_a_narrow_terminal() -> None:
    table = listing_table("id", "type", "status", "created")
    table.add_row(ID, "risk_classification", "completed", "2026-11-25T23:13:52")
    narrow = Console(width=60)
    with narrow.capture() as told:
        narrow.print(table)
    assert ID in told.get()


def test_what_is_piped_is_not_cut(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    console().print("word " * 39)
    assert len(capsys.readouterr().out.strip().splitlines()) == 1
    monkeypatch.setenv("COLUMNS", "50")
    console().print("word " * 39)
    assert len(capsys.readouterr().out.strip().splitlines()) == 4
