"""The proofs of money in their short form: whole gateways on PostgreSQL, and a provider that counts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.embedded_broker import broker_program

BENCH = Path(__file__).resolve().parents[2] / "bench"
NOTHING = {"reservations": 0, "shares": 0, "journal marks": 0, "journal files": 0}


def told_by(program: str, report: Path, *arguments: str) -> dict[str, Any]:
    """What the program reports; it fails where anything does not hold."""
    command = [sys.executable, str(BENCH / program), *arguments, "--report", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    told = json.loads(report.read_text())
    assert isinstance(told, dict)
    return told


needs_valkey = pytest.mark.skipif(broker_program() is None, reason="no Valkey wheel fits this platform")


@needs_valkey
def test_no_cap_is_passed_by_a_unit_and_nothing_is_left_over(tmp_path: Path) -> None:
    told = told_by("overspend.py", tmp_path / "r.json", "--processes", "3", "--clients", "20", "--cap", "100")
    assert told["left over"] == NOTHING
    assert told["looks at the caps meanwhile"] > 10
    assert told["looks that saw one passed"] == 0
    ways = told["callers were told"]
    assert all(ways[way] for way in ("200", "402", "cancelled", "stream cut", "stream broken")), ways


@needs_valkey
def test_processes_killed_under_load_lose_no_billed_call(tmp_path: Path) -> None:
    load = ("--seconds", "6", "--kills", "2", "--rate", "300")
    told = told_by("kills.py", tmp_path / "r.json", *load)
    assert told["left over"] == NOTHING
    assert told["billed calls that are not in the ledger"] == told["charged twice"] == 0
    assert told["entries"]["completed"] >= told["callers were told"]["answered"] > 0


@needs_valkey
def test_a_stream_that_is_cut_anywhere_is_charged_once(tmp_path: Path) -> None:
    told = told_by("disconnects.py", tmp_path / "r.json", "--cuts", "80")
    assert told["left over"] == NOTHING
    assert told["entries"]["cancelled"] > 20
    assert told["heard to their end"], "some are heard to their end"


@needs_valkey
def test_a_gateway_that_does_not_charge_what_was_cut_is_found_out(tmp_path: Path) -> None:
    told = told_by("disconnects.py", tmp_path / "r.json", "--cuts", "30", "--control", "cuts")
    assert any("is not the price of its tokens" in line for line in told["broken"])


def test_the_ledger_is_whole_at_full_speed(tmp_path: Path) -> None:
    told = told_by("ledger_speed.py", tmp_path / "r.json", "--entries", "5000")
    assert told["drain"]["entries/s"] > 0
