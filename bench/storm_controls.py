"""Ways to break the gateway on purpose: with each, the storm must find something that does not hold."""

from __future__ import annotations

from pathlib import Path

#: What each breaks, as code that every process runs before its own.
CONTROLS = {
    "sweep": """
import gateway.engine.recovery as broken
broken.sweep = lambda *_given, **_named: 0
""",
}


def write_control(folder: Path, name: str) -> Path:
    """A folder for the front of ``PYTHONPATH``."""
    folder.mkdir(parents=True)
    (folder / "sitecustomize.py").write_text(CONTROLS[name])
    return folder
