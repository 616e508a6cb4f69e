"""A process is killed at points of a run all along it, and what goes on after that is killed too; everything holds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).resolve().parents[2] / "bench"
#: A share of the points; ``make crash`` takes all of them.
EVERY = 40


def crash(report: Path, *options: str) -> tuple[int, dict[str, object]]:
    command = [sys.executable, str(BENCH / "crash_points.py"), "--every", str(EVERY), "--report", str(report)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=300, check=False)
    assert report.exists(), done.stderr[-4000:]
    return done.returncode, json.loads(report.read_text())


def test_a_run_survives_a_crash_at_any_point(tmp_path: Path) -> None:
    code, told = crash(tmp_path / "report.json")
    assert (code, told["broken"]) == (0, []), told
    assert min(int(str(told[name])) for name in ("crashes of a run", "crashes of what goes on after one")) >= 8


def test_the_harness_sees_that_nobody_sweeps(tmp_path: Path) -> None:
    code, told = crash(tmp_path / "report.json", "--control", "sweep")
    assert code == 0, told
    assert told["broken"]
