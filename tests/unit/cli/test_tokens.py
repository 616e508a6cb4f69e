"""``ai-gateway tokens count`` against a running gateway."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures.house import ROOT_KEY, House, running_house
from gateway.cli.main import main

TALK = {"messages": [{"role": "user", "content": json.dumps([{"a": 1, "b": 2}] * 30, indent=2)}]}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_house(tmp_path_factory.mktemp("house")) as running:
        yield running


def run(house: House, *arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["tokens", "count", "--model", "gpt-4", "--url", house.url, "--key", ROOT_KEY, *arguments])
    return int(ended.value.code or 0)


def told(house: House, capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run(house, *arguments, "--json") == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_text_and_a_talk(house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, talk = tmp_path / "text.txt", tmp_path / "talk.json"
    text.write_text("Hello there!")
    talk.write_text(json.dumps(TALK))
    counted = {"model": "gpt-4", "tokens": 3, "basis": "counted", "encoding": "cl100k_base"}
    assert told(house, capsys, str(text)) == counted
    assert told(house, capsys, str(text), "--optimise", "compact")["tokens"] == 10, "as one turn"
    saved = told(house, capsys, str(talk), "--optimise", "compact")["optimised"]
    assert saved["methods"] == ["json", "tables"]
    assert saved["saved"] > saved["after"]
    assert run(house, str(talk), "--optimise", "compact") == 0
    shown = capsys.readouterr().out
    assert "cl100k_base" in shown
    assert str(saved["saved"]) in shown


def test_the_standard_input(house: House, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("Hello there!"))
    assert told(house, capsys, "-")["tokens"] == 3


def test_what_cannot_be_read_or_asked_is_told(house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    binary = tmp_path / "picture"
    binary.write_bytes(b"\xff\xd8")
    for arguments in ((str(tmp_path / "none"),), (str(binary),)):
        assert run(house, *arguments) > 0
        assert "cannot be read as text" in " ".join(capsys.readouterr().err.split())
    binary.write_text("words")
    assert run(house, str(binary), "--optimise", "shrink") > 0
    assert "no such word" in " ".join(capsys.readouterr().err.split())
