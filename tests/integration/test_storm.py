"""The storm in its short form: processes, broker and database are killed all the while, and everything holds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli.embedded_broker import broker_program

STORM = Path(__file__).resolve().parents[2] / "bench" / "storm.py"


@pytest.mark.skipif(broker_program() is None, reason="no Valkey wheel fits this platform")
def test_everything_holds_in_a_storm(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    options = ["--minutes", "0.2", "--wave", "12", "--seed", "3", "--report", str(report)]
    done = subprocess.run(
        [sys.executable, str(STORM), *options], capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    told = json.loads(report.read_text())
    assert told["runs"] == {"completed": told["given"]}
    assert told["given"] >= 12
    assert sum(told["killed"].values()) >= 5, "hardly anything was killed, so hardly anything was proved"
