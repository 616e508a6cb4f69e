"""The peers, each installed beside the others in ``bench/.peers`` (never part of this project).

What cannot be installed here is left out of the run, and the report says why.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent
FOLDER = HERE / ".peers"
#: Exact versions, so that two runs compare the same things.
SMG = "smg==1.13.0"
LITELLM = "litellm[proxy]==1.106.4"
PORTKEY = "@portkey-ai/gateway@1.15.2"
#: Later ones answer each of Portkey's streams with 500: it adds headers to an answer of ``fetch``, whose headers they
#: keep as they are, immutable.
PORTKEY_WITHIN = {"@hono/node-server": "1.12.2"}
PY_SPY = "py-spy>=0.4"
_SECONDS = 900


class NotHere(Exception):
    """The peer cannot be had on this machine; the message says why."""


def nginx() -> str:
    """Path of nginx, which comes from the system's own packages."""
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise NotHere("nginx is not installed (apt-get install nginx-light)")
    return found


def python_package(name: str, requirement: str) -> Path:
    """The ``bin`` folder of a virtual environment that holds the package."""
    folder = FOLDER / name
    if not _stamped(folder, requirement):
        _run(sys.executable, "-m", "venv", "--clear", str(folder))
        _run(str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", requirement)
        _stamp(folder, requirement)
    return folder / "bin"


def node_package(name: str, requirement: str, within: Mapping[str, str] | None = None) -> Path:
    """The folder whose ``node_modules`` holds the package; ``within`` are exact versions of what it depends on."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise NotHere("Node.js is not installed")
    folder = FOLDER / name
    wanted = " ".join([requirement, *(f"{name}@{version}" for name, version in (within or {}).items())])
    if not _stamped(folder, wanted):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package-lock.json").unlink(missing_ok=True)
        (folder / "package.json").write_text(json.dumps({"private": True, "overrides": dict(within or {})}))
        _run("npm", "install", "--prefix", str(folder), "--ignore-scripts", "--no-audit", "--no-fund", requirement)
        _stamp(folder, wanted)
    return folder


def _stamped(folder: Path, requirement: str) -> bool:
    stamp = folder / ".installed"
    return stamp.is_file() and stamp.read_text() == requirement


def _stamp(folder: Path, requirement: str) -> None:
    (folder / ".installed").write_text(requirement)


def _run(*command: str) -> None:
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotHere(f"{Path(command[0]).name} could not be run: {error}") from error
    if ended.returncode != 0:
        last = (ended.stderr.strip() or ended.stdout.strip() or "no reason given").splitlines()[-1]
        raise NotHere(f"{' '.join(command[:3])} … failed: {last}")
