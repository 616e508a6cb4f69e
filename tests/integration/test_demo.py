"""The three demonstrations from start to report, as ``make demo`` runs them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.gateway_process import SOURCE


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all three, so that the models are trained once."""
    return tmp_path_factory.mktemp("demo")


def demonstrate(data_dir: Path, *arguments: str, status: int = 0) -> tuple[str, str]:
    """(what was printed, the report)."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH")}
    environ = {**kept, "PYTHONPATH": str(SOURCE), "GATEWAY_DATA_DIR": str(data_dir), "COLUMNS": "120"}
    command = [sys.executable, "-m", "gateway.cli.main", "demo", *arguments]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == status, done.stdout[-3000:] + done.stderr[-2000:]
    named = re.search(r"(?:Report|until then:)\s+(\S.*?\.html)", done.stdout.replace("\n", ""))
    assert named is not None, done.stdout
    report = Path(named.group(1)).read_text()
    assert not re.search(r"(?:src|href)=[\"'](?:https?:)?//", report), "the report needs nothing from elsewhere"
    assert report.count("<svg") >= 2
    return done.stdout, report


def test_the_risk_analysis(data_dir: Path) -> None:
    told, report = demonstrate(data_dir)
    for month in ("2008-10", "2020-03"):
        assert month in told
        assert month in report
    assert re.search(r"Risk level .*: (low|medium|high)", told)
    assert "What smollm2 says" in told
    assert re.search(r"Cost\s+\$0 in all", told)
    assert 'class="traced"' in report or 'class="flagged"' in report


def test_where_the_language_model_is_missing_the_rest_is_told(data_dir: Path) -> None:
    told, report = demonstrate(data_dir, "--model", "gpt-4", status=10)
    assert "OPENAI_API_KEY" in told
    assert re.search(r"Risk level .*: (low|medium|high)", told)
    assert "2020-03" in report


def test_the_scenarios(data_dir: Path) -> None:
    told, report = demonstrate(data_dir, "scenarios")
    assert "1000 joint monthly paths" in told
    assert "VaR" in report
    assert "standard error" in report.lower()


def test_the_training(data_dir: Path) -> None:
    told, _report = demonstrate(data_dir, "training")
    assert "version 2" in told
    assert re.search("roll", told, re.IGNORECASE)
