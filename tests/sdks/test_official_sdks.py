"""The SDKs that live in processes of their own: Node's, Vercel's and LangChain. See ``install.py``."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from sdks.install import NO_NODE, NODE, PYTHON, has_node


def run(command: Sequence[str], folder: Path, told: dict[str, str]) -> str:
    """Runs a file of tests and gives what it printed, which is shown where it failed."""
    inherited = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
    done = subprocess.run(
        command, cwd=folder, env={**inherited, **told}, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", ["openai", "anthropic", "vercel"])
def test_node(name: str, here: Path, told: dict[str, str]) -> None:
    assert has_node(), NO_NODE
    assert (NODE / "node_modules").is_dir(), "run tests/sdks/install.py first (make test-sdks does)"
    for file in (here / "node").glob("*.mjs"):
        shutil.copy(file, NODE)
    said = run(["node", "--test", "--test-reporter=spec", f"{name}.test.mjs"], NODE, told)
    assert "pass 0" not in said


def test_langchain(here: Path, told: dict[str, str]) -> None:
    python = PYTHON / "bin" / "python"
    assert python.exists(), "run tests/sdks/install.py first (make test-sdks does)"
    said = run([str(python), "-m", "unittest", "langchain_calls"], here, {**told, "LANGSMITH_TRACING": "false"})
    assert "Ran 0 tests" not in said
