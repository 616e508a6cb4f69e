"""Where each file that the platform's brief names is found in this house (docs/decisions/0002)."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

#: The brief's path → ours.
MAP = {
    "src/ai_gateway.py": "src/ai_gateway.py",
    "src/orchestrator.py": "src/orchestrator.py",
    "src/index.py": "src/index.py",
    "src/models/llm_models.py": "src/gateway/models/llm_models.py",
    "src/models/ml_models.py": "src/gateway/models/ml_models.py",
    "src/models/custom_models.py": "src/gateway/models/custom_models.py",
    "src/workflows/risk_analysis.py": "src/gateway/workflows/risk_analysis.py",
    "src/workflows/scenario_gen.py": "src/gateway/workflows/scenario_gen.py",
    "src/workflows/model_training.py": "src/gateway/workflows/model_training.py",
    "src/tasks/llm_tasks.py": "src/gateway/tasks/llm_tasks.py",
    "src/tasks/ml_tasks.py": "src/gateway/tasks/ml_tasks.py",
    "src/tasks/workflow_tasks.py": "src/gateway/tasks/workflow_tasks.py",
    "src/utils/cost_tracker.py": "src/gateway/ledger/cost_tracker.py",
    "src/utils/model_registry.py": "src/gateway/registry/model_registry.py",
    "src/utils/validators.py": "src/gateway/governance/validators.py",
    "config/models.yaml": "config/models.yaml",
    "config/workflows.yaml": "config/workflows.yaml",
    "config/providers.yaml": "config/providers.yaml",
    "tests/unit": "tests/unit",
    "tests/integration": "tests/integration",
    "tests/fixtures": "tests/fixtures",
    "package.json": "package.json",
    "requirements.txt": "requirements.txt",
    "README.md": "README.md",
    "LICENSE": "LICENSE",
}
#: The npm script → the make target it calls.
SCRIPTS = {
    "install": "setup",
    "dev": "dev",
    "orchestrate": "orchestrate",
    "start": "serve",
    "build": "build",
    "deploy": "deploy",
    "test": "test",
    "test:unit": "test-unit",
    "test:integration": "test-integration",
    "test:coverage": "coverage",
    "format": "format",
    "lint": "lint",
}


@pytest.mark.parametrize(("brief", "here"), MAP.items(), ids=list(MAP))
def test_each_file_of_the_brief_has_its_place(brief: str, here: str) -> None:
    assert (ROOT / here).exists(), f"{brief} should be found at {here}"


def test_the_decision_record_holds_the_same_map() -> None:
    record = next((ROOT / "docs" / "decisions").glob("0002-*.md")).read_text()
    moved = {brief: here for brief, here in MAP.items() if brief != here}
    for brief, here in moved.items():
        assert f"| `{brief}` | `{here}` |" in record


def test_no_top_level_name_is_taken_that_others_use() -> None:
    """Once installed, a package called ``models`` or ``utils`` would collide with those of others."""
    found = {path.name for path in (ROOT / "src").iterdir() if not path.name.startswith(("_", "."))}
    assert {name for name in found if not name.endswith(".egg-info")} == {
        "ai_gateway.py",
        "orchestrator.py",
        "index.py",
        "gateway",
    }


def test_npm_scripts_only_call_make() -> None:
    package = json.loads((ROOT / "package.json").read_text())
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for script, target in SCRIPTS.items():
        assert package["scripts"][script] == f"make {target}"
        assert target in targets
    assert all(re.fullmatch(r"make [a-z-]+", command) for command in package["scripts"].values())
    assert not {"dependencies", "devDependencies", "peerDependencies"} & package.keys()


def test_npm_and_python_agree_on_name_and_version() -> None:
    package = json.loads((ROOT / "package.json").read_text())
    lock = json.loads((ROOT / "package-lock.json").read_text())
    project = (ROOT / "pyproject.toml").read_text()
    assert f'version = "{package["version"]}"' in project
    assert lock["version"] == lock["packages"][""]["version"] == package["version"]
    assert set(lock["packages"]) == {""}


def test_the_check_runs_lint_and_then_every_test() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & stat.S_IXUSR
    lines = script.read_text().splitlines()
    assert "set -euo pipefail" in lines
    assert [line for line in lines if line.startswith("make")] == ["make lint", "make test"]


@pytest.mark.parametrize(("launcher", "command"), [("ai_gateway.py", "serve"), ("orchestrator.py", "orchestrate")])
def test_a_launcher_is_the_command_from_any_directory(launcher: str, command: str, tmp_path: Path) -> None:
    path = ROOT / "src" / launcher
    done = subprocess.run(
        [sys.executable, "-I", str(path), "--help"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"ai-gateway {command}" in done.stdout
    assert len(path.read_text().splitlines()) <= 25


def test_the_facade_fetches_each_name_when_asked() -> None:
    code = (
        "import sys, index\n"
        "assert not [name for name in sys.modules if name.startswith('gateway.')], 'import has an effect'\n"
        "from index import CostTracker\n"
        "heavy = {'numpy', 'fastapi', 'celery', 'sqlalchemy', 'typer'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "names = [name for name in index.__all__ if not hasattr(index, name)]\n"
        "assert not names, names\n"
        "assert set(index.__all__) == set(dir(index))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_facade_refuses_what_is_not_public() -> None:
    code = "import index\nindex.no_such_name\n"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True, check=False
    )
    assert "AttributeError: module 'index' has no public name 'no_such_name'" in done.stderr
