"""Puts the SDKs that are tried into ``.sdks``: ``python tests/sdks/install.py``. Standard library only.

Node's SDKs from their lock file by npm, LangChain from its pinned requirements into an environment of its
own, so that neither becomes a dependency of the gateway. A second run only compares. Where there is no
Node, the rest is installed, and the words and the status say what is missing.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
SDKS = HERE.parents[1] / ".sdks"
NODE = SDKS / "node"
PYTHON = SDKS / "python"
OLDEST_NODE = 20
NO_NODE = f"Node.js {OLDEST_NODE} or newer with npm is not here: the Node SDKs cannot be tried (install nodejs and npm)"


def main() -> int:
    """Installs what is missing or changed; 0 if everything is there."""
    langchain = install_langchain()
    return 0 if install_node() and langchain else 1


def has_node() -> bool:
    """Whether a Node.js that is new enough is here, with its package manager."""
    if not (shutil.which("node") and shutil.which("npm")):
        return False
    told = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout
    return int(told.strip().lstrip("v").partition(".")[0] or 0) >= OLDEST_NODE


def install_node() -> bool:
    """The packages of ``node/package-lock.json``."""
    if not has_node():
        say(NO_NODE)
        return False
    files = [HERE / "node" / name for name in ("package.json", "package-lock.json", ".npmrc")]
    if _done(NODE, files):
        return True
    say("==> Node SDKs (npm ci)")
    NODE.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copy(file, NODE)
    return _ran(["npm", "ci", "--no-progress", "--loglevel=error"], NODE) and _stamp(NODE, files)


def install_langchain() -> bool:
    """The packages of ``requirements-langchain.txt``, hashes checked."""
    file = HERE / "requirements-langchain.txt"
    if _done(PYTHON, [file]):
        return True
    say("==> LangChain (pip)")
    venv.create(PYTHON, with_pip=True, clear=True)
    checks = ["--require-hashes", "--no-deps", "--only-binary", ":all:", "-r", str(file)]
    command = [str(PYTHON / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "-q", *checks]
    return _ran(command, HERE) and _stamp(PYTHON, [file])


def say(text: str) -> None:
    """One line to the person who waits."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _ran(command: Sequence[str], folder: Path) -> bool:
    environ = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    return subprocess.run(command, cwd=folder, env=environ, stdin=subprocess.DEVNULL, check=False).returncode == 0


def _digest(files: Sequence[Path]) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _done(folder: Path, files: Sequence[Path]) -> bool:
    stamp = folder / ".installed"
    return stamp.is_file() and stamp.read_text() == _digest(files)


def _stamp(folder: Path, files: Sequence[Path]) -> bool:
    (folder / ".installed").write_text(_digest(files))
    return True


if __name__ == "__main__":
    sys.exit(main())
